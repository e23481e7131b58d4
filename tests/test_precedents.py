"""What a plan knows of the plans before it is read from the store, and only where it is needed."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from synth_assets.domain.past import NOTHING
from synth_assets.stages.precedents import past_of
from tests.fakes.recipes import COMPLETIONS, RECIPE
from tests.fakes.world import DAY, NEXT_DAY, World

PEOPLE = "".join(json.dumps({"text": f"person {number}"}) + "\n" for number in range(50))


def with_personas(folder: Path, **keys: Any) -> World:
    persona = {"kind": "table", "table": "people", "order": "ordered"}
    return World(
        folder,
        axes={**RECIPE["axes"], "persona": persona},
        seeds={**RECIPE["seeds"], "people": {"file": "seeds/people.jsonl"}},
        files={"seeds/people.jsonl": PEOPLE},
        **keys,
    )


def personas(world: World, batch: str) -> list[str]:
    rows = world.rows("requests", batch=batch).sort("attempt", "ordinal")
    return [orjson.loads(axes)["persona"] for axes in rows["axes"]]


def test_the_next_batch_goes_on_with_the_row_after_the_last(tmp_path: Path) -> None:
    world = with_personas(tmp_path)

    world.run("prompt_templates", "seeds", "generation_plan", batch=DAY)
    world.run("generation_plan", batch=NEXT_DAY)

    rows = [row.seed_id for row in world.recipe.seeds if row.table == "people"]
    assert personas(world, DAY) + personas(world, NEXT_DAY) == rows[:36]


def test_a_plan_that_depends_on_no_other_reads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(world.lake, "read", None)

    assert past_of(world.lake, world.recipe, COMPLETIONS, DAY) is NOTHING
