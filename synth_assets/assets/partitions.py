"""Keys and partitions of a dataset: batches in time, versions by number."""

from datetime import date

import dagster as dg

from synth_assets.recipe.model import HOURLY_KEY, RecipeModel


def key_of(dataset: str, asset: str) -> dg.AssetKey:
    """Return the key of a dataset's asset; stages come as enum members, which Dagster does not store."""
    return dg.AssetKey([dataset, str(asset)])


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
    return dg.DynamicPartitionsDefinition(name=f"{model.dataset}_versions")
