"""What a batch went through and how it compares: its revisions, its card, and its difference from another one."""

from typing import Any

import orjson
import polars as pl

from synth_assets.checks.proof import proven, stage_commits
from synth_assets.domain.batch_card import BatchCard, batch_card
from synth_assets.domain.comparison import previous_green
from synth_assets.domain.history import Revision, revisions
from synth_assets.domain.standing import State, standing
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.model import RecipeModel
from synth_assets.stages.revisions import rows_of
from synth_assets.vocabulary import Stage


def history_of(lake: Lake, dataset: str, batch: str) -> list[Revision]:
    """Return the revisions of a batch, oldest first."""
    here = {"dataset": dataset, "partition": batch}
    promised = lake.read("batches", dataset=dataset, batch=batch)["promised"]
    return revisions(stage_commits(lake, **here), lake.read("verdicts", **here), is_ingested=promised.to_list() == [0])


def card_of(lake: Lake, dataset: str, batch: str) -> str:
    """Return the card of a batch of which at least one stage has finished, as Markdown."""
    commits = stage_commits(lake, dataset)
    kept = _kept_card(lake, commits, dataset, batch)
    if kept is not None:
        return kept
    previous = previous_green(_of_batches(lake, commits, dataset), batch)
    return batch_card(
        BatchCard(
            model=_judged_by(lake, commits.filter(partition=batch)),
            batch=lake.read("batches", dataset=dataset, batch=batch).row(0, named=True),
            history=history_of(lake, dataset, batch),
            rows=rows_of(lake, dataset, batch),
            previous=None if previous is None else (previous, rows_of(lake, dataset, previous)),
        )
    )


def _kept_card(lake: Lake, commits: pl.DataFrame, dataset: str, batch: str) -> str | None:
    """Return the card that was kept when the batch became green or red, if that is how it stands."""
    entries = lake.chain(dataset).partitions.get(batch, [])
    ended = entries[-1].details.get("ended") if entries else None
    if ended is not None:
        return lake.get(str(ended["card"]), ".md").decode()
    entry = lake.chain(dataset).latest(Stage.TRAINING_READY, batch)
    if entry is None or "revision" not in entry.details or not standing(commits.filter(partition=batch)).is_green:
        return None
    number = entry.details["revision"]["revision"]
    kept = proven(lake, "batch_revisions", dataset=dataset, batch=batch, revision=number)
    return lake.get(kept["card_sha256"][0], ".md").decode()


def as_facts(revision: Revision) -> dict[str, Any]:
    """Return a revision as plain facts for JSON."""
    return {
        "revision": revision.number,
        "causes": list(revision.causes),
        "stage": str(revision.stage),
        "passed": revision.passed,
        "failed_gates": list(revision.failed_gates),
        "state": revision.state,
        "accepted": revision.accepted,
        "run_id": revision.run_id,
        "at": revision.at,
        "output_digest": revision.output_digest,
    }


def _of_batches(lake: Lake, commits: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """Leave out the commits of versions and model runs."""
    return commits.filter(pl.col("partition").is_in(lake.read("batches", dataset=dataset)["batch"].to_list()))


def _judged_by(lake: Lake, commits: pl.DataFrame) -> RecipeModel:
    """Return the recipe whose rules made the decisions that stand, or the latest one if none stands."""
    decided = standing(commits).states[Stage.CURATED] in (State.PASSED, State.FAILED)
    rows = commits.filter(stage=str(Stage.CURATED)) if decided else commits
    stored = rows.sort("commit_seq")["recipe_object"][-1]
    return RecipeModel.model_validate(orjson.loads(lake.get(stored, ".json")))
