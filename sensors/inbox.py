"""What is dropped into the inbox becomes seeds or an ingested batch, once it is complete and lies still."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import orjson

from resources.inbox import Arrival, arrivals, strays
from resources.lake import DuckLake
from resources.owners import UNFINISHED
from sensors.recipes import Job, as_on_disk, sentence
from synth_assets.assets.partitions import batch_job, batches_of, inputs_job
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.ingestion import batch_for
from synth_assets.vocabulary import Stage

SAMPLES = "samples"


@dataclass(frozen=True)
class Place:
    """Where the arrivals of a dataset may go.

    Attributes:
        free_batch: the batch that would take in samples; None if every period holds generated ones.
        is_running: whether a run of the dataset's batches or inputs is going on or queued.
    """

    free_batch: str | None
    is_running: bool


@dataclass(frozen=True)
class Intake:
    """A run to ask for; the same file in the same state is asked for once."""

    arrival: Arrival
    batch: str | None
    key: str


def intakes(
    seen: Iterable[Arrival], places: Mapping[str, Place], *, before: Mapping[str, str], asked: frozenset[str]
) -> tuple[list[Intake], list[str]]:
    """Return what to take in now, at most one drop per dataset, and a sentence for every drop that waits.

    Args:
        seen: what lies in the inbox.
        places: by dataset.
        before: signature by path at the look before; a drop must have lain still since.
        asked: keys that were asked for; they are done, or failed and were told.
    """
    wanted: dict[str, Intake] = {}
    waiting = []
    for each in seen:
        key = f"{each.dataset}/{each.kind}/{each.path.name}/{each.signature[:16]}"
        if key in asked:
            continue
        reason = _waits(each, places[each.dataset], before) or (
            "another drop comes first" if each.dataset in wanted else None
        )
        if reason is not None:
            waiting.append(f"{each.dataset} {each.path.name}: {reason}")
        else:
            batch = places[each.dataset].free_batch if each.kind == SAMPLES else None
            wanted[each.dataset] = Intake(each, batch, key)
    return list(wanted.values()), waiting


def _waits(each: Arrival, place: Place, before: Mapping[str, str]) -> str | None:
    if not each.is_whole:
        return "it is not written to its end"
    if before.get(str(each.path)) != each.signature:
        return "looked at for the first time in this state"
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
        cursor = orjson.loads(context.cursor) if context.cursor else {"seen": {}, "asked": []}
        seen = [each for recipe in readable for each in arrivals(lake.home / "inbox", recipe.dataset)]
        dropped = {each.dataset for each in seen}
        places = {
            recipe.dataset: _place(context.instance, lake, recipe) for recipe in readable if recipe.dataset in dropped
        }
        wanted, waiting = intakes(seen, places, before=cursor["seen"], asked=frozenset(cursor["asked"]))
        lies = {str(each.path): each.signature for each in seen}
        after = {"seen": lies, "asked": sorted({*cursor["asked"], *(each.key for each in wanted)})}
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


def _place(instance: dg.DagsterInstance, lake: DuckLake, recipe: Recipe) -> Place:
    keys = list(batches_of(recipe.model).get_partition_keys())
    batches = lake.read("batches", dataset=recipe.dataset)
    jobs = (batch_job(recipe.dataset), inputs_job(recipe.dataset))
    statuses = [*UNFINISHED, dg.DagsterRunStatus.QUEUED]
    running = [instance.get_runs(dg.RunsFilter(job_name=job, statuses=statuses), limit=1) for job in jobs]
    return Place(batch_for(keys, batches), is_running=any(running))
