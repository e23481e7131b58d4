"""Dagster's event log with its files kept open: the same events, fewer waits, and nothing that outlives its run."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from resources.instance import instance_for
from resources.storage import MAX_OPEN

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.asset
def thing() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3})


JOB = dg.Definitions(
    assets=[thing], jobs=[dg.define_asset_job("job")], executor=dg.in_process_executor
).resolve_job_def("job")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SYNTH_INSTANCE", "SYNTH_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "dagster"


def run(instance: dg.DagsterInstance) -> str:
    result = JOB.execute_in_process(instance=instance, run_config=QUIET)
    assert result.success
    return str(result.run_id)


def open_files(instance: dg.DagsterInstance) -> list[str]:
    return list(instance.event_log_storage._engines)  # type: ignore[attr-defined]


def test_every_event_is_there_for_the_next_process(home: Path) -> None:
    with instance_for(home) as instance:
        runs = [run(instance) for _ in range(2)]
        counts = [len(instance.all_logs(each)) for each in runs]
    with instance_for(home) as instance:
        assert [len(instance.all_logs(each)) for each in runs] == counts
        assert min(counts) > 5
        latest = instance.get_latest_materialization_event(dg.AssetKey("thing"))
        assert latest is not None
        assert latest.run_id == runs[-1]


def test_another_process_reads_what_this_one_has_open(home: Path) -> None:
    """The web server looks while a run writes."""
    look = (
        "import sys; from pathlib import Path; from resources.instance import instance_for\n"
        "with instance_for(Path(sys.argv[1])) as i: print(len(i.all_logs(sys.argv[2])))"
    )
    with instance_for(home) as instance:
        first = run(instance)
        seen = subprocess.run(
            [sys.executable, "-c", look, str(home), first], capture_output=True, text=True, check=True
        )
        assert int(seen.stdout.split()[-1]) == len(instance.all_logs(first))


def test_few_files_stay_open_however_many_runs_there_were(home: Path) -> None:
    with instance_for(home) as instance:
        runs = [run(instance) for _ in range(MAX_OPEN + 2)]
        assert len(open_files(instance)) == MAX_OPEN
        assert len(instance.all_logs(runs[0])) == len(instance.all_logs(runs[-1]))
    assert open_files(instance) == []


def test_a_run_that_was_deleted_is_gone(home: Path) -> None:
    with instance_for(home) as instance:
        first = run(instance)
        instance.delete_run(first)
        assert instance.all_logs(first) == []
        run(instance)
