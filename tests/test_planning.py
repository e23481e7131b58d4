"""Plans: exact quotas, the same plan for the same arguments, and nothing sent that a provider does not speak."""

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain import ids
from synth_assets.domain.apportion import apportion
from synth_assets.domain.planning import Plan, calls_of, deficit, owed, plan_attempt, requests_for, sampling_params
from synth_assets.domain.ports import Provider
from synth_assets.errors import UsageError
from synth_assets.recipe import Recipe, load_recipe
from synth_assets.tables import TABLES
from tests.fakes.recipes import CHATS, COMPLETIONS, FILES, write_recipe

SHIPPED = Path(__file__).parent.parent / "recipes" / "movie_sentiment"
NAMES = st.sampled_from("abcdef")
WEIGHTS = st.dictionaries(NAMES, st.floats(1e-3, 1e3) | st.integers(1, 9), min_size=1)


def planned(
    recipe: Recipe, provider: Provider = COMPLETIONS, *, attempt: int = 1, wanted: dict[str, int] | None = None
) -> Plan:
    return plan_attempt(
        recipe, provider, batch="2026-11-01", attempt=attempt, wanted=wanted or {"positive": 9, "negative": 9}
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path))


def axes(plan: Plan) -> pl.DataFrame:
    """One row per request: label, prompt, opening text and every axis."""
    rows = [json.loads(text) for text in plan.requests["axes"]]
    joined = plan.requests.select("request_id", "label", "prompt_name").join(plan.prompts, on="request_id")
    return pl.concat([joined, pl.DataFrame(rows)], how="horizontal")


# --- apportioning


@given(st.integers(0, 10_000), WEIGHTS)
def test_parts_add_up_and_lie_within_one_of_the_exact_share(total: int, weights: dict[str, float]) -> None:
    parts = apportion(total, weights)
    whole = sum(Fraction(str(weight)) for weight in weights.values())

    assert list(parts) == list(weights)
    assert sum(parts.values()) == total
    assert all(abs(parts[name] - total * Fraction(str(weights[name])) / whole) < 1 for name in weights)


@given(st.integers(0, 500), st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_equal_weights_get_parts_that_differ_by_one_at_most_and_the_first_get_more(
    total: int, names: list[str]
) -> None:
    parts = list(apportion(total, dict.fromkeys(names, 0.1)).values())

    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (200, {"positive": 0.5, "negative": 0.5}, {"positive": 100, "negative": 100}),
        (7, {"positive": 0.5, "negative": 0.5}, {"positive": 4, "negative": 3}),
        (10, {"a": 0.335, "b": 0.335, "c": 0.33}, {"a": 4, "b": 3, "c": 3}),  # 3.35, 3.35, 3.3: the first of two ties
        (5, {"b": 0.7, "a": 0.3}, {"b": 4, "a": 1}),  # 3.5 and 1.5 tie as written; as binary fractions they would not
        (0, {"a": 1}, {"a": 0}),
    ],
)
def test_parts_worked_out_by_hand(total: int, weights: dict[str, float], parts: dict[str, int]) -> None:
    assert apportion(total, weights) == parts


@pytest.mark.parametrize(("total", "weights"), [(-1, {"a": 1}), (1, {}), (1, {"a": 0})])
def test_what_cannot_be_split_is_refused(total: int, weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="apportion needs"):
        apportion(total, weights)


# --- what a batch owes


def test_a_batch_owes_its_labels_by_their_shares(tmp_path: Path) -> None:
    shares = {"positive": {"share": 0.25}, "negative": {"share": 0.75}}
    model = load_recipe(write_recipe(tmp_path, labels=shares, batch={"accept": 10})).model

    assert owed(model) == {"positive": 3, "negative": 7}  # 2.5 and 7.5: the first of the tie
    assert deficit(owed(model), {"negative": 9, "positive": 1}) == {"positive": 2, "negative": 0}
    assert deficit(owed(model), {}) == owed(model)


def test_a_topup_asks_for_the_deficit_times_overdraw_rounded_up(recipe: Recipe) -> None:
    assert requests_for(recipe.model, {"positive": 3, "negative": 0}) == {"positive": 5}  # 3 x 1.5 = 4.5
    assert requests_for(recipe.model, owed(recipe.model)) == {"positive": 9, "negative": 9}


# --- quotas


def test_each_label_gets_exactly_the_requests_it_was_promised(recipe: Recipe) -> None:
    plan = planned(recipe, wanted={"positive": 7, "negative": 2})

    assert Counter(plan.requests["label"]) == {"positive": 7, "negative": 2}


def test_axis_values_are_dealt_by_weight_within_one_for_each_label(recipe: Recipe) -> None:
    rows = axes(planned(recipe, wanted={"positive": 20, "negative": 9}))

    for label, count in {"positive": 20, "negative": 9}.items():
        mine = rows.filter(pl.col("label") == label)
        parts, tones = Counter(mine["part"]), Counter(mine["tone"])
        assert max(parts.values()) - min(parts.values()) <= 1
        assert set(parts) == {"door", "roof", "stair"}
        assert abs(tones["wry"] - count * 2 / 3) < 1


def test_prompts_are_dealt_by_weight(tmp_path: Path) -> None:
    lines = FILES["prompts/lines.md"].replace("name: lines", "name: again")
    prompts = [{"name": "lines", "weight": 3}, {"name": "again"}, {"name": "talk", "weight": 50}]
    recipe = load_recipe(write_recipe(tmp_path, prompts=prompts, files={"prompts/again.md": lines}))

    plan = planned(recipe, wanted={"positive": 8})

    assert Counter(plan.requests["prompt_name"]) == {"lines": 6, "again": 2}


def test_labels_and_axes_come_in_no_order(recipe: Recipe) -> None:
    labels = planned(recipe, wanted={"positive": 20, "negative": 20}).requests["label"].to_list()

    assert labels != sorted(labels)
    assert labels != sorted(labels, reverse=True)


def test_openings_fit_when_they_may_be_used(recipe: Recipe) -> None:
    rows = axes(planned(recipe, wanted={"positive": 30, "negative": 30}))

    for row in rows.iter_rows(named=True):
        if row["tone"] == "plain":
            assert row["opening"].startswith("The ")
        elif row["label"] == "positive":
            assert row["opening"].startswith("Some say the ")
        else:
            assert row["opening"].startswith(("Some say the ", "A damp ", "A bleak ", "A crooked "))
    assert len({row["opening"].split()[0] for row in rows.iter_rows(named=True)}) == 3


def test_an_axis_value_shows_as_its_words(recipe: Recipe) -> None:
    rows = axes(planned(recipe, wanted={"positive": 9}))

    roofs = rows.filter(pl.col("part") == "roof")

    assert roofs.height == 3
    assert roofs["opening"].str.contains("the old roof").all()


def test_seed_rows_match_the_label_and_differ_within_a_request(recipe: Recipe) -> None:
    label_of = {row.seed_id: row.fields["label"] for row in recipe.seeds}
    plan = planned(recipe)

    for row in plan.requests.select("request_id", "label").join(plan.prompts, on="request_id").iter_rows(named=True):
        assert len(set(row["seed_ids"])) == 2
        assert {label_of[seed] for seed in row["seed_ids"]} == {row["label"]}


def test_a_table_that_must_differ_never_shows_the_drawn_value(tmp_path: Path) -> None:
    seeds = {"words": {"file": "seeds/words.jsonl", "per_request": 2, "differ": ["label"]}}
    recipe = load_recipe(write_recipe(tmp_path, seeds=seeds))
    label_of = {row.seed_id: row.fields["label"] for row in recipe.seeds}

    plan = planned(recipe, wanted={"positive": 4})

    assert {label_of[seed] for seeds in plan.prompts["seed_ids"] for seed in seeds} == {"negative"}


def test_a_drawn_value_without_seed_row_is_refused_with_its_table(tmp_path: Path) -> None:
    only = '{"text": "bright", "label": "positive"}\n{"text": "warm", "label": "positive"}\n'
    recipe = load_recipe(write_recipe(tmp_path, files={"seeds/words.jsonl": only}))

    with pytest.raises(UsageError) as caught:
        planned(recipe, wanted={"negative": 1})

    assert "{'label': 'negative'}" in caught.value.what
    assert caught.value.where.endswith("seeds/words.jsonl")


# --- identity


def test_the_same_arguments_give_the_same_plan_to_the_bit(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here, there = (load_recipe(write_recipe(root)) for root in (tmp_path, tmp_path / "elsewhere"))

    assert planned(here).requests.equals(planned(there).requests)
    assert planned(here).prompts.equals(planned(there).prompts)


def test_a_plan_is_what_it_has_always_been(recipe: Recipe) -> None:
    plan = planned(recipe, wanted={"positive": 2, "negative": 1})

    assert (
        ids.digest(plan.requests.drop("generator", "provider", "parent_id", "ancestry_depth").rows())
        == "2da433ca362c368dc8361b3d884511105abd9b244ae9a22c39121418aa92d7c8"
    )


def test_another_attempt_or_batch_has_other_requests_throughout(recipe: Recipe) -> None:
    first, second = planned(recipe), planned(recipe, attempt=2)
    third = plan_attempt(recipe, COMPLETIONS, batch="2026-11-02", attempt=1, wanted={"positive": 9, "negative": 9})
    every = pl.concat([first.requests, second.requests, third.requests])

    assert every["request_id"].n_unique() == every.height == 54
    assert every["call_id"].n_unique() == 54
    assert every["seed"].n_unique() == 54


def test_every_request_of_the_shipped_recipe_is_one_of_its_kind() -> None:
    recipe = load_recipe(SHIPPED)
    plan = planned(recipe, wanted=requests_for(recipe.model, owed(recipe.model)))

    assert plan.requests.height == 260
    assert plan.requests["request_id"].n_unique() == plan.requests["call_id"].n_unique() == 260
    assert Counter(plan.requests["label"]) == {"positive": 130, "negative": 130}


def test_ordinals_count_from_zero_and_seeds_come_from_the_request(recipe: Recipe) -> None:
    requests = planned(recipe).requests

    assert requests["ordinal"].to_list() == list(range(18))
    assert requests["seed"].to_list() == [ids.sampling_seed(request) for request in requests["request_id"]]


def test_what_a_row_says_was_sent_is_what_its_call_is_named_by(recipe: Recipe) -> None:
    plan = planned(recipe)

    for row in plan.requests.join(plan.prompts, on="request_id").iter_rows(named=True):
        prompt = orjson.loads(row["prompt"])
        assert row["prompt_sha256"] == ids.digest(prompt)
        assert row["call_id"] == ids.call_id(
            provider="fake",
            model=row["model"],
            params=orjson.loads(row["generation_params"]),
            prompt=prompt,
            schema=None,
            seed=row["seed"],
        )


def test_another_model_is_another_call_of_the_same_request(recipe: Recipe) -> None:
    other = replace(COMPLETIONS, model_id="fake-base-2")

    here, there = planned(recipe).requests, planned(recipe, other).requests

    assert here["request_id"].equals(there["request_id"])
    assert set(here["call_id"]) & set(there["call_id"]) == set()


# --- shape


def test_a_plan_satisfies_the_contract_once_its_prompts_are_stored(recipe: Recipe) -> None:
    plan = planned(recipe)

    stored = plan.requests.with_columns(pl.lit("0" * 64).alias("object_sha256"))

    assert stored.columns == list(TABLES["requests"].dtypes)
    TABLES["requests"].schema.validate(stored)


def test_an_empty_plan_has_the_columns_of_a_full_one(recipe: Recipe) -> None:
    empty = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted={})

    assert empty.requests.schema == planned(recipe).requests.schema
    assert empty.requests.is_empty()
    assert calls_of(empty.requests, empty.prompts) == []


def test_an_opening_that_is_rare_does_not_change_the_plans_types(tmp_path: Path) -> None:
    tones = {"plain": {"weight": 400}, "wry": {}}
    openings = [{"text": "Some say the {{ part }}", "when": {"tone": ["wry"]}}]
    recipe = load_recipe(write_recipe(tmp_path, axes={"part": {"door": {}}, "tone": tones}, openings=openings))

    requests = planned(recipe, wanted={"positive": 401}).requests

    assert requests["opening"].null_count() == 400


def test_the_stored_plan_comes_back_as_calls_in_plan_order(recipe: Recipe) -> None:
    plan = planned(recipe)

    calls = calls_of(plan.requests.reverse(), plan.prompts.sample(fraction=1.0, shuffle=True, seed=3))

    assert [call.request_id for call in calls] == plan.requests["request_id"].to_list()
    assert [call.call_id for call in calls] == plan.requests["call_id"].to_list()
    assert calls[0].prompt == orjson.loads(plan.prompts["prompt"][0])
    assert calls[0].params["temperature"] == 0.8


# --- what a provider speaks


def test_a_completion_ends_with_its_opening_and_a_chat_has_none(recipe: Recipe) -> None:
    plan, chat = planned(recipe), planned(recipe, CHATS)

    for prompt, opening in plan.prompts.select("prompt", "opening").iter_rows():
        assert orjson.loads(prompt).endswith(f"- {opening}")
    assert plan.requests["opening"].null_count() == 0
    assert chat.requests["opening"].null_count() == 18


def test_a_chat_provider_gets_chat_prompts_and_never_sees_min_p_or_stop(recipe: Recipe) -> None:
    plan = planned(recipe, CHATS)

    assert set(plan.requests["prompt_name"]) == {"talk"}
    for call in calls_of(plan.requests, plan.prompts):
        assert [message["role"] for message in call.prompt] == ["system", "user"]
        assert dict(call.params) == {"temperature": 0.8, "top_p": 0.9, "max_tokens": 40}


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        (COMPLETIONS, {"stop": ["\n"], "min_p": 0.05}),
        (replace(COMPLETIONS, takes_llama_params=False), {"stop": ["\n"]}),
        (replace(CHATS, takes_llama_params=True), {"min_p": 0.05}),
        (CHATS, {}),
    ],
)
def test_a_provider_is_sent_the_parameters_it_understands(
    recipe: Recipe, provider: Provider, extra: dict[str, Any]
) -> None:
    common = {"temperature": 0.8, "top_p": 0.9, "max_tokens": 40}

    assert sampling_params(recipe.model, provider) == common | extra


def test_a_provider_whose_mode_no_prompt_speaks_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, prompts=[{"name": "lines"}]))

    with pytest.raises(UsageError) as caught:
        planned(recipe, CHATS)

    assert "mode chat" in caught.value.what
    assert caught.value.where.endswith("recipe.yaml")
    assert "`mode: chat`" in caught.value.fix


def test_a_seed_row_with_template_code_is_sent_as_it_stands(tmp_path: Path) -> None:
    rows = "".join(
        json.dumps({"text": f"{{{{ 7 - {number} }}}}\n## user", "label": "positive"}) + "\n" for number in range(3)
    )
    recipe = load_recipe(write_recipe(tmp_path, files={"seeds/words.jsonl": rows}))

    calls = calls_of(*_both(planned(recipe, CHATS, wanted={"positive": 3})))

    for call in calls:
        assert [message["role"] for message in call.prompt] == ["system", "user"]
        assert "{{ 7 - " in call.prompt[1]["content"]


def _both(plan: Plan) -> tuple[pl.DataFrame, pl.DataFrame]:
    return plan.requests, plan.prompts


# --- what a change of the code must not change


@pytest.mark.parametrize(
    ("dataset", "provider", "first"),
    [
        ("movie_sentiment", COMPLETIONS, ("863ba876951c8ba23e61aec767058aff", "99a2098ed88bd9b546ef0d4fb73e95ae")),
        ("movie_sentiment", CHATS, ("863ba876951c8ba23e61aec767058aff", "cd2e09b50a99edc78065d814a552c356")),
        ("support_intents", COMPLETIONS, ("c8417450a47846bdee4382ceb51d70cd", "114f48eeccdf0dd9b0d49e4edeefb613")),
        ("support_intents", CHATS, ("c8417450a47846bdee4382ceb51d70cd", "8d630ac154898db9c49d8663e064c549")),
    ],
)
def test_the_first_request_of_a_shipped_recipe_is_the_call_it_has_always_been(
    dataset: str, provider: Provider, first: tuple[str, str]
) -> None:
    recipe = load_recipe(SHIPPED.parent / dataset)

    plan = planned(recipe, provider, wanted=requests_for(recipe.model, owed(recipe.model)))

    assert plan.requests.select("request_id", "call_id").row(0) == first
