"""Names and partitions of a dataset: keys of assets, names of jobs, batches in time, versions by number."""

from datetime import date

import dagster as dg

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


def versions_of(model: RecipeModel) -> dg.DynamicPartitionsDefinition:
    """Return the versions of a dataset; keys are v1, v2 ... and are added by the release."""
    return dg.DynamicPartitionsDefinition(name=versions_name(model.dataset))


def versions_name(dataset: str) -> str:
    """Name under which Dagster keeps the versions of a dataset."""
    return f"{dataset}_versions"
