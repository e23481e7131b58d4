"""What docs/recipes.md shows can be written into a recipe as it stands.

A section's blocks ```` ```yaml recipe ```` are merged into the recipe that `synth init` writes; a block whose info
string ends with a path, such as ```` ```jsonl seeds/personas.jsonl ````, is that file; `providers.yaml` stands beside
the dataset.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.llm import make_generator
from resources.places import PROJECT
from synth_assets.cli.starter import starter_files
from synth_assets.domain.planning import owed, plan_attempt, requests_for
from synth_assets.recipe import Recipe, RecipeModel, load_recipe
from synth_assets.recipe.providers import FILE
from synth_assets.recipe.strict_yaml import parse
from tests.fakes.recipes import CHATS, COMPLETIONS

PAGE = (PROJECT / "docs" / "recipes.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(?:\w+ (\S+))?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
KEYS = "recipe"


def sections() -> dict[str, list[tuple[str, str]]]:
    """Return (what it is, its text) of every block that can be run, by the heading it stands under."""
    found: dict[str, list[tuple[str, str]]] = {}
    blocks = list(FENCED.finditer(PAGE))
    for block in blocks:
        before = [heading for heading in HEADING.finditer(PAGE) if heading.start() < block.start()]
        outside = [each for each in before if not any(b.start() < each.start() < b.end() for b in blocks)]
        if block[1]:
            found.setdefault(outside[-1][1], []).append((block[1], block[2]))
    return found


SECTIONS = sections()


def merged(base: Any, more: Any) -> Any:
    """Return ``base`` with the keys of ``more``: mappings are merged, null removes, all else is replaced."""
    if isinstance(base, dict) and isinstance(more, dict):
        both = base | {key: merged(base.get(key), value) for key, value in more.items()}
        return {key: value for key, value in both.items() if value is not None}
    return more


def scaffolded(root: Path, blocks: list[tuple[str, str]]) -> Recipe:
    files = starter_files("shown", "2026-11-01")
    files |= {name: text for name, text in blocks if name != KEYS}
    recipe = parse(files["recipe.yaml"], file=Path("recipe.yaml")).value
    for name, text in blocks:
        if name == KEYS:
            recipe = merged(recipe, parse(text, file=Path("recipes.md")).value)
    files["recipe.yaml"] = yaml.safe_dump(recipe, sort_keys=False)
    if FILE in files:
        (root / FILE).write_text(files.pop(FILE), encoding="utf-8")
    for path, text in files.items():
        (root / "shown" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "shown" / path).write_text(text, encoding="utf-8")
    return load_recipe(root / "shown")


@pytest.mark.parametrize("blocks", SECTIONS.values(), ids=SECTIONS)
def test_what_a_section_shows_loads_and_can_be_planned(tmp_path: Path, blocks: list[tuple[str, str]]) -> None:
    recipe = scaffolded(tmp_path, blocks)
    wanted = requests_for(recipe.model, owed(recipe.model))
    modes = {template.mode for template in recipe.templates}

    for provider in (each for each in (COMPLETIONS, CHATS) if each.mode in modes):
        plan = plan_attempt(recipe, provider, batch="2026-11-01", attempt=1, wanted=wanted)
        assert plan.requests.height == sum(wanted.values())
    if recipe.profiles.providers:
        routing = make_generator(recipe.model.generator, home=tmp_path, environ={}, profiles=recipe.profiles).routing
        plan = plan_attempt(recipe, routing, batch="2026-11-01", attempt=1, wanted=wanted)
        assert set(plan.requests["provider"]) == set(recipe.profiles.providers)
    assert RecipeModel.model_validate_json(recipe.canonical) == recipe.model


def test_the_page_has_sections_that_can_be_run() -> None:
    assert {"Control axes", "Cover", "Order of seed rows", "Rotation of prompts", "Providers and models"} <= set(
        SECTIONS
    )
