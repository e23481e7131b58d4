"""A budget counts money, so a model without a price is refused before an attempt is opened for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from synth_assets.domain.ports import Route, Routing
from synth_assets.reports.forecast import forecast
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.steps import PRICED
from tests.fakes.world import DAY, World

UNPRICED = replace(PRICED, name="far", model="old", model_id="old", price=None)
BUDGET = {"budget_usd": 1.0}
PROFILES = "providers: {far: {base_url: 'http://127.0.0.1:9/v1', models: {old: {mode: chat}}}}\n"


@pytest.mark.parametrize("route", [Route(UNPRICED), Route(PRICED, fallback=(UNPRICED,))], ids=["asked", "stands in"])
def test_a_budget_without_a_price_opens_no_attempt(tmp_path: Path, route: Route) -> None:
    world = World(tmp_path, prompts=[{"name": "talk"}], batch=BUDGET)
    world.generator.routes = (route,)

    refused = world.run()

    assert refused.told["exit_code"] == 2
    assert "far/old" in refused.told["what"]
    assert "generator.prices.old" in refused.told["fix"]
    assert (world.batch()["attempts"], world.paid) == (0, 0)
    assert refused.told["fix"] in forecast(world.lake, world.recipe, DAY, Routing((route,)))["refusal"]


def test_without_a_budget_no_price_is_needed(tmp_path: Path) -> None:
    world = World(tmp_path, prompts=[{"name": "talk"}])
    world.generator.routes = (Route(UNPRICED),)

    assert world.run("prompt_templates", "seeds", "generation_plan").success
    assert forecast(world.lake, world.recipe, "2026-11-05", Routing.to(UNPRICED))["refusal"] is None


def test_the_price_of_a_model_of_providers_yaml_belongs_there(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_text(PROFILES, encoding="utf-8")
    world = World(tmp_path, prompts=[{"name": "talk"}], batch=BUDGET, generator={"model": "far/old"})
    world.generator.routes = (Route(UNPRICED),)

    assert "providers.far.models.old.prices to providers.yaml" in world.run().told["fix"]


def test_the_command_line_says_it_in_one_paragraph(tmp_path: Path) -> None:
    with ChatProvider() as provider:
        recipes = tiny(tmp_path, prompts=[{"name": "talk"}], batch=BUDGET)
        home = Home(tmp_path / "home", provider.base_url, recipes)
        plan = home.call("plan", DATASET, "--batch", BATCH)
        ran = home.call(*RUN)

    assert "a budget needs a price: add generator.prices.fake-model to the recipe" in " ".join(plan.out.split())
    assert (plan.code, ran.code, provider.requests) == (0, 2, [])
    assert "a budget needs a price: add generator.prices.fake-model" in ran.err
