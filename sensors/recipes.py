"""The recipes as they are on disk when a sensor looks, not as they were when the project was loaded.

A raised `max_attempts` or a new template must count at the next look. Runs read the files anew in any case.
"""

from collections.abc import Iterable, Sequence

from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from synth_assets.errors import SynthError
from synth_assets.recipe.loader import Recipe, load_recipe

Job = UnresolvedAssetJobDefinition
"""A job as `define_asset_job` returns it."""


def as_on_disk(recipes: Iterable[Recipe]) -> tuple[list[Recipe], list[str]]:
    """Return the recipes that can be read now, and a sentence for each that cannot."""
    readable, broken = [], []
    for recipe in recipes:
        try:
            readable.append(load_recipe(recipe.folder))
        except SynthError as error:
            broken.append(f"{recipe.dataset} cannot be read: {error.what} ({error.where})")
    return readable, broken


def sentence(reasons: Sequence[str], *, otherwise: str) -> str:
    """Return reasons for silence as one text, or the usual reason."""
    return "; ".join(reasons) or otherwise
