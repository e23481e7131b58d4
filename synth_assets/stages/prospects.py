"""What the next attempt of a batch would be for, and whether it may be opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.checks.gates import GATES
from synth_assets.checks.promises import Promise, promise_of
from synth_assets.checks.proof import proven_state, stage_commits, verdicts_of
from synth_assets.domain.curation import decide
from synth_assets.domain.planning import deficit
from synth_assets.domain.standing import accepted_by_label, latest, may_open_attempt, missing_samples, standing
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import Source, Stage


@dataclass(frozen=True)
class Prospect:
    """The next attempt of a batch.

    Attributes:
        recipe: the recipe under the promise the batch was opened with.
        number: of the attempt, from 1.
        promise: what the batch owes by label.
        missing: samples of each label it would have to bring.
        because: why it may not be opened; None if it may.
        is_tripped: whether that is because the breaker stopped the last one, and a person has to look.
    """

    recipe: Recipe
    number: int
    promise: Promise
    missing: Mapping[str, int]
    because: str | None
    is_tripped: bool = False


@dataclass(frozen=True)
class Asking:
    """What a run brings along that decides whether an attempt may be opened.

    Attributes:
        asked_with: hash of templates, models and reader of answers as they are now; see `breaking.asked_with`.
        promise: another promise than the batch has; None keeps its own.
        anyway: whether to go on although the breaker stopped the last attempt.
    """

    asked_with: str
    promise: int | None
    anyway: bool


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


def next_attempt(lake: Lake, recipe: Recipe, batch: str, asking: Asking | None = None) -> Prospect:
    """Return the prospect of a batch; `max_attempts` is the present recipe's, so raising it helps a used-up batch.

    Args:
        lake: the store.
        recipe: the dataset.
        batch: partition key.
        asking: what a run brings along; None for whoever only looks, to whom an attempt that stopped stays stopped.
    """
    here = {"dataset": recipe.dataset, "batch": batch}
    row = proven_state(lake, "batches", **here)
    if row is None:
        promise = promise_of(lake, recipe.model, batch)
        return Prospect(recipe, 1, promise, deficit(promise.owed, {}), None)
    recipe = recipe.promising((asking.promise if asking else None) or row["promised"])
    promise = promise_of(lake, recipe.model, batch)
    missing = _missing(lake, recipe, row, promise.owed) if row["promised"] else {}
    commits = stage_commits(lake, recipe.dataset, batch)
    number, tripped = row["attempts"] + 1, row["tripped_attempt"]
    allowed = {**row, "max_attempts": recipe.model.batch.max_attempts + row["broken_attempts"]}
    if tripped is not None:
        if (because := _stays_stopped(row, asking)) is not None:
            return Prospect(recipe, number, promise, missing, because, is_tripped=True)
        allowed |= {"open_attempt": None, "max_attempts": allowed["max_attempts"] + 1}
    because = may_open_attempt(allowed, standing(commits), missing)
    if because is None and tripped is None:
        because = incurable(lake, recipe, batch, commits)
    return Prospect(recipe, number, promise, missing, because)


def _stays_stopped(row: Mapping[str, Any], asking: Asking | None) -> str | None:
    """Return why an attempt that the breaker stopped is neither closed nor followed by another one."""
    attempt = row["tripped_attempt"]
    if asking is not None and asking.anyway:
        return None if row["open_attempt"] is None else f"attempt {attempt} goes on"
    if asking is not None and asking.asked_with != row["asked_with"]:
        return None
    return f"hardly any of the first answers to attempt {attempt} can be used; a person should look at them"


def incurable(lake: Lake, recipe: Recipe, batch: str, commits: pl.DataFrame) -> str | None:
    """Return which gate holds a batch back that another attempt with the same recipe would not cure; None if none does.

    One that fails on the latest attempt alone, a small one perhaps, is no such gate.
    """
    by_stage = latest(commits)
    stage = standing(commits).first_not_passed
    plan, commit = by_stage.get(Stage.GENERATION_PLAN), by_stage.get(stage or "")
    if stage is None or plan is None or commit is None or plan["recipe_sha256"] != recipe.sha256:
        return None
    judged = verdicts_of(lake, recipe.dataset, commit["commit_key"])
    failed = judged.filter(pl.col("is_blocking") & ~pl.col("passed"))["gate"].to_list()
    curable = {gate.name for gate in GATES[stage] if gate.is_cured_by_more}
    if stage == Stage.CURATED and _is_acceptable(lake, recipe, batch):
        curable.add("acceptance_share")
    names = sorted(set(failed) - curable)
    if not names:
        return None
    return f"{stage} failed at {', '.join(names)}, which another attempt with the same recipe does not cure"


def _is_acceptable(lake: Lake, recipe: Recipe, batch: str) -> bool:
    """Whether all attempts together pass the rule on the share of samples that are accepted."""
    here = {"dataset": recipe.dataset, "batch": batch}
    since = lake.read("batches", **here)["current_from"][0]
    samples = lake.read("samples", **here).filter(pl.col("attempt") >= since)
    decisions = lake.read("decisions", **here)
    good = sum(accepted_by_label(samples, decisions, with_surplus=True).values())
    least = recipe.model.gates.acceptance_share.min
    return least is None or good / max(1, samples.height) >= least
