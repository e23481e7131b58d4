"""What a person would be called for: whatever does not mend itself, each with the words that name it and its cure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._utils.schedules import cron_string_iterator

from resources.claims import is_free
from resources.daemon import DAEMON
from resources.lake import DuckLake
from resources.owners import PARTITION_TAG, UNFINISHED, dead_runs, owners_of
from sensors.regeneration import cases_of, left_to_a_person
from sensors.schedules import cron_of
from sensors.switches import is_switched_on, switched_on_at
from synth_assets.assets.partitions import batches_of, current_batch
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe

REGENERATION = "regeneration"
SHOWN = 3


@dataclass(frozen=True)
class Trouble:
    """One thing that waits for a person.

    Attributes:
        key: names it for as long as it lasts, whatever its numbers do.
        what: a sentence.
        fix: what to do.
    """

    key: str
    what: str
    fix: str


def missed_periods(keys: Sequence[str], planned: Collection[str], *, since: str) -> list[str]:
    """Return the periods that are over and that nobody started, though their schedule was on.

    Args:
        keys: of every period so far, in order; the last one is not over.
        planned: those that have a plan.
        since: the period in which the schedule was switched on.

    Example:
        >>> missed_periods(["11-01", "11-02", "11-03", "11-04"], {"11-03"}, since="11-02")
        ['11-02']
    """
    first = keys.index(since) if since in keys else len(keys)
    return [key for key in keys[first:-1] if key not in planned]


def of_missed(dataset: str, periods: Sequence[str]) -> Trouble:
    """Return missed periods as one trouble, with the line that makes up for them.

    Example:
        >>> of_missed("tiny", ["2026-11-02", "2026-11-05"]).fix
        '`synth backfill tiny --from 2026-11-02 --to 2026-11-05`'
    """
    shown = ", ".join(periods[:SHOWN]) + (f" and {len(periods) - SHOWN:,} more" if len(periods) > SHOWN else "")
    return Trouble(
        f"{dataset}/missed",
        f"nobody started {shown} of {dataset}, though its schedule is on",
        f"`synth backfill {dataset} --from {periods[0]} --to {periods[-1]}`",
    )


def changes(before: Collection[str], now: Iterable[Trouble]) -> tuple[list[Trouble], list[str]]:
    """Return the troubles that are new, and the keys of those that are over.

    Example:
        >>> new, over = changes(["a", "b"], [Trouble("b", "", ""), Trouble("c", "", "")])
        >>> [each.key for each in new], over
        (['c'], ['a'])
    """
    present = {each.key: each for each in now}
    return [each for key, each in present.items() if key not in before], sorted(set(before) - set(present))


def troubles(
    lake: DuckLake, instance: dg.DagsterInstance, recipes: Sequence[Recipe], *, now: datetime
) -> list[Trouble]:
    """Return everything that waits for a person, the machine's own troubles first.

    Args:
        lake: what was made.
        instance: what runs, and what is switched on.
        recipes: those that can be read.
        now: the time, UTC.
    """
    found = [*_of_runs(instance), *_of_the_daemon(instance, recipes)]
    for recipe in recipes:
        found += missed_of(lake, instance, recipe, now=now)
        found += _of_batches(lake, instance, recipe, now=now)
    return found


def missed_of(lake: Lake, instance: dg.DagsterInstance, recipe: Recipe, *, now: datetime) -> list[Trouble]:
    """Return the missed periods of a dataset; nothing where its schedule is off."""
    on_at = switched_on_at(instance, recipe)
    since = current_batch(recipe.model, _first_tick(recipe, on_at)) if on_at is not None else None
    if since is None:
        return []
    batches = lake.read("batches", dataset=recipe.dataset)
    planned = set(batches.filter(batches["attempts"] > 0)["batch"])
    with dg.partition_loading_context(effective_dt=now):
        keys = list(batches_of(recipe.model).get_partition_keys())
    missed = missed_periods(keys, planned, since=since)
    return [of_missed(recipe.dataset, missed)] if missed else []


def _first_tick(recipe: Recipe, on_at: datetime) -> datetime:
    """Return the first tick of a schedule since it was switched on; the ticks of that day may have been over."""
    begin = max(on_at, batches_of(recipe.model).start.astimezone(UTC))
    return next(cron_string_iterator(begin.timestamp(), cron_of(recipe.model), recipe.model.timezone))


def _of_runs(instance: dg.DagsterInstance) -> Iterator[Trouble]:
    dead = dead_runs(instance)
    if not dead:
        return
    names = ", ".join(run.run_id[:8] for run in dead[:SHOWN]) + (" and more" if len(dead) > SHOWN else "")
    waiting = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    blocks = f", and {waiting:,} in the queue wait for their places" if waiting else ""
    yield Trouble(
        "runs/dead",
        f"{len(dead)} run{'s' if len(dead) > 1 else ''} ({names}) look alive and their process is gone{blocks}",
        "`synth doctor --cure` ends them; a daemon that runs (`synth ui`) does so by itself",
    )


def _of_the_daemon(instance: dg.DagsterInstance, recipes: Sequence[Recipe]) -> Iterator[Trouble]:
    owners = owners_of(instance)
    if owners is None or owners.lives(DAEMON):
        return
    on = [recipe.dataset for recipe in recipes if switched_on_at(instance, recipe) is not None]
    waiting = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    idle = [f"the schedule of {', '.join(on)} is on"] if on else []
    idle += [f"{waiting:,} runs wait in the queue"] if waiting else []
    if idle:
        yield Trouble("daemon/off", f"no daemon runs, and {' and '.join(idle)}", "`synth ui` runs one")


def _of_batches(lake: DuckLake, instance: dg.DagsterInstance, recipe: Recipe, *, now: datetime) -> Iterator[Trouble]:
    """Yield the batches that are not green, that nobody works on or will, and that do not go on by themselves."""
    goes_on = is_switched_on(instance, REGENERATION)
    cases = [case for case in cases_of(lake, recipe) if not case.is_busy]
    due = _asked_for(instance, [case.batch for case in cases])
    for case in cases:
        because = left_to_a_person(case)
        if case.batch in due or (goes_on and because is None) or not is_free(lake.home, recipe.dataset, case.batch):
            continue
        age = _age(now - case.looked_at) if case.looked_at else "a while"
        yield Trouble(
            f"{recipe.dataset}/{case.batch}",
            f"{recipe.dataset} {case.batch} has been {'stopped' if case.is_open else 'red'} for {age}"
            + (f": {because}" if because else ""),
            f"`synth status {recipe.dataset}` says why; `synth run {recipe.dataset} --batch {case.batch}` goes on",
        )


def _asked_for(instance: dg.DagsterInstance, batches: Sequence[str]) -> set[str]:
    """Return the batches that a run is queued or going on for; dead ones are a trouble of their own."""
    if not batches:
        return set()
    statuses = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
    runs = instance.get_runs(dg.RunsFilter(statuses=statuses, tags={PARTITION_TAG: list(batches)}))
    return {run.tags[PARTITION_TAG] for run in runs} - {run.tags.get(PARTITION_TAG, "") for run in dead_runs(instance)}


def _age(time: timedelta) -> str:
    """Return a length of time in its largest unit.

    Example:
        >>> _age(timedelta(days=3, hours=5)), _age(timedelta(minutes=61)), _age(timedelta(seconds=5))
        ('3 days', '1 hour', 'less than a minute')
    """
    units = ((time.days, "day"), (time.seconds // 3600, "hour"), (time.seconds // 60, "minute"))
    count, unit = next(((count, unit) for count, unit in units if count > 0), (0, ""))
    return f"{count} {unit}{'s' if count > 1 else ''}" if unit else "less than a minute"
