"""The first answers of a dataset that could not be used, read from the journal for a person to look at.

What is returned is what a model wrote: it is shown on a terminal and kept nowhere else.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from resources.journal import Journal
from synth_assets.domain.breaker import USELESS
from synth_assets.domain.ports import Answer
from synth_assets.domain.transactions import Lake
from synth_assets.stages.journaled import prove_journal

SHOWN = 5


@dataclass(frozen=True)
class Unusable:
    """An answer that could not be used.

    Attributes:
        text: what was answered; None where nothing of it could be read.
        reasoning: what the model thought before, if it said.
    """

    batch: str
    attempt: int
    ordinal: int
    prompt: str
    model: str
    reason: str
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
                text=answer.text if answer else None,
                reasoning=answer.reasoning if answer else "",
            )
        )
    return found
