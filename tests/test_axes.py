"""Control axes: each kind deals what it says, templates see what they should, and no text gets into the plan's rows."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain import ids
from synth_assets.domain.axes import Value, deal
from synth_assets.domain.decks import Deck
from synth_assets.domain.past import NOTHING, Past
from synth_assets.domain.planning import Plan, plan_attempt
from synth_assets.domain.quotas import Quotas
from synth_assets.errors import UsageError
from synth_assets.recipe import Recipe, RecipeModel, load_recipe
from tests.fakes.recipes import CHATS, RECIPE, write_recipe

PART = RECIPE["axes"]["part"]
TONE = RECIPE["axes"]["tone"]
TALK = """\
---
name: talk
version: "1"
mode: chat
reply:
  format: text
---
## user
BODY
"""
PEOPLE = [{"text": f"person {number}", "voice": f"voice {number}"} for number in range(7)]
PERSONAS = {
    "axes": {"part": PART, "tone": TONE, "persona": {"kind": "table", "table": "people"}},
    "seeds": {**RECIPE["seeds"], "people": {"file": "seeds/people.jsonl"}},
}


def recipe_with(root: Path, body: str = "{{ label }}", *, axes: dict[str, Any], **keys: Any) -> Recipe:
    """The dataset with some axes instead of its own, beside the two its openings speak of, and a chat of one line."""
    people = "".join(json.dumps(row) + "\n" for row in PEOPLE)
    files = {"prompts/talk.md": TALK.replace("BODY", body), "seeds/people.jsonl": people}
    return load_recipe(write_recipe(root, axes={"part": PART, "tone": TONE, **axes}, files=files, **keys))


def planned(recipe: Recipe, past: Past | None = None, *, attempt: int = 1, **wanted: int) -> Plan:
    more = {} if past is None else {"past": past}
    return plan_attempt(recipe, CHATS, batch="2026-11-01", attempt=attempt, wanted=wanted, **more)


def drawn(plan: Plan) -> pl.DataFrame:
    """Label and control values of every request, in plan order."""
    rows = [{"label": label, **orjson.loads(axes)} for label, axes in plan.requests.select("label", "axes").iter_rows()]
    return pl.DataFrame(rows)


def said(plan: Plan) -> list[str]:
    """What the one message of every request says."""
    return [orjson.loads(prompt)[0]["content"] for prompt in plan.prompts["prompt"]]


def broken(root: Path, **keys: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_recipe(write_recipe(root, **keys))
    return caught.value


# --- category and conditional


def test_a_category_may_be_written_short_or_out(tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    (tmp_path / "out").mkdir()
    short = load_recipe(write_recipe(tmp_path / "short"))
    axes = {name: {"kind": "category", "values": values} for name, values in RECIPE["axes"].items()}
    out = load_recipe(write_recipe(tmp_path / "out", axes=axes))

    assert short.model == out.model
    assert short.sha256 == out.sha256
    assert planned(short, positive=9, negative=5).requests.equals(planned(out, positive=9, negative=5).requests)


def test_a_value_of_a_short_category_may_be_called_kind(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, axes={"mood": {"kind": {"words": "friendly"}, "cold": {}}})

    assert set(drawn(planned(recipe, positive=4))["mood"]) == {"kind", "cold"}


ROOM = {
    "kind": "conditional",
    "on": "part",
    "values": {"door": {"hall": {}, "yard": {"weight": 3}}, "roof": {"attic": {}}, "stair": {"hall": {}, "tower": {}}},
}


def test_a_conditional_value_fits_what_it_depends_on_in_exact_shares(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, axes={"room": ROOM})

    rows = drawn(planned(recipe, positive=24))

    counts = Counter(rows.select("part", "room").iter_rows())
    assert counts == {
        ("door", "hall"): 2,
        ("door", "yard"): 6,
        ("roof", "attic"): 8,
        ("stair", "hall"): 4,
        ("stair", "tower"): 4,
    }


def test_a_condition_may_be_the_label_and_a_chain_of_axes_in_any_order(tmp_path: Path) -> None:
    mood = {
        "kind": "conditional",
        "on": "label",
        "values": {"positive": {"glad": {}, "calm": {}}, "negative": {"sad": {}}},
    }
    more = {
        "kind": "conditional",
        "on": "mood",
        "values": {"glad": {"loud": {}}, "calm": {"low": {}}, "sad": {"low": {}}},
    }
    recipe = recipe_with(tmp_path, "{{ mood }} {{ a_voice }}", axes={"a_voice": more, "mood": mood})

    plan = planned(recipe, positive=4, negative=2)

    pairs = Counter(drawn(plan).select("label", "mood", "a_voice").iter_rows())
    assert pairs == {("positive", "glad", "loud"): 2, ("positive", "calm", "low"): 2, ("negative", "sad", "low"): 2}
    assert set(said(plan)) == {"glad loud", "calm low", "sad low"}
    assert RecipeModel.model_validate_json(recipe.canonical) == recipe.model


# --- number and date


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ({"min": 1, "max": 5}, {1, 2, 3, 4, 5}),
        ({"min": 0, "max": 1, "step": 0.25}, {0.0, 0.25, 0.5, 0.75, 1.0}),
        ({"min": 0.1, "max": 0.4, "decimals": 1}, {0.1, 0.2, 0.3, 0.4}),
        ({"min": -10, "max": 13, "step": 10}, {-10, 0, 10}),
    ],
)
def test_a_number_lies_on_its_grid_with_both_ends(tmp_path: Path, keys: dict[str, float], values: set[float]) -> None:
    recipe = recipe_with(tmp_path, "{{ size }}", axes={"size": {"kind": "number", **keys}})

    plan = planned(recipe, positive=100)

    assert set(drawn(plan)["size"]) == values
    assert set(said(plan)) == {str(value) for value in values}


def _dealt(model: RecipeModel, count: int, dice: random.Random) -> list[dict[str, Value]]:
    quotas = Quotas(model, {"positive": count}, NOTHING, dice)
    return deal(model, "positive", count, dice, NOTHING, quotas)


@given(count=st.integers(1, 60), size=st.integers(2, 90))
def test_stratified_numbers_come_one_from_each_stratum(count: int, size: int) -> None:
    axis = {"kind": "number", "min": 1, "max": size, "spread": "stratified"}
    model = RecipeModel.model_validate(RECIPE | {"axes": {"part": PART, "tone": TONE, "size": axis}})

    numbers = [row["size"].stored for row in _dealt(model, count, ids.seeded(count, size))]

    counts, least = Counter(numbers), count // size
    assert all(least <= counts[number] <= least + 1 for number in range(1, size + 1))
    rest = sorted(number for number in counts if counts[number] > least)
    bounds = [1 + stratum * size // max(1, count % size) for stratum in range(len(rest) + 1)]
    assert len(rest) == count % size
    assert all(low <= number < high for low, number, high in zip(bounds, rest, bounds[1:], strict=False))


def test_a_day_is_stored_as_a_day_and_seen_in_its_format(tmp_path: Path) -> None:
    axis = {"kind": "date", "from": "2028-02-28", "to": "2028-03-01", "format": "%d %B %Y, 100%%"}
    recipe = recipe_with(tmp_path, "{{ day }}", axes={"day": axis | {"spread": "stratified"}})

    plan = planned(recipe, positive=3)

    assert sorted(drawn(plan)["day"]) == ["2028-02-28", "2028-02-29", "2028-03-01"]
    assert sorted(said(plan)) == ["01 March 2028, 100%", "28 February 2028, 100%", "29 February 2028, 100%"]
    assert RecipeModel.model_validate_json(recipe.canonical) == recipe.model


# --- rows of a table


def test_a_row_shows_its_fields_and_leaves_its_id(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, "{{ persona.text }}, {{ persona.voice }}", **PERSONAS)
    id_of = {f"{row.fields['text']}, {row.fields.get('voice')}": row.seed_id for row in recipe.seeds}

    plan = planned(recipe, positive=4, negative=3)

    assert [id_of[text] for text in said(plan)] == drawn(plan)["persona"].to_list()
    assert [seeds[0] for seeds in plan.prompts["seed_ids"]] == drawn(plan)["persona"].to_list()
    assert "person" not in str(plan.requests["axes"].to_list()).replace("persona", "")


def test_a_table_of_an_axis_is_not_shown_among_the_rows(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, "{{ rows.people[0].text }}", **PERSONAS)

    with pytest.raises(UsageError, match="template variable"):
        planned(recipe, positive=1)


@pytest.mark.parametrize("order", ["ordered", "shuffled"])
def test_every_row_is_dealt_before_one_is_dealt_again_from_plan_to_plan(tmp_path: Path, order: str) -> None:
    axes = {"persona": {"kind": "table", "table": "people", "order": order}}
    recipe = recipe_with(tmp_path, axes=axes, seeds=PERSONAS["seeds"])
    first = planned(recipe, positive=3, negative=2)
    past = Past(first.requests.select("batch", "label", "axes"))

    second = planned(recipe, past, attempt=2, positive=9)

    rows = [*drawn(first)["persona"], *drawn(second)["persona"]]
    assert [len(set(rows[start : start + 7])) for start in (0, 7)] == [7, 7]
    in_file = [row.seed_id for row in recipe.seeds if row.table == "people"]
    assert (rows == in_file * 2) is (order == "ordered")
    assert rows[:7] != rows[7:] or order == "ordered"


@given(rows=st.integers(1, 40), size=st.integers(1, 12), is_shuffled=st.booleans())
def test_a_deck_shows_every_row_before_one_again_and_none_twice_in_a_hand(
    rows: int, size: int, is_shuffled: bool
) -> None:
    deck = Deck(range(rows), size=size, name=["a"] if is_shuffled else None)
    hands = [deck.hand(number) for number in range(3 * rows)]
    laid_out = [row for hand in hands for row in hand]

    assert all(len(set(hand)) == len(hand) == min(size, rows) for hand in hands)
    assert all(
        set(laid_out[start : start + rows]) == set(range(rows)) for start in range(0, len(laid_out) - rows, rows)
    )
    assert Deck(range(rows), size=size, name=["a"] if is_shuffled else None).hand(rows) == hands[rows]


# --- what may be wrong

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown kind": ({"kind": "choice", "values": {"a": {}}}, "axes.it: there is no kind 'choice'", "correct"),
    "a category without values": ({}, "axes.it.values: too few entries: 0 of at least 1", "correct"),
    "a weight of nothing": ({"a": {"weight": 0}}, "axes.it.a.weight", "correct"),
    "a key of another kind": ({"kind": "number", "min": 1, "max": 2, "format": "x"}, "axes.it.format", "remove"),
    "a misspelled key": ({"kind": "number", "min": 1, "max": 2, "spred": "uniform"}, "axes.it.spred", "`spread`"),
    "step and decimals": ({"kind": "number", "min": 1, "max": 2, "step": 1, "decimals": 1}, "not both", "correct"),
    "an empty range": ({"kind": "number", "min": 2, "max": 1}, "from 2 to 1 there are not two", "correct"),
    "a step beyond the end": ({"kind": "number", "min": 0, "max": 1, "step": 2}, "there are not two", "correct"),
    "days backwards": ({"kind": "date", "from": "2026-02-02", "to": "2026-02-01"}, "`to` lies before", "correct"),
    "a day that is none": ({"kind": "date", "from": "2026-02-30", "to": "2026-03-01"}, "axes.it.from", "correct"),
    "a day with a time": ({"kind": "date", "from": "2026-02-01T00", "to": "2026-03-01"}, "is written like", "correct"),
    "a format nobody knows": (
        {"kind": "date", "from": "2026-02-01", "to": "2026-03-01", "format": "%Q"},
        "after a % stands one of",
        "correct",
    ),
    "a table that is none": ({"kind": "table", "table": "beasts"}, "'beasts' is no key of `seeds`", "correct"),
    "a table with a match": ({"kind": "table", "table": "words"}, "axis it deals it", "correct"),
    "a condition on nothing": ({"kind": "conditional", "on": "mood", "values": {}}, "'mood' is neither", "correct"),
    "a condition on itself": ({"kind": "conditional", "on": "it", "values": {"a": {"a": {}}}}, "itself", "correct"),
    "a value left out": (
        {"kind": "conditional", "on": "tone", "values": {"wry": {"a": {}}, "dry": {"b": {}}}},
        "['dry', 'plain'] must stand both",
        "correct",
    ),
}


@pytest.mark.parametrize(("axis", "what", "fix"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_an_axis_names_its_line_and_cure(tmp_path: Path, axis: dict[str, Any], what: str, fix: str) -> None:
    error = broken(tmp_path, axes={"part": PART, "tone": TONE, "it": axis})

    lines = (tmp_path / "tiny" / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines, 1) if line.startswith("  it:"))
    end = next(number for number, line in enumerate(lines, 1) if line == "openings:")
    seeds = next(number for number, line in enumerate(lines, 1) if line == "  words:")
    assert what in error.what
    assert fix in error.fix
    assert begin <= int(error.where.rsplit(":", 1)[1]) < end or error.where.endswith(f":{seeds}")


@pytest.mark.parametrize("key", ["match", "differ"])
def test_seed_rows_are_matched_by_named_values_only(tmp_path: Path, key: str) -> None:
    words = {"file": "seeds/words.jsonl", key: ["size"]}
    axes = {"part": PART, "tone": TONE, "size": {"kind": "number", "min": 1, "max": 2}}

    error = broken(tmp_path, axes=axes, seeds={"words": words})

    assert "['size'] is no axis of named values" in error.what
