"""Whose process a run is: proven by a lock, whatever the process ids and host names say."""

import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from resources.instance import instance_for
from resources.launcher import WatchingLauncher
from resources.owners import PARTITION_TAG, dead_runs, end_dead, end_left_behind, owners_of
from tests.fakes.hanging import hanging_run


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_for(tmp_path / "dagster") as opened:
        yield opened


def the_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    [run] = instance.get_runs()
    return run


def test_a_run_is_dead_once_its_process_is_and_not_before(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, WatchingLauncher)
    with hanging_run(tmp_path / "dagster") as process:
        run = the_run(instance)
        assert run.status is dg.DagsterRunStatus.STARTED
        assert dead_runs(instance) == []
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING

        process.send_signal(signal.SIGSTOP)
        assert dead_runs(instance) == [], "a process that stands still is not gone"

        process.kill()
        process.wait()
        assert [each.run_id for each in dead_runs(instance)] == [run.run_id]
        assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED

    end_dead(instance, dead_runs(instance))
    assert the_run(instance).status is dg.DagsterRunStatus.FAILURE
    assert dead_runs(instance) == []


def test_a_run_that_ended_leaves_no_lock_behind(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with hanging_run(tmp_path / "dagster") as process:
        process.communicate(input="", timeout=60)

    assert the_run(instance).status is dg.DagsterRunStatus.SUCCESS
    assert list((tmp_path / "dagster/owners").iterdir()) == []


def test_who_takes_up_a_batch_ends_its_dead_run_and_leaves_the_others(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with hanging_run(tmp_path / "dagster") as process:
        assert end_left_behind(instance, dataset="tiny", partitions=["2026-11-01"]) == 0
        process.kill()
        process.wait()

        assert end_left_behind(instance, dataset="tiny", partitions=["2026-11-02"]) == 0
        assert end_left_behind(instance, dataset="other", partitions=["2026-11-01"]) == 0
        assert end_left_behind(instance, dataset="tiny", partitions=["2026-11-01"]) == 1
    assert the_run(instance).tags[PARTITION_TAG] == "2026-11-01"


def test_a_run_that_waits_to_begin_is_nobodys_and_not_dead(instance: dg.DagsterInstance) -> None:
    @dg.job
    def waits() -> None: ...

    instance.create_run_for_job(waits, status=dg.DagsterRunStatus.STARTING)

    assert dead_runs(instance) == []


def test_an_instance_in_memory_keeps_no_owners() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert owners_of(instance) is None
        assert dead_runs(instance) == []
