"""What names the batches of a dataset - start, cadence, time zone - is fixed once a batch was planned."""

from collections.abc import Mapping
from typing import Any

import orjson

from synth_assets.domain.transactions import Lake
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import Stage

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
