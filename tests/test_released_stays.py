"""Whatever is done afterwards, a released version stays what it was: read, loaded, looked at and trained on."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from synth_assets.checks import gates, release_gates
from synth_assets.checks.verdict import Verdict
from synth_assets.stages.models import consumed_rows
from synth_assets.stages.proof import proven_release
from synth_assets.vocabulary import Stage
from tests.fakes.recipes import RECIPE
from tests.fakes.world import DAY, NEXT_DAY, World

STRICT = {**RECIPE["gates"], "acceptance_share": {"min": 1.0, "because": "Nothing less."}}


@pytest.fixture(scope="module")
def released_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("released"))
    assert world.run().success
    assert world.release("v1", reason="the first").success
    assert world.train("v1").success
    return world


@pytest.fixture
def released(released_world: World, tmp_path: Path) -> World:
    return released_world.copy(tmp_path)


def regenerated(world: World, _: pytest.MonkeyPatch) -> None:
    world.run(regenerate=True)


def regenerated_and_red(world: World, _: pytest.MonkeyPatch) -> None:
    world.edit(gates=STRICT, rules={**RECIPE["rules"], "words": {"min": 500, "because": "Long ones only."}})
    assert not world.run(regenerate=True).success


def curated_by_a_tighter_rule(world: World, _: pytest.MonkeyPatch) -> None:
    world.edit(rules={**RECIPE["rules"], "words": {"min": 500, "because": "Long ones only."}})
    assert not world.run("curated").success


def judged_by_an_improved_gate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_passes(_: object) -> Verdict:
        return Verdict("no_pii", passed=False, version=2)

    stricter = tuple(replace(each, ask=nothing_passes) for each in gates.GATES[Stage.TRAINING_READY])
    monkeypatch.setitem(gates.GATES, Stage.TRAINING_READY, stricter)
    assert not world.run("training_ready").success


def a_gate_renamed(_: World, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = tuple(replace(each, name=f"{each.name}_2") for each in gates.GATES[Stage.CURATED])
    monkeypatch.setitem(gates.GATES, Stage.CURATED, renamed)


def a_gate_of_versions_that_nothing_passes(_: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_gates, "_content", lambda _: Verdict("content", passed=False))


def another_batch(world: World, _: pytest.MonkeyPatch) -> None:
    assert world.run(batch=NEXT_DAY).success


def a_later_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    another_batch(world, monkeypatch)
    assert world.release("v2").success


def looked_at_again_and_again(world: World, _: pytest.MonkeyPatch) -> None:
    for _turn in range(3):
        assert world.release("v1").success


def the_rows_of_its_batch_gone(world: World, _: pytest.MonkeyPatch) -> None:
    for table in ("samples", "training_examples", "decisions", "assessments"):
        world.lake._tables[table] = world.lake._tables[table].clear()


ACTS: list[Callable[[World, pytest.MonkeyPatch], None]] = [
    regenerated,
    regenerated_and_red,
    curated_by_a_tighter_rule,
    judged_by_an_improved_gate,
    a_gate_renamed,
    a_gate_of_versions_that_nothing_passes,
    another_batch,
    a_later_version,
    looked_at_again_and_again,
    the_rows_of_its_batch_gone,
]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_released_version_stays_what_it_was(
    released: World, act: Callable[[World, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = proven_release(released.lake, released.home / "releases", "tiny", 1)
    run = released.rows("model_runs")["model_run_id"][0]

    act(released, monkeypatch)
    length = released.lake.chain("tiny").length
    looked = released.release("v1")

    assert looked.success, looked.told
    assert looked.materialized["dataset_version"]["was_verified"]
    assert released.lake.chain("tiny").length == length, "a look is stored nowhere"
    now = proven_release(released.lake, released.home / "releases", "tiny", 1)
    assert (now.files, now.row) == (before.files, before.row)
    trained = released.train("v1")
    assert trained.success, trained.told
    assert trained.materialized["model_run"]["model_run_id"] == run, "the same data, so the same model"
    assert consumed_rows(now).equals(consumed_rows(before))


def test_what_a_batch_held_when_it_was_green_is_released_though_it_is_red_now(released: World) -> None:
    assert released.run(batch=NEXT_DAY).success
    green = set(released.rows("training_examples", batch=NEXT_DAY)["sample_id"])
    released.edit(rules={**RECIPE["rules"], "words": {"min": 500, "because": "Long ones only."}})
    assert not released.run("curated", batch=NEXT_DAY).success
    assert set(released.rows("decisions", batch=NEXT_DAY)["decision"]) == {"rejected"}

    assert released.release("v2").success

    second = proven_release(released.lake, released.home / "releases", "tiny", 2)
    assert set(second.members.filter(pl.col("batch") == NEXT_DAY)["sample_id"]) == green
    assert second.manifest["batches_behind"] == {NEXT_DAY: "curated"}


def test_what_stays_is_copied_byte_for_byte_and_the_difference_is_told(released: World) -> None:
    first = proven_release(released.lake, released.home / "releases", "tiny", 1)
    assert released.run(batch=NEXT_DAY).success
    added = released.rows("training_examples", batch=NEXT_DAY).height

    assert released.release("v2").success

    second = proven_release(released.lake, released.home / "releases", "tiny", 2)
    assert [line for line in second.lines if line in set(first.lines)] == first.lines
    assert "diff.json" not in first.files
    diff = pl.read_json(second.files["diff.json"]).row(0, named=True)
    assert (diff["from"], diff["to"], diff["counts"]) == ("v1", "v2", {"added": added, "removed": 0, "changed": 0})


def test_a_green_batch_keeps_its_revision_with_card_and_difference(released: World) -> None:
    assert released.run(batch=NEXT_DAY).success
    before = released.rows("batch_revisions", batch=NEXT_DAY).row(0, named=True)
    shutil.rmtree(released.home / "releases")

    assert released.run(regenerate=True).success, "another batch changes"
    assert released.run("training_ready", batch=NEXT_DAY).success, "and this one is looked at again"

    rows = released.rows("batch_revisions", batch=NEXT_DAY)
    assert rows.to_dicts() == [before]
    assert (before["compared_with"], before["revision"]) == (DAY, 1)
    card = released.lake.get(before["card_sha256"], ".md").decode()
    assert f"{NEXT_DAY} r1" in card
    assert released.rows("batch_revisions", batch=DAY)["revision"].to_list() == [1, 2]
