"""What the next attempt of a batch would be for, and whether it may be opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.checks.promises import Promise, promise_of
from synth_assets.checks.proof import standing_of
from synth_assets.domain.curation import decide
from synth_assets.domain.planning import deficit
from synth_assets.domain.standing import may_open_attempt, missing_samples
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import Source


@dataclass(frozen=True)
class Prospect:
    """The next attempt of a batch.

    Attributes:
        recipe: the recipe under the promise the batch was opened with.
        number: of the attempt, from 1.
        promise: what the batch owes by label.
        missing: samples of each label it would have to bring.
        because: why it may not be opened; None if it may.
    """

    recipe: Recipe
    number: int
    promise: Promise
    missing: Mapping[str, int]
    because: str | None


def _missing(lake: Lake, recipe: Recipe, row: Mapping[str, Any], owed: Mapping[str, int]) -> dict[str, int]:
    """Return what is missing by the stored decisions or, if that is less, by what the present recipe would decide.

    Judging is free and generating is not, so a loosened rule is tried first; a tightened one makes no batch short
    before `curated` has judged by it.
    """
    here = {"dataset": recipe.dataset, "batch": row["batch"]}
    samples, assessments = lake.read("samples", **here), lake.read("assessments", **here)
    stored = lake.read("decisions", **here)
    anew = decide(
        samples.join(assessments, on="sample_id", how="semi"),
        assessments,
        model=recipe.model,
        superseded_before=row["current_from"],
        human=stored.filter(pl.col("source_type") == Source.HUMAN),
        at=row["opened_at"],
        owed=owed,
    )
    missing = missing_samples(recipe.model, samples, stored, owed=owed)
    at_best = missing_samples(recipe.model, samples, anew, owed=owed)
    return {label: min(count, at_best[label]) for label, count in missing.items()}


def next_attempt(lake: Lake, recipe: Recipe, batch: str) -> Prospect:
    """Return the prospect of a batch; `max_attempts` is the present recipe's, so raising it helps a used-up batch."""
    here = {"dataset": recipe.dataset, "batch": batch}
    rows = lake.read("batches", **here)
    if rows.is_empty():
        promise = promise_of(lake, recipe.model, batch)
        return Prospect(recipe, 1, promise, deficit(promise.owed, {}), None)
    row = rows.row(0, named=True)
    recipe = recipe.promising(row["promised"])
    promise = promise_of(lake, recipe.model, batch)
    missing = _missing(lake, recipe, row, promise.owed) if row["promised"] else {}
    where = standing_of(lake, recipe.dataset, batch)
    allowed = {**row, "max_attempts": recipe.model.batch.max_attempts}
    return Prospect(recipe, row["attempts"] + 1, promise, missing, may_open_attempt(allowed, where, missing))
