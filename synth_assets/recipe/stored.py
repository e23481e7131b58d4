"""Recipes that versions were cut by, read as far as reading and training need them, whatever is asked of one today."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel

NEEDED = ("dataset", "task_type", "labels", "rules", "real_data", "trainer")
"""Keys that decide how a version is looked at and trained on: no other value may stand in for theirs."""

_ANY = {"min": 0.0, "because": "It generates nothing any more."}

IN_THEIR_PLACE: dict[str, Any] = {
    "description": "Only read and trained on any more.",
    "owners": ["team:unknown"],
    "license": "unknown",
    "language": "en",
    "start": "2000-01-01",
    "batch": {"accept": 1},
    "generator": {},
    "prompts": [{"name": "unknown"}],
    "gates": {"answered_share": _ANY, "acceptance_share": _ANY, "drift": _ANY},
    "quality_score": {"words": {"weight": 1.0, "worst": 0.0, "best": 1.0}},
    "splits": {"train": 1.0, "validation": 0.0, "test": 0.0},
}
"""What stands in for other keys that have to be there; all else is left out."""

_log = logging.getLogger(__name__)


def recipe_of_release(text: bytes, folder: Path) -> Recipe:
    """Return the recipe that a release was cut by, for a dataset whose folder is gone or cannot be read any more.

    It has neither templates nor seeds: versions can be read and trained on with it, and nothing can be generated. What
    is asked of recipes today and was not then is not asked of it, as long as what decides a training can be read.

    Args:
        text: `Recipe.canonical` of that time.
        folder: where the dataset's folder was.

    Raises:
        UsageError: a key of `NEEDED` is not what one is today.
    """
    told: dict[str, Any] = orjson.loads(text)
    replaced: set[str] = set()
    while True:
        try:
            model = RecipeModel.model_validate(told)
            break
        except ValidationError as error:
            wrong = {_key(each) for each in error.errors()} - replaced
            told = _without(told, wrong, error, folder)
            replaced |= wrong
    if replaced:
        _log.warning("the recipe of %s is one of an earlier time; not read: %s", model.dataset, ", ".join(replaced))
    return Recipe(folder=folder, model=model, templates=(), seeds=())


def _key(error: Mapping[str, Any]) -> str:
    """Return the key of the recipe an error is about; rules across keys begin their sentence with one."""
    if error["loc"]:
        return str(error["loc"][0])
    return str(error["msg"]).removeprefix("Value error, ").partition(":")[0]


def _without(told: dict[str, Any], wrong: set[str], error: ValidationError, folder: Path) -> dict[str, Any]:
    unreadable = sorted(wrong & set(NEEDED)) if wrong else ["what they say together"]
    if unreadable:
        raise UsageError(
            f"the recipe of an earlier time cannot be read: {', '.join(unreadable)} ({error.error_count()} errors)",
            where=str(folder),
            fix="restore the dataset's folder, or use the project as it was then; exporting and loading need no recipe",
        )
    kept = {name: value for name, value in told.items() if name not in wrong}
    kept |= {name: IN_THEIR_PLACE[name] for name in wrong & set(IN_THEIR_PLACE)}
    if "gates" in wrong and told.get("labels"):  # the gate of balance goes with labels
        kept["gates"] = kept["gates"] | {"label_deviation": _ANY}
    return kept
