"""The order in which rows of a seed table are shown: from request to request, attempt to attempt, batch to batch."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from synth_assets.domain.past import Past
from synth_assets.domain.planning import Plan, plan_attempt
from synth_assets.errors import UsageError
from synth_assets.recipe import Recipe, load_recipe
from tests.fakes.recipes import COMPLETIONS, RECIPE, write_recipe

ROWS = [f"w{number}" for number in range(7)]
FILE = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text in ROWS for label in ("positive", "negative"))


def recipe_with(root: Path, **words: Any) -> Recipe:
    table = {"file": "seeds/words.jsonl", "per_request": 2, "match": ["label"], **words}
    return load_recipe(write_recipe(root, seeds={"words": table}, files={"seeds/words.jsonl": FILE}))


def planned(recipe: Recipe, *before: Plan, batch: str = "b", **wanted: int) -> Plan:
    past = Past(pl.concat([plan.requests.select("batch", "label", "axes") for plan in before])) if before else None
    more = {"past": past} if past else {}
    return plan_attempt(recipe, COMPLETIONS, batch=batch, attempt=len(before) + 1, wanted=wanted, **more)


def shown(recipe: Recipe, *plans: Plan, label: str = "positive") -> list[str]:
    """The texts of the rows that the requests of a label were shown, in plan order."""
    text_of = {row.seed_id: row.fields["text"] for row in recipe.seeds}
    asked = [plan.requests.select("request_id", "label").join(plan.prompts, on="request_id") for plan in plans]
    return [text_of[seed] for plan in asked for seeds in plan.filter(label=label)["seed_ids"] for seed in seeds]


def test_ordered_rows_follow_the_file_through_attempts_and_batches_for_each_label(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, order="ordered")
    first = planned(recipe, positive=2, negative=5)
    second = planned(recipe, first, positive=3)
    third = planned(recipe, first, second, batch="c", positive=3, negative=1)

    assert shown(recipe, first, second, third) == [ROWS[place % 7] for place in range(16)]
    assert shown(recipe, first, second, third, label="negative") == [ROWS[place % 7] for place in range(12)]


def test_shuffled_rows_are_all_shown_before_one_again_in_another_order_each_time(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, order="shuffled")
    first = planned(recipe, positive=5, negative=2)
    second = planned(recipe, first, positive=16)

    rows = shown(recipe, first, second)

    passes = [tuple(rows[start : start + 7]) for start in range(0, 42, 7)]
    assert all(sorted(each) == ROWS for each in passes)
    assert len({*passes, tuple(ROWS)}) == 7
    assert all(rows[place] != rows[place + 1] for place in range(0, 42, 2))


def test_random_rows_keep_no_order_and_repeat(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, order="random")

    rows = shown(recipe, planned(recipe, positive=7))

    assert sorted(rows) != sorted(ROWS * 2)


def test_more_shots_than_rows_show_them_all(tmp_path: Path) -> None:
    for order in ("ordered", "shuffled"):
        (tmp_path / order).mkdir()
        recipe = recipe_with(tmp_path / order, order=order, per_request=9)

        assert sorted(shown(recipe, planned(recipe, positive=1))) == ROWS


def test_a_table_of_an_axis_takes_no_order_of_its_own(tmp_path: Path) -> None:
    words = {"file": "seeds/words.jsonl", "order": "ordered"}
    axes = {**RECIPE["axes"], "word": {"kind": "table", "table": "words"}}

    with pytest.raises(UsageError, match="axis word deals it"):
        load_recipe(write_recipe(tmp_path, seeds={"words": words}, axes=axes))
