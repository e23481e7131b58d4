"""What names the batches of a dataset is fixed once a batch was planned, and a batch far ahead of the audit is said."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from synth_assets.domain.chain import Chain
from synth_assets.domain.transactions import Lake
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import DAILY_KEY, HOURLY_KEY, RecipeModel
from synth_assets.vocabulary import Stage

PERIODS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(weeks=1)}

FIXED = ("start", "cadence", "timezone")
"""Keys of a recipe that name its partitions."""


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what was edited of the keys that name batches, with the old and the new value.

    Example:
        >>> moved({"start": "2026-11-01", "cadence": "daily"}, {"start": "2026-11-02", "cadence": "daily"})
        ['start from 2026-11-01 to 2026-11-02']
    """
    return [
        f"{name} from {before[name]} to {now[name]}" for name in FIXED if name in before and before[name] != now[name]
    ]


def gap_before(chain: Chain, model: RecipeModel, batch: str) -> timedelta | None:
    """Return how long before a batch's period the audit of the other batches ends, if that is more than a period.

    A clock that runs ahead makes batches of days that have not come; nothing but what was written down before tells.

    Args:
        chain: of the dataset.
        model: its recipe.
        batch: a partition key of it.
    """
    others = [entries[-1] for partition, entries in chain.partitions.items() if partition != batch]
    if not others:
        return None
    pattern = HOURLY_KEY if model.cadence == "hourly" else DAILY_KEY
    begins = datetime.strptime(batch, pattern).replace(tzinfo=ZoneInfo(model.timezone))
    # The last entry, not the latest time: that may be of the day the clock ran ahead before, and would hide the next.
    gap = begins - max(others, key=lambda entry: entry.seq).entered_at
    return gap if gap > PERIODS[model.cadence] else None


def said_of(gap: timedelta, dataset: str, batch: str) -> str:
    """Return what a person should know of such a gap."""
    return (
        f"batch {batch} lies {gap.days:,} days after anything {dataset} has written down: "
        "if the clock of this machine is right, nothing is wrong"
    )


def refuse_moved(lake: Lake, recipe: Recipe) -> None:
    """Refuse a recipe whose start, cadence or time zone is another one than its latest batch was planned by.

    Raises:
        UsageError: with the old and the new values; nothing was planned or sent.
    """
    planned = lake.read("stage_commits", dataset=recipe.dataset, stage=str(Stage.GENERATION_PLAN))
    if planned.is_empty():
        return
    latest = planned.sort("commit_seq").row(-1, named=True)
    before = orjson.loads(lake.get(latest["recipe_object"], ".json"))
    edited = moved(before, recipe.model.model_dump(mode="json"))
    if edited:
        raise UsageError(
            f"{' and '.join(edited)}: batches of {recipe.dataset} exist, and these keys name them",
            where=str(recipe.folder / "recipe.yaml"),
            fix="set them back, or begin another dataset: a copy of the folder under another name",
        )
