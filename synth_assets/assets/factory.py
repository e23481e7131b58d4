"""One asset graph per dataset."""

import dagster as dg

from synth_assets.assets.batch import generation_assets, input_assets, judgement_assets
from synth_assets.assets.guide import guided
from synth_assets.assets.report import failure
from synth_assets.assets.versions import version_assets
from synth_assets.recipe.loader import BrokenRecipe, Recipe


def dataset_assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """Return the assets of a dataset, from template to model run."""
    assets = [*input_assets(recipe), *generation_assets(recipe), *judgement_assets(recipe), *version_assets(recipe)]
    return [asset.map_asset_specs(lambda spec: guided(spec, recipe)) for asset in assets]


def released_assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """Return what is left of a dataset whose recipe is gone: its versions, to be looked at and trained on."""
    return [
        asset.map_asset_specs(lambda spec: guided(spec, recipe)) for asset in version_assets(recipe, has_batches=False)
    ]


def broken_asset(broken: BrokenRecipe) -> dg.AssetsDefinition:
    """Return one asset that fails with the recipe's error, so that the web UI shows it and the others live on."""

    @dg.asset(
        key=[broken.dataset, "recipe"],
        group_name="broken_recipes",
        description=f"This recipe cannot be read: {broken.error.what}",
        metadata={"where": broken.error.where, "fix": broken.error.fix},
    )
    def recipe() -> None:
        raise failure(broken.error)

    return recipe
