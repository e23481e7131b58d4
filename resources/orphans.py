"""Dagster runs whose process is gone: found by the tags every run carries, ended by whoever takes up their work.

Dagster's default launcher has no health check for its workers, so nobody else would end them.
"""

import os
import socket
from collections.abc import Sequence

import dagster as dg

PID_TAG, HOST_TAG = "synth/pid", "synth/host"
PARTITION_TAG = "dagster/partition"
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def process_tags() -> dict[str, str]:
    """Return the tags that say which process executes a run."""
    return {PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()}


def end_orphans(instance: dg.DagsterInstance, *, dataset: str, partitions: Sequence[str]) -> int:
    """Mark runs of batches or versions as failed whose process is gone.

    Call it for a batch only while holding its claim. Versions have none: they are cut by compare-and-swap.

    Returns:
        How many runs were ended.
    """
    here = {PARTITION_TAG: list(partitions), HOST_TAG: socket.gethostname()}
    filters = dg.RunsFilter(statuses=UNFINISHED, tags=here)
    orphans = [run for run in instance.get_runs(filters) if _is_of(run, dataset) and not _lives(int(run.tags[PID_TAG]))]
    for run in orphans:
        instance.report_run_failed(run, "The process of this run is gone; everything it finished is kept.")
    return len(orphans)


def _is_of(run: dg.DagsterRun, dataset: str) -> bool:
    chosen = run.asset_selection or ()
    return run.job_name.startswith(f"{dataset}_") or dataset in {key.path[0] for key in chosen}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
