"""Enough new accepted samples become a version, and where there is real data, a model trained on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from resources.lake import DuckLake
from sensors.recipes import Job, as_on_disk, sentence
from sensors.starts import launched_on, next_key
from synth_assets.assets.partitions import release_job, versions_name
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.pending import pending


@dataclass(frozen=True)
class Candidate:
    """What the next version of a dataset would hold.

    Attributes:
        version: its number.
        added: samples that the latest version lacks.
        needed: how many of them make a version.
        digest: of all members.
    """

    dataset: str
    version: int
    added: int
    needed: int
    digest: str


@dataclass(frozen=True)
class Cutting:
    """A run to ask for: a version of this content is asked for once."""

    dataset: str
    partition: str
    key: str


def due(candidates: Iterable[Candidate]) -> tuple[list[Cutting], list[str]]:
    """Return the versions to cut, and a sentence for every dataset that has not enough yet."""
    wanted, silent = [], []
    for each in candidates:
        if each.added >= each.needed:
            partition = f"v{each.version}"
            wanted.append(Cutting(each.dataset, partition, f"{each.dataset}/{partition}/{each.digest[:16]}"))
        else:
            silent.append(f"{each.dataset}: {each.added} of {each.needed} new accepted samples for v{each.version}")
    return wanted, silent


def candidate(lake: Lake, recipe: Recipe) -> Candidate:
    """Return what the next version of a dataset would hold."""
    next_up = pending(lake, recipe.dataset)
    needed = recipe.model.automation.release_after or recipe.model.batch.accept
    return Candidate(recipe.dataset, next_up.head + 1, next_up.change.added.height, needed, next_up.change.digest)


def release_sensor(recipes: Sequence[Recipe], jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that cuts versions; off by default, because others may follow the latest version."""

    @dg.sensor(
        name="release",
        jobs=[jobs[release_job(recipe.dataset)] for recipe in recipes],
        minimum_interval_seconds=30,
        description="Cuts the next version once enough new samples are accepted, and trains a model on it. "
        "Off at first, because it publishes.",
    )
    def release(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[DuckLake]) -> dg.SensorResult:
        readable, broken = as_on_disk(recipes)
        ready, silent = due(candidate(lake, recipe) for recipe in readable)
        wanted, launched = [], launched_on(context.instance)
        for each in ready:
            key, because = next_key(each.key, launched, now=datetime.now(UTC))
            wanted += [] if key is None else [replace(each, key=key)]
            silent += [f"{each.dataset}: {because}"] if key is None else []
        if not wanted:
            return dg.SensorResult(skip_reason=sentence([*broken, *silent], otherwise="there is no dataset"))
        versions = [
            dg.DynamicPartitionsDefinition(name=versions_name(each.dataset)).build_add_request([each.partition])
            for each in wanted
        ]
        requests = [
            dg.RunRequest(job_name=release_job(each.dataset), partition_key=each.partition, run_key=each.key)
            for each in wanted
        ]
        return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=versions)

    return release
