"""Whether a batch's budget can be kept with the models it would ask."""

from synth_assets.domain.ports import Provider, Routing
from synth_assets.domain.routing import address
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.providers import FILE


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


def _place(recipe: Recipe, provider: Provider) -> str:
    profile = recipe.profiles.providers.get(provider.name)
    if profile is None or provider.model not in profile.models:
        return f"generator.prices.{provider.model} to the recipe"
    return f"providers.{provider.name}.models.{provider.model}.prices to {FILE}"
