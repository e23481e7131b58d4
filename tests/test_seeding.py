"""The order in which rows of a seed table are shown: from request to request, attempt to attempt, batch to batch."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from synth_assets.domain.past import Past
from synth_assets.domain.planning import Plan, plan_attempt
from synth_assets.errors import UsageError
from synth_assets.recipe import Recipe, load_recipe
from tests.fakes.recipes import CHATS, COMPLETIONS, FILES, RECIPE, write_recipe

ROWS = [f"w{number}" for number in range(7)]
TWO, ALL = "{{ rows.words[0].text }} and {{ rows.words[1].text }}", "{{ rows.words | join(' and ', attribute='text') }}"
FILE = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text in ROWS for label in ("positive", "negative"))


def recipe_with(root: Path, **words: Any) -> Recipe:
    table = {"file": "seeds/words.jsonl", "per_request": 2, "match": ["label"], **words}
    files = {"seeds/words.jsonl": FILE, "prompts/lines.md": FILES["prompts/lines.md"].replace(TWO, ALL)}
    return load_recipe(write_recipe(root, seeds={"words": table}, files=files))


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


@pytest.mark.parametrize(
    ("reads", "count"),
    [
        ("", 0),
        ("{{ rows.words | length }}", 0),
        ("{% if label == 'negative' %}{{ rows.words[0].text }}{% endif %}", 0),
        ("{{ rows.words[1].text }}", 1),
        ("{{ rows['words'][1]['text'] }}", 1),
        ("{{ rows.words[0] }}", 1),
        ("{{ rows.words | join(', ', attribute='text') }}", 2),
        ("{% for row in rows.words %}{{ row.text }}{% endfor %}", 2),
    ],
)
def test_only_rows_that_a_template_reads_count_as_its_seeds(tmp_path: Path, reads: str, count: int) -> None:
    head, mark, _ = FILES["prompts/talk.md"].partition("## user\n")
    files = {"prompts/talk.md": f"{head}{mark}One {{{{ label }}}} sentence. {reads}\n"}
    recipe = load_recipe(write_recipe(tmp_path, files=files))

    plan = plan_attempt(recipe, CHATS, batch="b", attempt=1, wanted={"positive": 3})

    assert plan.prompts["seed_ids"].list.len().to_list() == [count] * 3


def test_rows_that_an_opening_or_a_later_template_reads_are_seeds_of_the_request(tmp_path: Path) -> None:
    lines = FILES["prompts/lines.md"]
    bare = lines.replace(TWO, "long")
    later = lines.replace("name: lines", "name: later").replace("{{ rows.words[0].text }} and ", "")
    chain = {"prompts": [{"name": "lines", "then": [{"name": "later"}]}]}
    opened = {"openings": [{"text": "The {{ rows.words[0].text }}"}]}

    def seeds_of(place: str, later: str, **changes: Any) -> list[int]:
        files = {"prompts/lines.md": bare, "prompts/later.md": later}
        recipe = load_recipe(write_recipe(tmp_path / place, files=files, **{"prompts": [{"name": "lines"}]} | changes))
        return planned(recipe, positive=2).prompts["seed_ids"].list.len().to_list()

    assert seeds_of("neither", later, openings=[]) == [0, 0]
    assert seeds_of("opening", later, **opened) == [1, 1]
    assert seeds_of("later", later, openings=[], **chain) == [1, 1]
    assert seeds_of("both", later, **opened, **chain) == [2, 2]


def test_a_row_tells_templates_its_fields_and_nothing_else(tmp_path: Path) -> None:
    for name in ("is_shown", "seed_id", "items", "_fields"):
        for number, reads in enumerate((f"rows.words[0].{name}", f"rows.words[0]['{name}']")):
            files = {"prompts/lines.md": FILES["prompts/lines.md"] + f"{{{{ {reads} }}}}\n"}
            recipe = load_recipe(write_recipe(tmp_path / f"{name}{number}", files=files))
            with pytest.raises(UsageError, match=f"'dict object' has no attribute '{name}'"):
                planned(recipe, positive=1)
