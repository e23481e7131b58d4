"""Why a batch's requests cannot be asked of the models there are; known before anybody is asked."""

import polars as pl

from synth_assets.domain.ports import Provider, Routing
from synth_assets.domain.routing import address, unknown_models
from synth_assets.errors import RefusedError, UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.providers import FILE
from synth_assets.vocabulary import Stage


def missing_price(recipe: Recipe, routing: Routing) -> UsageError | None:
    """Return what is wrong if the recipe has a budget and a model that may be asked, or stand in, has no price."""
    if recipe.model.batch.budget_usd is None:
        return None
    unpriced = [each for each in routing.providers if each.price is None]
    if not unpriced:
        return None
    places = " and ".join(_place(recipe, each) for each in unpriced)
    return UsageError(
        f"`batch.budget_usd` is set, but nobody knows what {', '.join(map(address, unpriced))} costs",
        where=str(recipe.folder / "recipe.yaml"),
        fix=f"a budget needs a price: add {places}, or remove `budget_usd`",
    )


def other_model(
    recipe: Recipe, batch: str, requests: pl.DataFrame, prompts: pl.DataFrame, routing: Routing
) -> RefusedError | None:
    """Return what is wrong if planned requests address a model that the recipe no longer asks."""
    unknown = unknown_models(requests, prompts, routing)
    if not unknown:
        return None
    return RefusedError(
        f"the open attempt was planned for {', '.join(unknown)}, not for "
        f"{', '.join(address(each) for each in routing.providers)}",
        where=f"{recipe.dataset}/{Stage.GENERATED}, partition {batch}",
        fix="name the models as they were (recipe.yaml, providers.yaml, SYNTH_LLM_BASE_URL and SYNTH_LLM_MODEL), "
        "or open a new attempt with --regenerate",
    )


def _place(recipe: Recipe, provider: Provider) -> str:
    profile = recipe.profiles.providers.get(provider.name)
    if profile is None or provider.model not in profile.models:
        return f"generator.prices.{provider.model} to the recipe"
    return f"providers.{provider.name}.models.{provider.model}.prices to {FILE}"
