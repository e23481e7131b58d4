"""The schedule of a dataset: it asks for the batch whose period contains the tick."""

from datetime import date

import dagster as dg
import polars as pl

from resources.lake import DuckLake
from sensors.switches import is_switched_on, schedule_name
from synth_assets.assets.partitions import batch_job, current_batch
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel

MORNING = "0 6"
"""Minute and hour of the default tick of daily and weekly batches, in the recipe's time zone."""


def cron_of(model: RecipeModel) -> str:
    """Return when the schedule ticks: as the recipe says, or once per period, as early as a person would want it."""
    if model.cron is not None:
        return model.cron
    if model.cadence == "hourly":
        return "0 * * * *"
    if model.cadence == "daily":
        return f"{MORNING} * * *"
    return f"{MORNING} * * {date.fromisoformat(model.start).isoweekday() % 7}"


def is_started(found: pl.DataFrame) -> bool:
    """Whether a batch was planned before; a cron may tick more often than once a period.

    Args:
        found: its row of `batches`, if there is one.
    """
    return bool((found["attempts"] > 0).any())


def is_new(lake: Lake) -> bool:
    """Whether nothing was ever committed in this home."""
    return lake.read("heads").is_empty()


def batch_schedule(recipe: Recipe) -> dg.ScheduleDefinition:
    """Return the schedule of a dataset. A period that was missed is a partition to backfill, not another tick."""
    model = recipe.model
    is_running = model.automation.schedule == "running"

    @dg.schedule(
        name=schedule_name(recipe.dataset),
        job_name=batch_job(recipe.dataset),
        cron_schedule=cron_of(model),
        execution_timezone=model.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if is_running else dg.DefaultScheduleStatus.STOPPED,
        description=f"Starts the {model.cadence} batch of {recipe.dataset} in whose period the tick falls.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[DuckLake]
    ) -> dg.RunRequest | dg.SkipReason:
        batch = current_batch(model, context.scheduled_execution_time)
        if batch is None:
            return dg.SkipReason(f"{recipe.dataset} starts at {model.start}")
        if is_new(lake) and not is_switched_on(context.instance, schedule_name(recipe.dataset)):
            return dg.SkipReason(
                "nothing was ever made in this home, and a volume that is not mounted looks the same: it waits for a "
                "first batch by hand, or for a person who switches it on here"
            )
        if is_started(lake.read("batches", dataset=recipe.dataset, batch=batch)):
            return dg.SkipReason(f"{batch} was started before; the sensor `regeneration` tops it up if it falls short")
        return dg.RunRequest(run_key=batch, partition_key=batch)

    return schedule
