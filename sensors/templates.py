"""A template or seed table that changed on disk is registered at once; it counts from the next plan on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from resources.lake import DuckLake
from sensors.recipes import Job, as_on_disk, sentence
from sensors.starts import launched_on, next_key
from synth_assets.assets.partitions import inputs_job
from synth_assets.canonical import digest
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe, template_sha256


@dataclass(frozen=True)
class Inputs:
    """What a dataset is made of, on disk and in the store.

    Attributes:
        on_disk: hash of every template and seed row the recipe has now, by name.
        registered: hashes the store knows.
        is_planned: whether a plan was ever made; until then the first plan, which may be under way, registers all.
    """

    dataset: str
    on_disk: Mapping[str, str]
    registered: frozenset[str]
    is_planned: bool


@dataclass(frozen=True)
class Registration:
    """A run to ask for; ``key`` is the state of the files, so the same state is registered once."""

    dataset: str
    names: tuple[str, ...]
    key: str


def changed(inputs: Iterable[Inputs]) -> list[Registration]:
    """Return a registration for every dataset that was planned from and has something new on disk."""
    wanted = []
    for each in inputs:
        new = sorted(name for name, sha in each.on_disk.items() if sha not in each.registered)
        if new and each.is_planned:
            state = digest(sorted(each.on_disk.values()))[:16]
            wanted.append(Registration(each.dataset, tuple(new), f"{each.dataset}/inputs/{state}"))
    return wanted


def inputs_of(lake: Lake, recipe: Recipe) -> Inputs:
    """Return what a dataset is made of, on disk and in the store."""
    templates = {f"{each.name}@{each.version}": template_sha256(each) for each in recipe.templates}
    seeds = {f"{row.table}[{row.position}]": row.seed_id for row in recipe.seeds}
    known = lake.read("prompt_templates", dataset=recipe.dataset)["template_sha256"].to_list()
    known += lake.read("seeds", dataset=recipe.dataset)["seed_id"].to_list()
    attempts = lake.read("batches", dataset=recipe.dataset)["attempts"]
    return Inputs(recipe.dataset, templates | seeds, frozenset(known), is_planned=bool((attempts > 0).any()))


def template_sensor(recipes: Sequence[Recipe], jobs: Mapping[str, Job]) -> dg.SensorDefinition:
    """Return the sensor that registers changed inputs; on by default, because it pays nothing."""

    @dg.sensor(
        name="template_change",
        jobs=[jobs[inputs_job(recipe.dataset)] for recipe in recipes],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers templates and seeds that changed on disk; they count from the next plan on.",
    )
    def template_change(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[DuckLake]) -> dg.SensorResult:
        readable, broken = as_on_disk(recipes)
        launched, wanted = launched_on(context.instance), []
        for each in changed(inputs_of(lake, recipe) for recipe in readable):
            key, because = next_key(each.key, launched, now=datetime.now(UTC))
            wanted += [] if key is None else [replace(each, key=key)]
            broken += [f"{each.dataset}: {because}"] if key is None else []
        if not wanted:
            return dg.SensorResult(skip_reason=sentence(broken, otherwise="every template and seed is registered"))
        return dg.SensorResult(
            run_requests=[dg.RunRequest(job_name=inputs_job(each.dataset), run_key=each.key) for each in wanted]
        )

    return template_change
