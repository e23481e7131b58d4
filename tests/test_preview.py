"""`synth run --preview N` shows what would come, pays for it once, and stores nothing but the journal."""

from pathlib import Path
from typing import Any

import pytest

from resources.claims import Claims
from synth_assets.domain.ports import LabelledTexts
from synth_assets.errors import RefusedError
from synth_assets.stages.preview import Preview, preview
from synth_assets.stages.work import Work
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.generator import NOON
from tests.fakes.steps import PRICED, by_word, prompt, without_labels
from tests.fakes.world import DAY, World

STORED = ("requests", "generations", "steps", "samples", "assessments", "decisions", "prompt_templates", "objects")


def looked_at(world: World, count: int) -> Preview:
    claims = Claims(world.lake, world.home)
    claim = claims.hold(world.recipe.model, DAY)
    try:
        work = Work(world.recipe, DAY, world.lake, claim, "", lambda: NOON)
        nothing = LabelledTexts.empty()
        return preview(work, world.generator, world.embedder, nothing, count=count, progress=lambda *_: None)
    finally:
        claims.release()


def test_a_preview_shows_what_would_become_of_each_request(tmp_path: Path) -> None:
    world = World(tmp_path, rules={"words": {"min": 34, "because": "Only long ones, so that some are rejected."}})

    seen = looked_at(world, 9)

    assert (seen.attempt, seen.planned, seen.paid_now) == (1, 18, 9)
    assert [row["ordinal"] for row in seen.rows] == list(range(9))
    decided = {(row["decision"], row["rejected_because"]) for row in seen.rows}
    assert decided == {("accepted", None), ("rejected", "length")}
    for row in seen.rows:
        assert (row["assessments"]["words"] < 34) == (row["rejected_because"] == "length")
        assert row["fields"]["text"]
        assert set(row["axes"]) == {"part", "tone"}


def test_nothing_is_stored_and_the_run_after_it_pays_for_the_rest_alone(tmp_path: Path) -> None:
    world = World(tmp_path)

    looked_at(world, 4)
    assert looked_at(world, 4).paid_now == 0
    assert all(world.rows(table).is_empty() for table in STORED)
    previewed = set(world.generator.paid)

    assert world.run().success
    assert previewed < set(world.rows("requests")["call_id"])
    assert world.paid == 18
    assert max(world.generator.paid.values()) == 1


def test_a_preview_of_an_open_attempt_looks_at_its_own_requests(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.generator.stop_after = 3
    world.run()
    world.generator.stop_after = None
    world.edit(axes={"part": {"cellar": {}}, "tone": {"plain": {}, "wry": {}}})

    seen = looked_at(world, 5)

    assert (seen.attempt, seen.planned, seen.paid_now) == (1, 18, 2)
    assert {row["axes"]["part"] for row in seen.rows} <= {"door", "roof", "stair"}


def test_every_field_of_several_calls_is_shown(tmp_path: Path) -> None:
    files = {
        **prompt("question", "## user\nASK about {{ part }}.", format="text", fills="question"),
        **prompt("answer", "## user\nREPLY to: {{ steps.question.question }}", format="text", fills="answer"),
    }
    chain = [{"name": "question", "then": [{"name": "answer"}]}]
    world = World(tmp_path, **without_labels(task_type="question_answering", prompts=chain, files=files))
    world.generator.provider, world.generator.say = PRICED, by_word({"ASK": "Why SEED?", "REPLY": "So."})

    [row] = looked_at(world, 1).rows

    assert row["fields"]["question"].startswith("Why ")
    assert row["fields"]["answer"] == "So."
    assert row["cost_usd"] > 0


def test_a_batch_that_needs_nothing_has_no_preview(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()

    with pytest.raises(RefusedError, match="would open no attempt: the promise is kept"):
        looked_at(world, 3)


def told_by(home: Home, *arguments: str) -> Any:
    with ChatProvider() as provider:
        return Home(home.path, provider.base_url, home.recipes).call(*RUN, *arguments)


def test_the_command_prints_a_table_and_leaves_a_batch_that_was_never_planned(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", recipes=tiny(tmp_path))

    told = told_by(home, "--preview", "2")

    assert told.code == 0
    assert "attempt 1: 2 of 18 requests" in told.out
    assert "2 of 2 would be accepted; 2 calls paid; no run pays for an answer again" in told.out
    assert told.out.count("talk@2") == 2
    assert home.read("batches", dataset=DATASET, batch=BATCH)["attempts"].to_list() == [0]
    assert home.call("status", DATASET, "--json").facts["batches"] == []
    assert f"no batch yet; `synth run {DATASET}` makes one" in home.call("status", DATASET).out
    assert not [file for file in (home.path / "objects").rglob("*") if file.is_file()], "not even an embedding"
    assert home.call(*RUN, "--preview", "3", "--regenerate").code == 2
