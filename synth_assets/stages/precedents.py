"""Reading what the next plan has to know of the plans before it; a plan that depends on none reads nothing."""

from synth_assets.domain.past import NOTHING, Past
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.axes import TableAxis
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel
from synth_assets.vocabulary import OURS


def past_of(lake: Lake, recipe: Recipe) -> Past:
    """Return the past of a dataset's next plan; ingested rows were never planned and are no part of it."""
    if not _goes_on(recipe.model):
        return NOTHING
    requests = lake.read("requests", dataset=recipe.dataset, generator=OURS)
    return Past(requests=requests.select("batch", "label", "axes"))


def _goes_on(model: RecipeModel) -> bool:
    """Whether something is dealt from where the plans before ended."""
    has_decks = any(isinstance(axis, TableAxis) for axis in model.axes.values())
    has_decks = has_decks or any(table.order != "random" for table in model.seeds.values())
    return has_decks or model.cover == "factorial"
