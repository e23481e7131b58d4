"""Batches that fell short, stopped or were left unfinished go on by themselves, within their attempts and budget."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from resources.claims import is_free
from resources.lake import DuckLake
from sensors.recipes import Job, as_on_disk, sentence
from sensors.starts import Started, launched_on, next_key
from synth_assets.assets.partitions import batch_job, batches_of
from synth_assets.recipe.loader import Recipe
from synth_assets.reports.unfinished import Case, unfinished

RETRY_AFTER = timedelta(minutes=10)
"""How long a provider that stopped a batch, or answered nothing at all, is left alone."""

MAX_RESUMES = 3
"""How often one attempt is resumed before it is left to a person."""


@dataclass(frozen=True)
class Topup:
    """A run to ask for: ``key`` names what is tried, so that it is asked for once unless it never began."""

    dataset: str
    batch: str
    key: str


def topups(cases: Iterable[Case], *, now: datetime) -> tuple[list[Topup], list[str]]:
    """Return the runs to ask for, oldest batch first, and a sentence for every batch that is left alone.

    Args:
        cases: batches that are not green.
        now: the time, UTC.
    """
    wanted, silent = [], []
    for case in sorted(cases, key=lambda each: (each.dataset, each.batch)):
        reason = _left_alone(case, now)
        if reason is None:
            wanted.append(Topup(case.dataset, case.batch, f"{case.dataset}/{case.batch}/{_trial(case)}"))
        else:
            silent.append(f"{case.dataset} {case.batch}: {reason}")
    return wanted, silent


def _trial(case: Case) -> str:
    if case.is_open:
        return f"attempt-{case.attempt}/resume-{case.stops}"
    return f"judge-{case.last_seq}" if case.is_unjudged else f"attempt-{case.attempt}"


def _left_alone(case: Case, now: datetime) -> str | None:
    """Return why nothing is asked for; None if something is."""
    if case.is_tripped:
        return str(case.refusal)
    if case.is_busy:
        return "somebody works on it"
    if case.is_unjudged:
        return None
    # A look that is still to come was dated by a clock that ran ahead: how long ago it was nobody knows.
    is_recent = case.is_silent and case.looked_at is not None and case.looked_at <= now
    again_at = case.looked_at + RETRY_AFTER if is_recent and case.looked_at else now
    return left_to_a_person(case) or (
        f"the provider failed; next try after {again_at:%H:%M} UTC" if now < again_at else None
    )


def left_to_a_person(case: Case) -> str | None:
    """Return why a batch does not go on by itself, however long one waits; None if it does."""
    if case.is_tripped:
        return str(case.refusal)
    if case.is_unjudged:
        return None
    reasons = {
        f"attempt {case.attempt} was stopped {case.stops} times; a person should look": case.stops > MAX_RESUMES,
        str(case.refusal): case.refusal is not None and not case.is_open,
        "its budget is spent": case.money_left_usd is not None and case.money_left_usd <= 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _to_start(due: Sequence[Topup], launched: Callable[[str], Started | None]) -> tuple[list[Topup], list[str]]:
    """Return the runs to ask for under a key that none was launched for, and a sentence for each other one."""
    wanted, waiting = [], []
    for each in due:
        key, because = next_key(each.key, launched, now=datetime.now(UTC))
        if key is None:
            waiting.append(f"{each.dataset} {each.batch}: {because}")
        else:
            wanted.append(replace(each, key=key))
    return wanted, waiting


def cases_of(lake: DuckLake, recipe: Recipe) -> list[Case]:
    """Return the unfinished batches that are partitions of the present recipe."""
    partitions = batches_of(recipe.model)
    found = unfinished(lake, recipe, is_busy=lambda batch: not is_free(lake.home, recipe.dataset, batch))
    return [case for case in found if partitions.has_partition_key(case.batch)]


def regeneration_sensor(recipes: Sequence[Recipe], jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that tops batches up; off by default, because it spends."""

    @dg.sensor(
        name="regeneration",
        jobs=[jobs[batch_job(recipe.dataset)] for recipe in recipes],
        minimum_interval_seconds=30,
        description="Asks for the missing samples of every batch that fell short, within its attempts and budget. "
        "Off at first, because it spends.",
    )
    def regeneration(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[DuckLake]) -> dg.SensorResult:
        readable, broken = as_on_disk(recipes)
        cases = [case for recipe in readable for case in cases_of(lake, recipe)]
        due, silent = topups(cases, now=datetime.now(UTC))
        wanted, waiting = _to_start(due, launched_on(context.instance))
        silent += waiting
        if not wanted:
            return dg.SensorResult(skip_reason=sentence([*broken, *silent], otherwise="every batch kept its promise"))
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(job_name=batch_job(each.dataset), partition_key=each.batch, run_key=each.key)
                for each in wanted
            ]
        )

    return regeneration
