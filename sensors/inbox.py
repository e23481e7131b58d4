"""What is dropped into the inbox becomes seeds or an ingested batch, once it is complete and lies still."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import orjson

from resources.inbox import Arrival, arrivals, contents, strays
from resources.lake import DuckLake
from resources.owners import UNFINISHED
from resources.seed_files import has_seeds
from sensors.recipes import Job, as_on_disk, sentence
from synth_assets.assets.partitions import batch_job, batches_of, inputs_job
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.ingestion import batch_for, known_drops
from synth_assets.vocabulary import Stage

SAMPLES = "samples"
EMPTY: dict[str, Any] = {"seen": {}, "read": {}, "asked": []}
"""What a look knows of those before it, where there was none or its memory was lost."""

MOST_NAMED = 5
"""Drops of a dataset that are named as taken in before; what lies there for months is more."""


@dataclass(frozen=True)
class Place:
    """Where the arrivals of a dataset may go.

    Attributes:
        free_batch: the batch that would take in samples; None if every period holds generated ones.
        is_running: whether a run of the dataset's batches or inputs is going on or queued.
        taken: what holds the rows of drops that were taken in, by `key_of` what they hold.
    """

    free_batch: str | None
    is_running: bool
    taken: Mapping[str, str]


@dataclass(frozen=True)
class Intake:
    """A run to ask for; the same bytes are asked for once, whatever their name and age."""

    arrival: Arrival
    batch: str | None
    key: str


def intakes(
    seen: Iterable[Arrival],
    places: Mapping[str, Place],
    *,
    before: Mapping[str, str],
    holds: Mapping[str, str],
    asked: frozenset[str],
) -> tuple[list[Intake], list[str]]:
    """Return what to take in now, at most one drop per dataset, and sentences for what waits and what is there.

    Args:
        seen: what lies in the inbox.
        places: by dataset.
        before: signature by path at the look before; a drop must have lain still since.
        holds: hash of the bytes by path, of drops that lay still.
        asked: keys that were asked for; they are done, or failed and were told.
    """
    wanted: dict[str, Intake] = {}
    waiting = []
    taken: dict[str, list[str]] = {}
    for each in seen:
        place, content = places[each.dataset], holds.get(str(each.path))
        key = key_of(each, content)
        if key in place.taken:
            taken.setdefault(each.dataset, []).append(f"{each.path.name} as {place.taken[key]}")
            continue
        if key in asked:
            continue
        reason = _waits(each, place, before, content) or (
            "another drop comes first" if each.dataset in wanted else None
        )
        if reason is not None:
            waiting.append(f"{each.dataset} {each.path.name}: {reason}")
        else:
            wanted[each.dataset] = Intake(each, place.free_batch if each.kind == SAMPLES else None, key)
    return list(wanted.values()), [*waiting, *(_said(dataset, drops) for dataset, drops in taken.items())]


def key_of(each: Arrival, content: str | None) -> str:
    """Name the run for a drop by the hash of what it holds; rows of two seed tables may be the same bytes."""
    return f"{each.dataset}/{each.kind}/{content if each.kind == SAMPLES else f'{each.name}/{content}'}"


def _said(dataset: str, drops: Sequence[str]) -> str:
    more = f" and {len(drops) - MOST_NAMED:,} more" if len(drops) > MOST_NAMED else ""
    return f"{dataset}: taken in before: {', '.join(drops[-MOST_NAMED:])}{more}"


def _waits(each: Arrival, place: Place, before: Mapping[str, str], content: str | None) -> str | None:
    if not each.is_whole:
        return "it is not written to its end"
    if before.get(str(each.path)) != each.signature:
        return "looked at for the first time in this state"
    if content is None:
        return "other drops are read before it"
    if place.is_running:
        return "a run of the dataset is going on"
    if each.kind == SAMPLES and place.free_batch is None:
        return "every batch holds generated samples"
    return None


def _request(intake: Intake) -> dg.RunRequest:
    drop = intake.arrival
    if drop.kind == SAMPLES:
        job, asset = batch_job(drop.dataset), Stage.GENERATION_PLAN
        config: dict[str, Any] = {"ingest": {"file": str(drop.path), "generator": drop.name}}
    else:
        job, asset = inputs_job(drop.dataset), "seeds"
        config = {"table": drop.name, "file": str(drop.path)}
    ops = {"ops": {f"{drop.dataset}__{asset}": {"config": config}}}
    return dg.RunRequest(job_name=job, partition_key=intake.batch, run_key=intake.key, run_config=ops)


def inbox_sensor(recipes: Sequence[Recipe], jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that watches ``SYNTH_HOME/inbox``; on by default, because it pays nothing."""

    @dg.sensor(
        name="inbox",
        jobs=[jobs[job(recipe.dataset)] for recipe in recipes for job in (batch_job, inputs_job)],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in samples and seeds dropped into SYNTH_HOME/inbox once they are complete and lie still.",
    )
    def inbox(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[DuckLake]) -> dg.SensorResult:
        readable, broken = as_on_disk(recipes)
        cursor = {**EMPTY, **(orjson.loads(context.cursor) if context.cursor else {})}
        seen = [each for recipe in readable for each in arrivals(lake.home / "inbox", recipe.dataset)]
        still = [each for each in seen if each.is_whole and cursor["seen"].get(str(each.path)) == each.signature]
        read = contents(still, cursor["read"])
        holds = {path: content for path, (_, content) in read.items()}
        asked = frozenset(cursor["asked"])
        there = {
            recipe.dataset: _seeds_there(recipe, still, holds, asked)
            for recipe in readable
            if any(each.dataset == recipe.dataset for each in seen)
        }
        places = {
            recipe.dataset: _place(context.instance, lake, recipe, there[recipe.dataset])
            for recipe in readable
            if recipe.dataset in there
        }
        wanted, waiting = intakes(seen, places, before=cursor["seen"], holds=holds, asked=asked)
        done = {*asked, *(each.key for each in wanted), *(key for keys in there.values() for key in keys)}
        after = {"seen": {str(each.path): each.signature for each in seen}, "read": read, "asked": sorted(done)}
        if not wanted:
            ignored = _ignored(lake.home / "inbox", sorted(recipe.dataset for recipe in recipes))
            reason = sentence([*broken, *waiting, *ignored], otherwise="nothing new lies in the inbox")
            return dg.SensorResult(skip_reason=reason, cursor=orjson.dumps(after).decode())
        return dg.SensorResult(run_requests=[_request(each) for each in wanted], cursor=orjson.dumps(after).decode())

    return inbox


def _ignored(inbox: Path, datasets: Sequence[str]) -> list[str]:
    known = ", ".join(datasets) or "none"
    return [
        f"{name[:80]!r} is ignored: no dataset has that name (datasets: {known})" for name in strays(inbox, datasets)
    ]


def _seeds_there(
    recipe: Recipe, still: Iterable[Arrival], holds: Mapping[str, str], asked: frozenset[str]
) -> dict[str, str]:
    """Return the table of every drop of seeds that nobody asked for and whose rows the recipe has, by key."""
    dropped = ((each, key_of(each, holds.get(str(each.path)))) for each in still if each.dataset == recipe.dataset)
    return {
        key: f"rows of seed table {each.name}"
        for each, key in dropped
        if each.kind != SAMPLES and key not in asked and has_seeds(recipe, each.name, each.path)
    }


def _place(instance: dg.DagsterInstance, lake: DuckLake, recipe: Recipe, seeds: Mapping[str, str]) -> Place:
    keys = list(batches_of(recipe.model).get_partition_keys())
    batches = lake.read("batches", dataset=recipe.dataset)
    jobs = (batch_job(recipe.dataset), inputs_job(recipe.dataset))
    statuses = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
    running = [instance.get_runs(dg.RunsFilter(job_name=job, statuses=statuses), limit=1) for job in jobs]
    taken = {f"{recipe.dataset}/{SAMPLES}/{sha}": batch for sha, batch in known_drops(lake, recipe.dataset).items()}
    return Place(batch_for(keys, batches), is_running=any(running), taken={**taken, **seeds})
