"""Where a batch stands: which stages passed, whether it is green, and whether an attempt may be opened."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from synth_assets.domain.planning import deficit
from synth_assets.recipe.model import RecipeModel
from synth_assets.vocabulary import BATCH_STAGES, UNLABELLED, Decision, RejectReason, Stage

QUOTA = pl.col("label").fill_null(UNLABELLED)
"""What a sample counts for in its batch's promise."""

PROMISE_KEPT = "the promise is kept"
"""Why a batch that owes nothing opens no attempt."""


class State(StrEnum):
    """State of one stage of a batch."""

    MISSING = "missing"
    PASSED = "passed"
    FAILED = "failed"
    OUTDATED = "outdated"


@dataclass(frozen=True)
class Standing:
    """A batch's stages by state, in the order data flows."""

    states: Mapping[Stage, State]

    @property
    def is_green(self) -> bool:
        """Whether the latest verdict of every stage passed and none is older than its input."""
        return all(self.states[stage] is State.PASSED for stage in BATCH_STAGES)

    @property
    def first_not_passed(self) -> Stage | None:
        """The stage that holds the batch back; None when it is green."""
        return next((stage for stage in BATCH_STAGES if self.states[stage] is not State.PASSED), None)

    def has_passed(self, stage: Stage) -> bool:
        """Whether a stage and all before it passed on their present input."""
        upto = BATCH_STAGES[: BATCH_STAGES.index(stage) + 1]
        return all(self.states[each] is State.PASSED for each in upto)


def latest(stage_commits: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the latest commit of every stage of one partition, by commit order."""
    return {row["stage"]: row for row in stage_commits.sort("commit_seq").iter_rows(named=True)}


def standing(stage_commits: pl.DataFrame) -> Standing:
    """Return where a batch stands.

    A stage is outdated when the stage before has since written something else than what it read.

    Args:
        stage_commits: all stage commits of the batch, shape (n, 12).
    """
    commits = latest(stage_commits)
    before = commits.get(Stage.GENERATION_PLAN)
    states: dict[Stage, State] = {}
    for stage in BATCH_STAGES:
        commit = commits.get(stage)
        if commit is None:
            states[stage] = State.MISSING
        elif before is None or commit["input_digest"] != before["output_digest"]:
            states[stage] = State.OUTDATED
        else:
            states[stage] = State.PASSED if commit["passed"] else State.FAILED
        before = commit
    return Standing(states)


def accepted_by_label(samples: pl.DataFrame, decisions: pl.DataFrame, *, with_surplus: bool = False) -> dict[str, int]:
    """Count accepted samples by label; surplus ones too if asked, since they are promoted before anything is paid.

    Samples without label count for `UNLABELLED`.
    """
    wanted = pl.col("decision") == Decision.ACCEPTED
    if with_surplus:
        wanted = wanted | (pl.col("reason") == RejectReason.SURPLUS)
    counts = samples.join(decisions.filter(wanted), on="sample_id", how="semi").group_by(QUOTA).len()
    return dict(zip(counts["label"], counts["len"], strict=True))


def missing_samples(
    model: RecipeModel, samples: pl.DataFrame, decisions: pl.DataFrame, *, owed: Mapping[str, int]
) -> dict[str, int]:
    """Return how many samples of each label would have to be generated to keep the promise.

    Samples without a decision - their attempt was red before it could be scored - count as the recipe expects them to
    turn out: one in `overdraw` accepted.
    """
    good = accepted_by_label(samples, decisions, with_surplus=True)
    undecided = samples.join(decisions, on="sample_id", how="anti").group_by(QUOTA).len()
    for label, count in undecided.iter_rows():
        good[label] = good.get(label, 0) + math.floor(count / model.batch.overdraw)
    return deficit(owed, good)


def may_open_attempt(batch: Mapping[str, Any], where: Standing, missing: Mapping[str, int]) -> str | None:
    """Return None if an attempt may be opened, else the reason why not.

    An attempt opens only when what was paid before has been judged: a batch that still has stages to run is not
    short, it is unfinished.

    Args:
        batch: its row of `batches`.
        where: its standing.
        missing: accepted samples missing by label.
    """
    if batch["open_attempt"] is not None:
        return f"attempt {batch['open_attempt']} is still open"
    is_new = batch["attempts"] == 0  # nothing was paid yet, so there is nothing to judge
    unjudged = next((stage for stage in BATCH_STAGES[:3] if where.states[stage] is not State.PASSED), None)
    reasons = {
        PROMISE_KEPT: not any(missing.values()),
        "it was accepted short": batch["short_accepted_by"] is not None,
        f"all {batch['max_attempts']} attempts are used up": batch["attempts"] >= batch["max_attempts"],
        f"{unjudged} has not judged what is there yet": not is_new
        and unjudged is not None
        and where.states[unjudged] is not State.FAILED,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
