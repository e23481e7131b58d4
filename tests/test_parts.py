"""An attempt worked off in parts: the same rows as in one, and what a part meets holds for those after it."""

from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from synth_assets.domain.drafting import TEXTS_SCHEMA
from synth_assets.domain.ports import Route
from synth_assets.stages import asking
from tests.fakes.generator import OUT_OF_MONEY
from tests.fakes.steps import PRICED, by_word, prompt, without_labels
from tests.fakes.world import DAY, World

GENERATION = ("prompt_templates", "generation_plan", "generated")
TALK = prompt("talk", "## user\nASK about {{ part }}.", format="text", fills="question")
REPLY = prompt("reply", "## user\nREPLY to: {{ steps.talk.question }}", format="text", fills="answer")
ASKED = without_labels(
    task_type="question_answering", prompts=[{"name": "talk", "then": [{"name": "reply"}]}], files={**TALK, **REPLY}
)


def world_of(folder: Path, **recipe: object) -> World:
    world = World(folder, **{**ASKED, **recipe})
    world.generator.routes = (Route(PRICED),)
    world.generator.say = by_word({"ASK": "Why SEED?", "REPLY": "Because of SEED."})
    return world


def in_parts(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(asking, "AT_ONCE", length)


@pytest.mark.parametrize("length", [1, 3, 5])
def test_the_length_of_the_parts_changes_nothing_of_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    whole = world_of(tmp_path / "whole")
    assert whole.run(*GENERATION).success
    planned = whole.rows("requests").height
    assert planned > length, "else there would be one part"
    in_parts(monkeypatch, length)
    parts = world_of(tmp_path / "parts")

    assert parts.run(*GENERATION).success

    steps = 2
    assert len(parts.generator.asked) == steps * -(-planned // length)
    for table in ("generations", "steps", "samples"):
        rows = [world.rows(table).drop("object_sha256", strict=False) for world in (whole, parts)]
        assert rows[0].equals(rows[1]), table
    texts = [world.lake.payload("texts", TEXTS_SCHEMA, dataset="tiny", batch=DAY) for world in (whole, parts)]
    assert sorted(texts[0].rows()) == sorted(texts[1].rows())


def test_every_sample_names_the_file_its_text_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch, 3)
    world = world_of(tmp_path)
    assert world.run(*GENERATION).success

    for sha, part in world.rows("samples").partition_by("object_sha256", as_dict=True).items():
        stored = pl.read_parquet(world.lake.get(str(sha[0]), ".parquet"))
        assert set(part["sample_id"]) == set(stored["sample_id"])


def test_after_a_stop_of_everybody_no_part_is_asked_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(monkeypatch, 4)
    world = world_of(tmp_path)
    world.generator.stop_after = 3

    stopped = world.run(*GENERATION)

    assert not stopped.success
    assert OUT_OF_MONEY.reason in stopped.told["what"]
    assert len(world.generator.asked) == 1
    outcomes = world.rows("generations")
    planned = world.rows("requests").height
    assert outcomes.height == planned
    assert set(outcomes.filter(pl.col("outcome") == "not_sent")["reason"]) == {str(OUT_OF_MONEY.reason)}

    world.generator.stop_after = None
    assert world.run(*GENERATION).success
    assert set(world.rows("generations")["outcome"]) == {"answered"}
    assert set(world.generator.paid.values()) == {1}


def test_what_one_part_spends_the_next_one_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch, 4)
    world = world_of(tmp_path, batch={"accept": 6, "budget_usd": 1.0})

    assert world.run(*GENERATION).success

    allowed = [each for each in world.generator.allowed_usd if each is not None]
    assert len(allowed) > 2
    assert allowed[0] == 1.0
    assert all(later < earlier for earlier, later in pairwise(allowed))
    last = sum(PRICED.price.of(*row) for row in _tokens(world, world.generator.asked[-1]))
    spent = float(world.rows("generations")["cost_usd"].sum())
    assert allowed[-1] == pytest.approx(1.0 - spent + last)


def _tokens(world: World, calls: list) -> list[tuple[int, int]]:
    asked = {call.call_id for call in calls}
    rows = world.rows("steps").filter(pl.col("call_id").is_in(asked))
    return rows.select("input_tokens", "output_tokens").rows()
