"""Providers by name: `providers.yaml`, who is dealt what, and what is refused before anybody is asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from resources.llm import Router, make_generator
from resources.llm.client import Remote
from resources.llm.line import Line
from resources.llm.provider import Address
from synth_assets.assets.factory import dataset_assets
from synth_assets.domain.planning import Plan, plan_attempt, sampling_params
from synth_assets.domain.ports import Price, Provider, Route, Routing
from synth_assets.errors import UsageError
from synth_assets.recipe import BrokenRecipe, Recipe, discover, load_recipe
from synth_assets.recipe.providers import load_profiles
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, Fault
from tests.fakes.recipes import CHATS, COMPLETIONS, write_recipe
from tests.test_generator import CHAT, PATIENT, calls

KEY = "sk-very-secret"
PROVIDERS = """\
providers:
  near:
    base_url: http://127.0.0.1:8000/v1/
    models:
      small: {}
      base: {mode: completion}
  far:
    base_url: https://llm.example.com/v1
    key: FAR_API_KEY
    requests_per_minute: 600
    tokens_per_minute: 90000
    concurrency: 8
    models:
      vendor/big:
        json_schema: true
        prices: {input_usd_per_million: 1, output_usd_per_million: 2, as_of: 2026-11-01}
"""


def recipe_with(tmp_path: Path, generator: dict[str, Any], *, providers: str | None = PROVIDERS) -> Recipe:
    tmp_path.mkdir(exist_ok=True)
    if providers is not None:
        (tmp_path / "providers.yaml").write_text(providers, encoding="utf-8")
    return load_recipe(write_recipe(tmp_path, generator={"model": "embedded", **generator}))


def routing_of(recipe: Recipe, home: Path, **environ: str) -> Routing:
    return make_generator(recipe.model.generator, home=home, environ=environ, profiles=recipe.profiles).routing


# --- the file


def test_a_model_is_named_by_its_provider_with_what_the_profile_says_of_it(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, {"model": "far/vendor/big"})

    routing = routing_of(recipe, tmp_path, FAR_API_KEY=KEY)

    big = Provider(
        "far",
        "vendor/big",
        "vendor/big",
        "chat",
        takes_llama_params=False,
        price=Price(1.0, 2.0, "2026-11-01"),
        takes_schema=True,
    )
    assert routing == Routing.to(big)
    assert KEY not in repr(recipe) + repr(routing)


def test_the_price_in_a_recipe_goes_before_that_of_the_profile_and_no_price_stays_none(tmp_path: Path) -> None:
    price = {"input_usd_per_million": 5, "output_usd_per_million": 6, "as_of": "2026-11-09"}
    dear = recipe_with(tmp_path / "a", {"model": "far/vendor/big", "prices": {"far/vendor/big": price}})
    free = recipe_with(tmp_path / "b", {"model": "near/small"})

    assert [each.price for each in routing_of(dear, tmp_path).providers] == [Price(5, 6, "2026-11-09")]
    assert [each.price for each in routing_of(free, tmp_path).providers] == [None]


def test_the_environment_goes_before_every_provider(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, {"models": [{"model": "near/small"}, {"model": "far/vendor/big"}]})

    routing = routing_of(recipe, tmp_path, SYNTH_LLM_BASE_URL="https://other.example/v1", SYNTH_LLM_MODEL="other")

    assert [(each.name, each.model) for each in routing.providers] == [("other.example", "other")]
    with pytest.raises(UsageError, match="no model of that endpoint is named"):
        routing_of(recipe, tmp_path, SYNTH_LLM_BASE_URL="https://other.example/v1")


def test_a_model_whose_own_name_has_a_slash_belongs_to_the_endpoint_in_the_environment(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, {"model": "vendor/open-model"})

    routing = routing_of(recipe, tmp_path, SYNTH_LLM_BASE_URL="http://127.0.0.1:1/v1")

    assert [each.model for each in routing.providers] == ["vendor/open-model"]


def test_a_provider_nobody_knows_is_told_those_there_are_and_where_it_is_named(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, {"model": "nearr/small"})

    with pytest.raises(UsageError, match="has no provider 'nearr'") as caught:
        routing_of(recipe, tmp_path)

    lines = (tmp_path / "tiny/recipe.yaml").read_text().splitlines()
    assert caught.value.where == f"{tmp_path / 'tiny/recipe.yaml'}:{lines.index('  model: nearr/small') + 1}"
    assert caught.value.fix.startswith("name one of far, near, or set SYNTH_LLM_BASE_URL")


def test_without_the_file_a_name_with_a_slash_lacks_its_endpoint(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, {"model": "vendor/open-model"}, providers=None)

    with pytest.raises(UsageError, match="a model of an endpoint is named, but no endpoint") as caught:
        routing_of(recipe, tmp_path)

    assert "recipe.yaml:" in caught.value.where


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("https://llm.example.com/v1", "http://llm.example.com/v1", 8, "in the open"),
        ("https://llm.example.com/v1", "https://me:hunter2@llm.example.com/v1", 8, "no address of an endpoint"),
        ("https://llm.example.com/v1", "https://llm.example.com/v1?key=hunter2", 8, "no address of an endpoint"),
        ("https://llm.example.com/v1", "ftp://llm.example.com/v1", 8, "no address of an endpoint"),
        ("http://127.0.0.1:8000", "http://127.example.org", 3, "in the open"),
        ("FAR_API_KEY", KEY, 9, "no name of an environment variable"),
        ("FAR_API_KEY", "AKIA7Q2XN4ZEXAMPLE99", 9, "no name of an environment variable"),
        ("key: FAR_API_KEY", f"api_key: {KEY}", 9, "providers.far.api_key"),
        ("requests_per_minute: 600", "requests_per_minute: 0", 10, "greater than 0"),
        ("json_schema: true", "json_schema: true\n        mode: both", 16, "mode"),
        ("as_of: 2026-11-01", "as_of: yesterday", 16, "as_of"),
        ("  near:", "  embedded:", 1, "inside the installation"),
        ("  far:", "  near:", 7, "given twice"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_line_and_never_with_its_secret(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        recipe_with(tmp_path, {"model": "far/vendor/big"}, providers=PROVIDERS.replace(old, new))

    assert f"providers.yaml:{line}" in caught.value.where
    assert [word for word in (KEY, "AKIA7", "hunter2") if word in str(caught.value)] == []


def test_a_broken_file_takes_down_those_who_need_it_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        recipe_with(tmp_path, {"model": "far/vendor/big"}, providers="providers: []")
    write_recipe(tmp_path, dataset="other", generator={"model": "embedded"})

    found = {each.dataset: type(each) for each in discover(tmp_path)}

    assert found == {"tiny": BrokenRecipe, "other": Recipe}


def test_without_the_file_there_are_no_providers(tmp_path: Path) -> None:
    assert load_profiles(tmp_path).providers == {}


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        ({"models": [{"model": "nobody/small"}]}, "has no provider 'nobody'"),
        ({"models": [{"model": "small"}]}, "has no provider 'small'"),
        ({"models": [{"model": "near/huge"}]}, "has no model 'near/huge'"),
        ({"model": "near/huge"}, "has no model 'near/huge'"),
        ({"models": [{"model": "near/small", "fallback": ["far/small"]}]}, "has no model 'far/small'"),
        ({"models": [{"model": "near/small", "fallback": ["near/small"]}]}, "stand in for itself"),
        ({"models": [{"model": "near/small", "fallback": ["near/base"]}]}, "does not take chat prompts"),
        ({"models": [{"model": "near/small", "fallback": ["embedded"]}]}, "does not take chat prompts"),
        ({"models": [{"model": "near/small"}, {"model": "near/small"}]}, "names one twice"),
        ({"models": [{"model": "near/small", "weight": 0}]}, "greater than 0"),
        ({"model": "near/small", "models": [{"model": "near/small"}]}, "not both"),
    ],
)
def test_models_that_cannot_be_asked_are_refused_when_the_recipe_is_read(
    tmp_path: Path, generator: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        recipe_with(tmp_path, generator)

    assert "recipe.yaml:" in caught.value.where


# --- the plan


def planned(recipe: Recipe, routing: Routing, count: int = 50) -> Plan:
    wanted = {"positive": count, "negative": count}
    return plan_attempt(recipe, routing, batch="2026-11-01", attempt=1, wanted=wanted)


def test_requests_are_dealt_in_exact_proportion_and_the_plan_keeps_who_is_asked(tmp_path: Path) -> None:
    uses = [{"model": "near/small", "weight": 3}, {"model": "far/vendor/big", "fallback": ["near/small"]}]
    recipe = recipe_with(tmp_path, {"models": uses})
    routing = routing_of(recipe, tmp_path)

    plan = planned(recipe, routing)

    counts = dict(plan.requests.group_by("provider", "model").len().select("provider", "len").iter_rows())
    assert counts == {"near": 75, "far": 25}
    fallback = dict(plan.requests.join(plan.prompts, on="request_id").select("provider", "fallback").iter_rows())
    assert fallback["near"] is None
    assert orjson.loads(fallback["far"]) == [["near", "small"]]
    assert plan.requests.equals(planned(recipe, routing).requests), "the same arguments give the same plan"
    by_label = plan.requests.filter(provider="far").group_by("label").len()["len"].to_list()
    assert min(by_label) > 0, "nobody writes one label alone"


def test_one_model_gives_the_plan_it_always_gave(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))
    wanted = {"positive": 9, "negative": 9}

    alone = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted=wanted)
    routed = plan_attempt(recipe, Routing((Route(COMPLETIONS, 7.0),)), batch="b", attempt=1, wanted=wanted)

    assert alone.requests.equals(routed.requests)


def test_a_template_is_dealt_to_models_of_its_mode_alone(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))

    plan = planned(recipe, Routing((Route(COMPLETIONS, 1.0), Route(CHATS, 4.0))))

    counts = dict(plan.requests.group_by("prompt_name", "provider").len().drop("provider").iter_rows())
    assert counts == {"lines": 20, "talk": 80}
    assert set(plan.requests.select("prompt_name", "provider").iter_rows()) == {
        ("lines", COMPLETIONS.name),
        ("talk", CHATS.name),
    }


def test_a_model_that_no_template_suits_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, prompts=[{"name": "talk"}]))

    with pytest.raises(UsageError, match="no prompt of 'tiny' has mode completion"):
        planned(recipe, Routing((Route(CHATS), Route(COMPLETIONS))))


def test_what_is_generated_runs_in_the_pool_of_its_first_provider(tmp_path: Path) -> None:
    models = [{"model": "far/vendor/big"}, {"model": "near/small"}]
    recipe = recipe_with(tmp_path, {"models": models})

    pools = {each.key.path[-1]: each.op.pool for each in dataset_assets(recipe)}

    assert pools["generated"] == "provider_far"
    assert {pool for stage, pool in pools.items() if stage != "generated"} == {None}


# --- parameters a model does not take


def test_a_refusal_that_names_a_parameter_costs_one_call_and_says_which_line_to_add(tmp_path: Path) -> None:
    plain = replace(CHAT, name="near", model="small", model_id="small")
    planned = [replace(call, asks=plain) for call in calls(6)]
    with FakeOpenAI(Fault("old_parameter")) as server:
        line = Line(Remote(Address(server.base_url, KEY)), replace(PATIENT, concurrency=1), parameters="models.{model}")
        asked = {"dataset": "reviews", "batch": "b1", "spend_limit_usd": None, "progress": lambda _ended, _total: None}
        asked["is_ours"] = lambda: True
        refused = Router(Routing.to(plain), {"near": line}, home=tmp_path).generate(planned, **asked)
        heard = len(server.requests)
        newer = replace(plain, spelling=(("max_tokens", "max_completion_tokens"),), omits=frozenset({"seed"}))
        again = [replace(call, asks=newer) for call in planned]
        answered = Router(Routing.to(newer), {"near": line}, home=tmp_path).generate(again, **asked)

    assert refused.stop is not None
    assert (heard, refused.stop.reason) == (1, QuarantineReason.BAD_REQUEST)
    assert "add `parameters: {max_tokens: max_completion_tokens}` to models.small" in refused.stop.fix
    assert {ending.outcome for ending in answered.endings} == {Outcome.ANSWERED}
    body = server.requests[-1].body
    assert {"seed", "max_tokens"} & body.keys() == set()
    assert body["max_completion_tokens"] == planned[0].params["max_tokens"]


def test_a_profile_says_what_a_model_calls_a_parameter_and_what_it_does_not_take(tmp_path: Path) -> None:
    settings = "small: {parameters: {max_tokens: max_completion_tokens}, omit: [temperature, seed]}"
    recipe = recipe_with(tmp_path, {"model": "near/small"}, providers=PROVIDERS.replace("small: {}", settings))

    [small] = routing_of(recipe, tmp_path).providers

    assert dict(small.spelling) == {"max_tokens": "max_completion_tokens"}
    assert small.omits == {"temperature", "seed"}
    assert "temperature" not in sampling_params(recipe.model, small)
    with pytest.raises(UsageError, match="omit"):
        recipe_with(
            tmp_path / "b",
            {"model": "near/small"},
            providers=PROVIDERS.replace("small: {}", "small: {omit: [max_tokens]}"),
        )
