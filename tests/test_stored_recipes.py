"""A released recipe of an earlier time is read by what it said then."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from synth_assets.errors import UsageError
from synth_assets.recipe import load_recipe
from synth_assets.recipe.stored import IN_THEIR_PLACE, NEEDED, recipe_of_release
from tests.fakes.recipes import write_recipe


def stored(tmp_path: Path, **changes: Any) -> bytes:
    told = orjson.loads(load_recipe(write_recipe(tmp_path)).canonical)
    return orjson.dumps({name: value for name, value in (told | changes).items() if value is not ...})


def test_a_recipe_of_today_is_read_as_it_is(tmp_path: Path) -> None:
    told = load_recipe(write_recipe(tmp_path))

    assert recipe_of_release(told.canonical, tmp_path).model == told.model


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": {"accept": 10_000_000}},
        {"start": "12000-01-01"},
        {"cadence": "yearly"},
        {"a_key_that_was_given_up": {"deep": [1, 2]}},
        {"prompts": []},
        {"generator": 7, "gates": "none", "owners": [], "license": ""},
        {"splits": {"train": 0.5}},
        {"axes": {"loop": {"a": {}}}, "seeds": ...},
        {"quality_score": ...},
    ],
)
def test_what_no_training_needs_may_be_anything(changes: dict[str, Any], tmp_path: Path) -> None:
    now = load_recipe(write_recipe(tmp_path / "now")).model

    then = recipe_of_release(stored(tmp_path / "then", **changes), tmp_path).model

    assert {name: getattr(then, name) for name in NEEDED} == {name: getattr(now, name) for name in NEEDED}


@pytest.mark.parametrize("name", [name for name in NEEDED if name not in ("dataset", "real_data")])
def test_what_decides_a_training_is_never_guessed(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"cannot be read: .*{name}"):
        recipe_of_release(stored(tmp_path, **{name: 7}), tmp_path)


def test_what_stands_in_is_a_recipe_by_itself(tmp_path: Path) -> None:
    told = orjson.loads(load_recipe(write_recipe(tmp_path)).canonical)
    bare = {name: told[name] for name in NEEDED if name in told} | dict.fromkeys(IN_THEIR_PLACE, 7)

    assert recipe_of_release(orjson.dumps(bare), tmp_path).dataset == "tiny"
