"""The periods of datasets that nobody started though a schedule was to."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from resources.home import has_room, is_writable
from synth_assets.cli.project import Project
from synth_assets.errors import StoppedError
from synth_assets.recipe import BrokenRecipe


def missed_by_dataset(project: Project, found: Sequence[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return what and fix of the missed periods of datasets that have batches, by dataset.

    Dagster's instance alone knows what is switched on, and opening it takes a second: where nothing was ever made,
    nothing can have been missed. It may not be opened where nothing may be written.

    Args:
        project: the checkout.
        found: facts of `status`.
    """
    made = {facts["dataset"] for facts in found if facts["batches"]}
    recipes = [each for each in project.datasets() if each.dataset in made and not isinstance(each, BrokenRecipe)]
    if not recipes or not (is_writable(project.home) and has_room(project.home)):
        return {}
    from sensors.troubles import missed_of

    told = {}
    with suppress(StoppedError), project.instance() as instance:
        for recipe in recipes:
            told[recipe.dataset] = missed_of(project.lake, instance, recipe, now=datetime.now(UTC))
    return {dataset: {"what": each[0].what, "fix": each[0].fix} for dataset, each in told.items() if each}
