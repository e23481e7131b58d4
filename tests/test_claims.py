"""The claim on a batch: one process at a time, freed by death, and worthless once somebody else has it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from resources.claims import Claims, is_free
from resources.lake import open_lake
from resources.locks import FileLock
from synth_assets.assets.factory import dataset_assets
from synth_assets.domain.ports import Call
from synth_assets.domain.transactions import Commit, Swap
from synth_assets.errors import RefusedError
from synth_assets.recipe import Recipe, load_recipe
from tests.fakes.embedder import HashedWords
from tests.fakes.generator import FakeGenerator, FakeGenerators
from tests.fakes.lake import MemoryLake
from tests.fakes.real_data import FakeRealData
from tests.fakes.recipes import write_recipe
from tests.fakes.world import World

BATCH = "2026-11-01"

HOLDER = """
import sys
from pathlib import Path
from resources.claims import Claims
from synth_assets.recipe import load_recipe
from tests.fakes.lake import MemoryLake
home = Path(sys.argv[1])
claims = Claims(MemoryLake(home), home)
claims.hold(load_recipe(Path(sys.argv[2])).model, sys.argv[3])
print("held", flush=True)
sys.stdin.readline()
claims.release()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path))


@contextmanager
def another_process(home: Path, recipe: Recipe) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the batch until it is told a line, or until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home), str(recipe.folder), BATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def fence_of(lake: MemoryLake) -> int:
    return lake.read("batches", batch=BATCH)["fence"][0]


def test_a_batch_that_another_process_works_on_is_refused_and_nothing_is_sent(tmp_path: Path, recipe: Recipe) -> None:
    lake, generator = MemoryLake(tmp_path), FakeGenerator()
    claims = Claims(lake, tmp_path)
    resources = {"lake": lake, "claims": claims, "generators": FakeGenerators(generator)}
    resources |= {"embedder": HashedWords(), "real_data": FakeRealData()}

    with another_process(tmp_path, recipe) as holder:
        ran = dg.materialize(
            dataset_assets(recipe),
            selection=[dg.AssetKey(["tiny", name]) for name in ("generation_plan", "generated")],
            partition_key=BATCH,
            instance=dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster")),
            resources=resources,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        failed = [event for event in ran.all_events if event.is_step_failure]

    told = failed[0].step_failure_data.user_failure_data.metadata
    assert [event.step_key for event in failed] == ["tiny__generation_plan"]
    assert told["exit_code"].value == 3
    assert f"process {holder.pid}" in told["what"].value
    assert generator.asked == []
    assert lake.read("batches").is_empty()
    assert lake.read("requests").is_empty()


def test_a_claim_can_be_taken_again_in_the_process_that_holds_it(tmp_path: Path, recipe: Recipe) -> None:
    lake = MemoryLake(tmp_path)
    command, run = Claims(lake, tmp_path), Claims(lake, tmp_path)

    first = command.hold(recipe.model, BATCH)
    assert command.hold(recipe.model, BATCH) == first
    assert run.hold(recipe.model, BATCH) == first
    run.release()

    assert not is_free(tmp_path, "tiny", BATCH)
    assert fence_of(lake) == first.fence == 1
    command.release()
    assert is_free(tmp_path, "tiny", BATCH)


def test_every_new_claim_raises_the_fence(tmp_path: Path, recipe: Recipe) -> None:
    lake = MemoryLake(tmp_path)
    fences = []
    for _ in range(3):
        claims = Claims(lake, tmp_path)
        fences.append(claims.hold(recipe.model, BATCH).fence)
        claims.release()

    assert fences == [1, 2, 3]
    assert fence_of(lake) == 3


def test_batches_are_claimed_one_by_one(tmp_path: Path, recipe: Recipe) -> None:
    with another_process(tmp_path, recipe):
        claims = Claims(MemoryLake(tmp_path), tmp_path)
        claims.hold(recipe.model, "2026-11-02")
        assert not is_free(tmp_path, "tiny", BATCH)
        claims.release()
        assert is_free(tmp_path, "tiny", "2026-11-02")


def test_a_claim_given_back_is_free_while_its_process_lives_on(tmp_path: Path, recipe: Recipe) -> None:
    with another_process(tmp_path, recipe) as holder:
        holder.stdin.write("go\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "released\n"
        assert is_free(tmp_path, "tiny", BATCH)
        assert holder.poll() is None


def test_a_claim_dies_with_its_holder(tmp_path: Path, recipe: Recipe) -> None:
    claims = Claims(MemoryLake(tmp_path), tmp_path)
    with another_process(tmp_path, recipe) as holder:
        with pytest.raises(RefusedError):
            claims.hold(recipe.model, BATCH)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)

        assert claims.hold(recipe.model, BATCH).batch == BATCH
    claims.release()


def test_a_lock_whose_file_was_removed_keeps_nobody_away_and_says_so(tmp_path: Path) -> None:
    lock, rival = (FileLock(tmp_path / "b.lock", is_signed=True) for _ in range(2))
    assert lock.acquire(wait_s=0)
    assert lock.is_held()

    (tmp_path / "b.lock").unlink()
    assert not lock.is_held()
    assert rival.acquire(wait_s=0), "though the first still holds the sign beside it"
    assert (lock.is_held(), rival.is_held()) == (False, True)
    assert not lock.acquire(wait_s=0)
    rival.release()
    assert lock.acquire(wait_s=0)
    assert lock.is_held()
    lock.release()
    assert not lock.is_held()


def lock_file(home: Path) -> Path:
    return home / "claims" / "tiny" / f"{BATCH}.lock"


def test_a_claim_whose_lock_was_removed_is_taken_again_while_nobody_else_was_there(
    tmp_path: Path, recipe: Recipe
) -> None:
    lake = MemoryLake(tmp_path)
    claims = Claims(lake, tmp_path)
    claim = claims.hold(recipe.model, BATCH)

    lock_file(tmp_path).unlink()

    assert claim.is_held()
    assert fence_of(lake) == claim.fence
    with pytest.raises(AssertionError), another_process(tmp_path, recipe):
        raise RuntimeError("two hold the batch")
    claims.release()
    assert is_free(tmp_path, "tiny", BATCH)


def test_a_claim_that_somebody_took_over_is_lost_while_they_hold_it_and_after(home: Path, recipe: Recipe) -> None:
    lake = open_lake(home, {})
    claims = Claims(lake, home)
    claim = claims.hold(recipe.model, BATCH)

    lock_file(home).unlink()
    rival = FileLock(lock_file(home))
    assert rival.acquire(wait_s=0)
    assert not claim.is_held()
    raised = Swap("batches", {"dataset": "tiny", "batch": BATCH}, {"fence": claim.fence}, {"fence": claim.fence + 1})
    lake.commit(Commit(dataset="tiny", key="rival", action="claim", run_id="", details={}, swaps=[raised]))
    rival.release()

    assert not claim.is_held()
    assert is_free(home, "tiny", BATCH), "it was not taken again"
    claims.release()
    lake.close()


def test_a_batch_taken_over_while_the_model_was_asked_is_refused_before_its_commit(tmp_path: Path) -> None:
    world = World(tmp_path)
    rival = FileLock(lock_file(world.home))

    def taken_over(_: Call) -> str:
        if not rival.is_held():
            lock_file(world.home).unlink()
            assert rival.acquire(wait_s=0)
        return "nothing"

    world.generator.say, world.generator.stop_after = taken_over, 3

    told = world.run("prompt_templates", "seeds", "generation_plan", "generated").told
    rival.release()

    assert told["exit_code"] == 3
    assert "claimed by another process in the meantime" in told["what"]
    assert world.rows("generations").is_empty()


def test_a_commit_under_an_old_fence_is_refused_and_changes_nothing(home: Path, recipe: Recipe) -> None:
    """The lock files lie in different places, as when a lock was lost: only the fence is left to tell."""
    lake = open_lake(home, {})
    old, new = Claims(lake, home / "here"), Claims(lake, home / "there")
    lost, held = old.hold(recipe.model, BATCH), new.hold(recipe.model, BATCH)

    def commit(key: str, guard: object) -> Commit:
        return Commit(dataset="tiny", key=key, action="try", run_id="", details={}, swaps=[guard])

    with pytest.raises(RefusedError, match="claimed by another process"):
        lake.commit(commit("late", lost.guard()))
    assert lake.read("audit_log", commit_key="late").is_empty()
    assert not lake.commit(commit("fine", held.guard())).was_replayed
    old.release()
    new.release()
    lake.close()


class Rival(MemoryLake):
    """A lake in which somebody on another host claims the batch between our look and our commit."""

    def __init__(self, home: Path, recipe: Recipe) -> None:
        super().__init__(home)
        self.recipe = recipe
        self.is_late = False

    def commit(self, commit: Commit) -> object:
        if commit.action == "claim" and not self.is_late:
            self.is_late = True
            rival = Claims(self, self.home / "another host")
            rival.hold(self.recipe.model, BATCH)
            rival.release()
        return super().commit(commit)


@pytest.mark.parametrize("is_known", [False, True], ids=["new batch", "known batch"])
def test_two_hosts_that_claim_at_once_never_share_a_fence(tmp_path: Path, recipe: Recipe, is_known: bool) -> None:
    lake = Rival(tmp_path, recipe)
    claims = Claims(lake, tmp_path / "this host")
    if is_known:
        lake.is_late = True
        claims.hold(recipe.model, BATCH)
        claims.release()
        lake.is_late = False

    with pytest.raises(RefusedError):
        claims.hold(recipe.model, BATCH)
    assert is_free(tmp_path / "this host", "tiny", BATCH)
    assert lake.read("batches", batch=BATCH).height == 1
