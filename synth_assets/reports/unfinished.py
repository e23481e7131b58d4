"""Batches that are not green, with everything that decides whether they can go on by themselves."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from synth_assets.checks.proof import stage_commits
from synth_assets.domain.drafting import COUNTS_USD
from synth_assets.domain.standing import State, standing
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.prospects import Prospect, next_attempt
from synth_assets.vocabulary import Outcome, QuarantineReason, Stage


@dataclass(frozen=True)
class Case:
    """A batch that is not green, as the decision sees it.

    Attributes:
        attempt: the open attempt, or the one that would be opened next.
        is_open: whether that attempt was opened and is not worked off.
        refusal: why no attempt may be opened; None if one may.
        is_unjudged: whether a stage that costs nothing was not run on what is there, or was red by another recipe.
        is_tripped: whether the breaker stopped the latest attempt.
        is_busy: whether somebody works on the batch right now.
        stops: how often the open attempt was stopped.
        is_silent: whether the provider gave not one answer to the latest attempt, or stopped it.
        looked_at: when a stage of the batch was last committed; None if none was.
        last_seq: place of that commit in the audit chain; 0 if there is none.
        money_left_usd: None without a budget.
    """

    dataset: str
    batch: str
    attempt: int
    is_open: bool
    refusal: str | None
    is_unjudged: bool
    is_tripped: bool
    is_busy: bool
    stops: int
    is_silent: bool
    looked_at: datetime | None
    last_seq: int
    money_left_usd: float | None


def unfinished(lake: Lake, recipe: Recipe, *, is_busy: Callable[[str], bool]) -> Iterator[Case]:
    """Yield every batch of a dataset that was planned and is not green.

    One that nobody planned - its first run was refused, or it is waiting for samples made elsewhere - was asked for by
    nobody, so nothing is owed.

    Args:
        lake: the store.
        recipe: the dataset.
        is_busy: tells of a batch's key whether its claim is held.
    """
    commits = stage_commits(lake, recipe.dataset).sort("commit_seq")
    for row in lake.read("batches", dataset=recipe.dataset).iter_rows(named=True):
        mine = commits.filter(pl.col("partition") == row["batch"])
        if row["attempts"] > 0 and not standing(mine).is_green:
            yield _case(lake, recipe, row, mine, is_busy=is_busy(row["batch"]))


def _case(lake: Lake, recipe: Recipe, row: Mapping[str, Any], commits: pl.DataFrame, *, is_busy: bool) -> Case:
    prospect = next_attempt(lake, recipe, row["batch"])
    endings = lake.read("generations", dataset=recipe.dataset, batch=row["batch"])
    is_open = row["open_attempt"] is not None
    budget = recipe.model.batch.budget_usd
    return Case(
        dataset=recipe.dataset,
        batch=row["batch"],
        attempt=row["open_attempt"] or row["attempts"] + 1,
        is_open=is_open,
        refusal=prospect.because,
        is_tripped=prospect.is_tripped,
        is_unjudged=not is_open and _is_unjudged(prospect, commits),
        is_busy=is_busy,
        stops=_stops(commits) if is_open else 0,
        is_silent=_is_silent(endings.filter(pl.col("attempt") == row["attempts"]), is_open=is_open),
        looked_at=commits["committed_at"].last() if commits.height else None,
        last_seq=commits["commit_seq"].max() or 0,
        money_left_usd=None if budget is None else budget - math.fsum(endings.select(COUNTS_USD).to_series()),
    )


def _is_unjudged(prospect: Prospect, commits: pl.DataFrame) -> bool:
    """Whether judging once more, which is free, may change what the batch is held back by."""
    where = standing(commits)
    stage = where.first_not_passed
    if stage is None or where.states[stage] is not State.FAILED:
        return stage is not None
    judged_by = commits.filter(pl.col("stage") == stage)["recipe_sha256"].to_list()[-1]
    return prospect.because is not None and judged_by != prospect.recipe.sha256


def _stops(commits: pl.DataFrame) -> int:
    """Count how often `generated` ended since the last plan was opened."""
    planned = commits.filter(pl.col("stage") == Stage.GENERATION_PLAN)["commit_seq"].max() or 0
    return commits.filter((pl.col("stage") == Stage.GENERATED) & (pl.col("commit_seq") > planned)).height


def _is_silent(endings: pl.DataFrame, *, is_open: bool) -> bool:
    """Whether the provider is to blame: it stopped the attempt, or gave not one answer to it."""
    if endings.is_empty():
        return False
    is_out_of_money = (endings["reason"] == QuarantineReason.BUDGET_SPENT).any()
    return not (endings["outcome"] == Outcome.ANSWERED).any() or (is_open and not is_out_of_money)
