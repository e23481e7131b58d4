"""Names and partitions of a dataset: keys of assets, names of jobs, batches in time, versions by number."""

from datetime import date, datetime

import dagster as dg

from synth_assets.errors import UsageError
from synth_assets.recipe.model import HOURLY_KEY, RecipeModel


def key_of(dataset: str, asset: str) -> dg.AssetKey:
    """Return the key of a dataset's asset; stages come as enum members, which Dagster does not store."""
    return dg.AssetKey([dataset, str(asset)])


def batch_job(dataset: str) -> str:
    """Name of the job that brings a batch up to training_ready."""
    return f"{dataset}_batch"


def inputs_job(dataset: str) -> str:
    """Name of the job that registers templates and seeds."""
    return f"{dataset}_inputs"


def version_job(dataset: str) -> str:
    """Name of the job that cuts or verifies a version."""
    return f"{dataset}_version"


def model_job(dataset: str) -> str:
    """Name of the job that trains on a version."""
    return f"{dataset}_model_run"


def release_job(dataset: str) -> str:
    """Name of the job that cuts a version and, where there is real data to measure on, trains on it."""
    return f"{dataset}_release"


def batches_of(model: RecipeModel) -> dg.TimeWindowPartitionsDefinition:
    """Return one partition per period of the recipe's cadence, the current one included, future ones not."""
    if model.cadence == "hourly":
        return dg.HourlyPartitionsDefinition(start_date=model.start, fmt=HOURLY_KEY, end_offset=1)
    if model.cadence == "daily":
        return dg.DailyPartitionsDefinition(start_date=model.start, timezone=model.timezone, end_offset=1)
    # Dagster counts weekdays from Sunday; a week begins on the weekday of the recipe's start.
    weekday = (date.fromisoformat(model.start).weekday() + 1) % 7
    return dg.WeeklyPartitionsDefinition(
        start_date=model.start, timezone=model.timezone, end_offset=1, day_offset=weekday
    )


def current_batch(model: RecipeModel, at: datetime) -> str | None:
    """Return the batch whose period contains a moment; None before the first."""
    partitions = batches_of(model)
    with dg.partition_loading_context(effective_dt=at):
        last = partitions.get_last_partition_key()
    # On the eve of the first period Dagster already offers it, for the sake of the current one being offered.
    return last if last and partitions.start_time_for_partition_key(last) <= at else None


def refuse_future(model: RecipeModel, batch: str, at: datetime) -> None:
    """Refuse a batch whose period has not begun.

    Raises:
        UsageError: nothing was recorded and nobody asked.
    """
    if current_batch(model, at) is None:
        raise UsageError(
            f"{model.dataset} starts at {model.start}, which is in the future",
            where=f"{model.dataset}, partition {batch}",
            fix="set an earlier `start` in recipe.yaml, or wait until then",
        )


def versions_of(model: RecipeModel) -> dg.DynamicPartitionsDefinition:
    """Return the versions of a dataset; keys are v1, v2 ... and are added by the release."""
    return dg.DynamicPartitionsDefinition(name=versions_name(model.dataset))


def versions_name(dataset: str) -> str:
    """Name under which Dagster keeps the versions of a dataset."""
    return f"{dataset}_versions"
