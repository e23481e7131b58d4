"""How the values of several axes come together: exact quotas, crossed, in strata, or by chance."""

from collections import Counter
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from synth_assets.canonical import stored_json
from synth_assets.domain import ids
from synth_assets.domain.axes import Value, deal
from synth_assets.domain.crossing import diagonal, most_due
from synth_assets.domain.past import NOTHING, Past
from synth_assets.domain.planning import plan_attempt
from synth_assets.domain.quotas import Quotas
from synth_assets.errors import UsageError
from synth_assets.recipe import RecipeModel, load_recipe
from tests.fakes.recipes import COMPLETIONS, RECIPE, write_recipe

COVERS = ("proportional", "factorial", "stratified", "random")
NAMES = st.sampled_from("abcde")
VALUES = st.dictionaries(NAMES, st.fixed_dictionaries({"weight": st.integers(1, 5)}), min_size=1)
ROOM = {"kind": "conditional", "on": "part", "values": {"door": {"hall": {}}, "roof": {"attic": {}, "loft": {}}}}
STARS = {"kind": "number", "min": 1, "max": 5, "step": 1}
SIZE = {"kind": "number", "min": 0, "max": 1, "decimals": 9}
DAY = {"kind": "date", "from": "2026-01-01", "to": "2026-12-31"}


def model(cover: str, **axes: Any) -> RecipeModel:
    return RecipeModel.model_validate(RECIPE | {"axes": axes, "cover": cover, "openings": []})


def rows(recipe: RecipeModel, count: int, *seed: Any, past: Past = NOTHING) -> list[dict[str, Any]]:
    """The stored values of ``count`` requests labelled positive."""
    quotas = Quotas(recipe, {"positive": count}, past, ids.seeded("quotas", *seed))
    dealt = deal(recipe, "positive", count, ids.seeded(*seed), past, quotas)
    assert all(isinstance(value, Value) for row in dealt for value in row.values())
    return [{name: value.stored for name, value in row.items()} for row in dealt]


def asked(*attempts: list[dict[str, Any]]) -> Past:
    """The past in which these values were asked for under the label positive."""
    values = [stored_json(row) for attempt in attempts for row in attempt]
    return Past(pl.DataFrame({"batch": ["b"] * len(values), "label": ["positive"] * len(values), "axes": values}))


# --- in every cover


@pytest.mark.parametrize("cover", COVERS)
def test_quotas_of_labels_are_exact_and_equal_arguments_give_an_equal_plan(tmp_path: Path, cover: str) -> None:
    axes = {**RECIPE["axes"], "stars": STARS, "size": SIZE, "day": DAY}
    recipe = load_recipe(write_recipe(tmp_path, cover=cover, axes=axes))

    first, second = (
        plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted={"positive": 13, "negative": 4})
        for _ in range(2)
    )

    assert Counter(first.requests["label"]) == {"positive": 13, "negative": 4}
    assert first.requests.equals(second.requests)
    assert first.prompts.equals(second.prompts)


@given(one=VALUES, two=VALUES, count=st.integers(0, 80))
def test_each_axis_is_within_one_of_its_quotas_unless_values_are_drawn_at_random(
    one: dict[str, Any], two: dict[str, Any], count: int
) -> None:
    for cover in ("proportional", "stratified"):
        dealt = rows(model(cover, one=one, two=two), count, count)
        for axis, values in (("one", one), ("two", two)):
            whole = sum(value["weight"] for value in values.values())
            counts = Counter(row[axis] for row in dealt)
            assert len(dealt) == count
            assert all(
                abs(counts[name] - Fraction(count * value["weight"], whole)) < 1 for name, value in values.items()
            )


# --- factorial


@given(one=VALUES, two=VALUES, three=VALUES, count=st.integers(0, 200))
def test_every_combination_is_within_one_of_its_fair_count(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any], count: int
) -> None:
    axes = {"one": one, "two": two, "three": three}

    counts = Counter(tuple(row.values()) for row in rows(model("factorial", **axes), count, count))

    whole = prod(sum(value["weight"] for value in values.values()) for values in axes.values())
    assert counts.total() == count
    for first, second, third in ((a, b, c) for a in one for b in two for c in three):
        weight = one[first]["weight"] * two[second]["weight"] * three[third]["weight"]
        assert abs(counts[first, second, third] - Fraction(count * weight, whole)) < 1


def test_conditions_and_numbers_with_a_step_are_crossed_too() -> None:
    axes = {"part": {"door": {}, "roof": {}}, "room": ROOM, "stars": STARS}

    counts = Counter((row["part"], row["room"], row["stars"]) for row in rows(model("factorial", **axes), 40, 1))

    doors = {("door", "hall", stars): 4 for stars in range(1, 6)}
    assert counts == doors | {("roof", room, stars): 2 for room in ("attic", "loft") for stars in range(1, 6)}


def test_what_cannot_be_crossed_keeps_its_own_spread() -> None:
    size = SIZE | {"spread": "stratified"}

    dealt = rows(model("factorial", part={"door": {}, "roof": {}}, size=size, day=DAY), 10, 1)

    assert Counter(row["part"] for row in dealt) == {"door": 5, "roof": 5}
    assert sorted(int(row["size"] * 10) for row in dealt) == list(range(10))


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4), count=st.integers(1, 30))
def test_the_first_combinations_of_many_are_no_corner_of_the_grid(sizes: list[int], count: int) -> None:
    cells = list(diagonal(sizes))

    assert len(cells) == len(set(cells)) == prod(sizes)
    walk = cells[: min(count, max(sizes))]
    for axis, size in enumerate(sizes):
        counts = Counter(cell[axis] for cell in walk)
        assert max(counts.values()) <= -(-len(walk) // size)


@given(one=VALUES, two=VALUES, first=st.integers(0, 60), second=st.integers(0, 60))
def test_a_topup_asks_for_the_combinations_that_were_asked_for_least(
    one: dict[str, Any], two: dict[str, Any], first: int, second: int
) -> None:
    evenly = {name: {axis_value: {} for axis_value in values} for name, values in (("one", one), ("two", two))}
    recipe = model("factorial", **evenly)
    before = rows(recipe, first, 1)

    after = rows(recipe, second, 2, past=asked(before))

    counts = Counter(tuple(row.values()) for row in [*before, *after])
    assert counts.total() == first + second
    assert max(counts.values(), default=0) <= -(-(first + second) // (len(one) * len(two)))


def test_only_attempts_of_the_same_batch_and_label_count_as_asked(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, cover="factorial"))
    before = asked([{"part": "door", "tone": "wry"}] * 50)

    def doors(batch: str, label: str) -> int:
        plan = plan_attempt(recipe, COMPLETIONS, batch=batch, attempt=2, wanted={label: 9}, past=before)
        return sum('"door"' in axes for axes in plan.requests["axes"])

    assert doors("b", "negative") == doors("c", "positive") == 3
    assert doors("b", "positive") < 3


@given(
    count=st.integers(0, 40),
    parts=st.lists(st.tuples(st.fractions(Fraction(1, 9), 9), st.integers(0, 9)), min_size=1, max_size=6),
)
def test_what_is_shared_out_goes_to_the_most_due(count: int, parts: list[tuple[Fraction, int]]) -> None:
    weights, earlier = [weight for weight, _ in parts], [had for _, had in parts]

    more = most_due(count, weights, earlier)

    total = sum(earlier) + count
    due = [total * weight / sum(weights) - had for weight, had in parts]
    assert sum(more) == count
    left = [owed - got for owed, got in zip(due, more, strict=True)]
    assume(any(more))
    assert max(left) <= min(owed + 1 for owed, got in zip(left, more, strict=True) if got)


def test_too_many_combinations_are_refused(tmp_path: Path) -> None:
    axes = {**RECIPE["axes"], "stars": {"kind": "number", "min": 0, "max": 1, "step": 0.0001}}
    folder = write_recipe(tmp_path, cover="factorial", axes=axes)

    with pytest.raises(UsageError) as caught:
        load_recipe(folder)

    line = (folder / "recipe.yaml").read_text(encoding="utf-8").splitlines().index("cover: factorial") + 1
    assert "60,006 combinations" in caught.value.what
    assert caught.value.where == f"{folder / 'recipe.yaml'}:{line}"


# --- stratified and random


@given(count=st.integers(1, 60))
def test_a_latin_hypercube_has_one_request_in_each_stratum_of_each_axis(count: int) -> None:
    dealt = rows(model("stratified", part={"door": {}, "roof": {}}, size=SIZE, other=SIZE), count, count)

    for axis in ("size", "other"):
        strata = Counter(min(count - 1, int(row[axis] * count)) for row in dealt)
        assert set(strata.values()) == {1}
    if count > 8:
        assert [row["size"] for row in dealt] != sorted(row["size"] for row in dealt)
        order = sorted(range(count), key=lambda place: dealt[place]["size"])
        assert order != sorted(range(count), key=lambda place: dealt[place]["other"])


def test_random_draws_follow_the_weights_and_keep_no_quota() -> None:
    axes = {"part": {"door": {}, "roof": {"weight": 3}}, "room": ROOM, "size": SIZE | {"spread": "stratified"}}

    dealt = rows(model("random", **axes), 4_000, "chance")

    counts = Counter((row["part"], row["room"]) for row in dealt)
    assert counts["door", "hall"] != 1_000
    assert abs(counts["door", "hall"] - 1_000) < 100
    assert abs(counts["roof", "attic"] - 1_500) < 120
    assert max(Counter(int(row["size"] * 4_000) for row in dealt).values()) > 1


def test_a_cover_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cover: write 'proportional', 'factorial', 'stratified' or 'random'"):
        load_recipe(write_recipe(tmp_path, cover="full"))
