"""Quotas of the values of an axis: exact over all labels of an attempt, and fair to each label."""

import random
from collections import Counter
from fractions import Fraction

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain import ids
from synth_assets.domain.past import NOTHING, Past
from synth_assets.domain.planning import plan_attempt
from synth_assets.domain.quotas import Quotas
from synth_assets.recipe import RecipeModel
from tests.fakes.recipes import COMPLETIONS, RECIPE
from tests.test_axes import recipe_with

NAMES = st.sampled_from("abcdefg")


def model(weights: dict[str, int]) -> RecipeModel:
    axis = {name: {"weight": weight} for name, weight in weights.items()}
    return RecipeModel.model_validate(RECIPE | {"axes": {**RECIPE["axes"], "aspect": axis}})


def asked(values: list[str]) -> Past:
    axes = [orjson.dumps({"aspect": value}).decode() for value in values]
    return Past(pl.DataFrame({"batch": ["b"] * len(axes), "label": ["x"] * len(axes), "axes": axes}))


@given(
    counts=st.dictionaries(NAMES, st.integers(0, 20), min_size=1),
    weights=st.dictionaries(NAMES, st.integers(1, 9), min_size=1),
    seed=st.integers(0, 9),
)
def test_every_value_gets_its_share_of_all_requests_and_every_label_its_number(
    counts: dict[str, int], weights: dict[str, int], seed: int
) -> None:
    quotas = Quotas(model(weights), counts, NOTHING, random.Random(seed))

    got = {label: quotas.of("aspect", label) for label in counts}

    assert {label: sum(part.values()) for label, part in got.items()} == counts
    total, whole = sum(counts.values()), sum(weights.values())
    for value, weight in weights.items():
        fair = Fraction(total * weight, whole)
        assert abs(sum(part[value] for part in got.values()) - fair) < 1


def test_three_requests_of_each_of_ten_labels_round_no_value_away() -> None:
    counts = {f"label-{number}": 3 for number in range(10)}
    heavy, even = {"quality": 9, "price": 1}, {"kettle": 1, "lamp": 1}
    for weights, fair in ((heavy, {"quality": 27, "price": 3}), (even, {"kettle": 15, "lamp": 15})):
        quotas = Quotas(model(weights), counts, NOTHING, random.Random(1))
        got: Counter[str] = Counter()
        for label in counts:
            got.update(quotas.of("aspect", label))
        assert got == fair


def test_which_labels_get_what_does_not_come_out_even_is_drawn() -> None:
    counts = {f"label-{number}": 3 for number in range(10)}
    lucky: Counter[str] = Counter()
    for seed in range(40):
        quotas = Quotas(model({"quality": 9, "price": 1}), counts, NOTHING, random.Random(seed))
        lucky.update(label for label in counts if quotas.of("aspect", label)["price"])
    assert set(lucky) == set(counts)


def test_what_an_earlier_attempt_asked_for_too_often_is_due_less() -> None:
    quotas = Quotas(model({"a": 1, "b": 1}), {"x": 4}, asked(["a", "a", "a", "b"]), random.Random(1))
    assert quotas.of("aspect", "x") == {"a": 1, "b": 3}


@pytest.mark.parametrize("cover", ["proportional", "stratified"])
def test_a_plan_keeps_the_quotas_over_all_its_labels(tmp_path, cover: str) -> None:
    axes = {"aspect": {"quality": {"weight": 9}, "price": {"weight": 1}}}
    recipe = recipe_with(tmp_path, axes=axes, cover=cover)
    plan = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted={"positive": 5, "negative": 5})
    values = Counter(orjson.loads(each)["aspect"] for each in plan.requests["axes"])
    assert values == {"quality": 9, "price": 1}
    again = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted={"positive": 5, "negative": 5})
    assert plan.requests.equals(again.requests)
    assert len(plan.requests["request_id"][0]) == ids.ID_LENGTH
