"""Recipes: a dataset is a folder with `recipe.yaml`, `prompts/*.md` and seeds."""

from synth_assets.recipe.loader import BrokenRecipe, Recipe, discover, load_recipe
from synth_assets.recipe.model import RecipeModel, Rule
from synth_assets.recipe.template import Template

__all__ = ["BrokenRecipe", "Recipe", "RecipeModel", "Rule", "Template", "discover", "load_recipe"]
