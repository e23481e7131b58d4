"""The first answers of a dataset that could not be used, read from the journal for a person to look at.

What is returned is what a model wrote: it is shown on a terminal and kept nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from resources.journal import Journal
from synth_assets.domain.breaker import USELESS
from synth_assets.domain.ports import Answer
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.tasks import TASKS
from synth_assets.recipe.template import Reply
from synth_assets.stages.journaled import prove_journal
from synth_assets.vocabulary import OURS, Stage

SHOWN = 5

FORMS = {
    "line": "the rest of the line that the opening begins",
    "text": "the text and nothing else",
    "json": "one JSON object with {parts}",
    "sections": "sections for {parts}, each below its heading",
    "code": "one fenced block of code",
    "turns": "turns that begin with User: and Assistant:",
    "conversation": "the next turn of the chat",
}
"""What a person should see in an answer, by the format of a reply."""


@dataclass(frozen=True)
class Unusable:
    """An answer that could not be used.

    Attributes:
        expected: the form the template asks for; of a row that was taken in, what it lacks.
        text: what was answered; None where nothing of it could be read.
        reasoning: what the model thought before, if it said.
    """

    batch: str
    attempt: int
    ordinal: int
    prompt: str
    model: str
    reason: str
    expected: str
    text: str | None
    reasoning: str


def unusable(lake: Lake, home: Path, dataset: str) -> list[Unusable]:
    """Return the first answers that could not be used in the latest attempt that has any, in plan order; at most five.

    Args:
        lake: the store.
        home: SYNTH_HOME; holds the journal.
        dataset: whose.
    """
    reasons = [str(each) for each in USELESS]
    for batch in (
        lake.read("batches", dataset=dataset).filter(pl.col("attempts") > 0).sort("batch", descending=True)["batch"]
    ):
        ended = lake.read("generations", dataset=dataset, batch=batch, reason=reasons)
        if not ended.is_empty():
            return _of_batch(lake, home, ended.filter(pl.col("attempt") == ended["attempt"].max()))
    return []


def _of_batch(lake: Lake, home: Path, ended: pl.DataFrame) -> list[Unusable]:
    dataset, batch = ended.select("dataset", "batch").row(0)
    here = {"dataset": dataset, "batch": batch, "attempt": ended["attempt"][0]}
    requests = lake.read("requests", **here).join(ended.select("request_id", "reason"), on="request_id")
    requests = requests.sort("ordinal").head(SHOWN)
    steps = lake.read("steps", **here).sort("position").group_by("request_id", maintain_order=True).last()
    last = dict(steps.select("request_id", "call_id").iter_rows())
    calls = {row["request_id"]: last.get(row["request_id"], row["call_id"]) for row in requests.iter_rows(named=True)}
    prove_journal(lake, dataset, batch)
    journal = Journal.open(home, dataset, batch, set(calls.values()))
    found = []
    for row in requests.iter_rows(named=True):
        record = journal.get(calls[row["request_id"]])
        answer = record if isinstance(record, Answer) else None
        found.append(
            Unusable(
                batch=batch,
                attempt=row["attempt"],
                ordinal=row["ordinal"],
                prompt=f"{row['prompt_name']}@{row['prompt_version']}",
                model=f"{row['provider']}/{row['model']}",
                reason=row["reason"],
                expected=_expected(lake, row),
                text=answer.text if answer else None,
                reasoning=answer.reasoning if answer else "",
            )
        )
    return found


def _expected(lake: Lake, row: Mapping[str, Any]) -> str:
    """Return the form an answer was asked for in."""
    if row["generator"] != OURS:
        return f"a row with the fields of the task, and a label where it has labels; this is row {row['ordinal'] + 1}"
    named = {name: row[name] for name in ("dataset", "prompt_name", "prompt_version")}
    stored = orjson.loads(lake.get(lake.read("prompt_templates", **named)["object_sha256"][0], ".json"))
    planned = lake.read("stage_commits", dataset=row["dataset"], partition=row["batch"], stage=Stage.GENERATION_PLAN)
    recipe = orjson.loads(lake.get(planned.sort("commit_seq")["recipe_object"][-1], ".json"))
    reply = Reply.model_validate(stored["reply"])
    parts = reply.outputs(TASKS[recipe["task_type"]]).values()
    return FORMS[reply.format].format(parts=", ".join(repr(part) for part in parts))
