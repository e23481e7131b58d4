"""Several languages in one dataset: asked for by an axis, carried by each sample, checked against its own."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from synth_assets.domain.ports import Route
from synth_assets.errors import UsageError
from synth_assets.recipe import load_recipe
from tests.fakes.recipes import write_recipe
from tests.fakes.steps import PRICED, by_word, prompt, without_labels
from tests.fakes.world import World

TONGUES = {"en": {"words": "English", "weight": 2}, "de": {"words": "German"}}
SAYS = {
    "in English": "The acting is superb and the plot never drags, number SEED.",
    "in German": "Die Schauspieler sind großartig und das Ende auch, Nummer SEED.",
}
FILES = {
    **prompt("ask", "## user\nAsk about the {{ part }} in {{ language }}.", format="text", fills="question"),
    **prompt("tell", "## user\nAnswer in {{ language }}: {{ steps.ask.question }}", format="text", fills="answer"),
}
BATCH = {"accept": 6, "overdraw": 1.0}


def recipe(**axes: Any) -> dict[str, Any]:
    rules = {"language": {"min": 0.5, "because": "Another language was asked for."}}
    part = {"part": {"roof": {}, "door": {}}}
    return without_labels(
        task_type="question_answering",
        prompts=[{"name": "ask", "then": [{"name": "tell"}]}],
        files=FILES,
        rules=rules,
        axes={**part, **axes},
        batch=BATCH,
    )


def world_of(folder: Path, says: dict[str, str]) -> World:
    world = World(folder, **recipe(language=TONGUES))
    world.generator.routes = (Route(PRICED),)
    world.generator.say = by_word(says)
    return world


def test_each_sample_carries_the_language_it_was_asked_for_in_and_is_checked_against_it(tmp_path: Path) -> None:
    world = world_of(tmp_path, SAYS)

    assert world.run().success

    samples = world.rows("samples")
    assert dict(samples["language"].value_counts().iter_rows()) == {"en": 4, "de": 2}
    likely = world.rows("assessments", name="language").join(samples, on="sample_id")
    assert likely["value"].min() > 0.9
    assert world.release("v1").success
    folder = world.home / "releases/tiny/v1"
    released = [orjson.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]
    assert {row["language"] for row in released} == {"de", "en"}
    assert "language: [de, en]" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_sample_in_a_language_that_another_one_was_asked_for_in_is_rejected(tmp_path: Path) -> None:
    world = world_of(tmp_path, {**SAYS, "in German": SAYS["in English"]})

    assert not world.run().success, "a third of the batch is not what was asked for"

    decided = world.rows("decisions").join(world.rows("samples").select("sample_id", "language"), on="sample_id")
    assert set(decided.filter(pl.col("decision") == "rejected")["language"]) == {"de"}


@pytest.mark.parametrize(
    "axis",
    [
        {"english": {}, "german": {}},
        {"kind": "number", "min": 1, "max": 3},
        {"kind": "table", "table": "people"},
    ],
)
def test_values_that_are_no_language_codes_are_refused(tmp_path: Path, axis: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"ISO 639-1|people"):
        load_recipe(write_recipe(tmp_path, **recipe(language=axis)))
