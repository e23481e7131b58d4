"""Dagster runs whose process is gone: found by the tags every run carries, ended by whoever holds their batch's claim.

Dagster's default launcher has no health check for its workers, so nobody else would end them.
"""

import os
import socket

import dagster as dg

PID_TAG, HOST_TAG = "synth/pid", "synth/host"
PARTITION_TAG = "dagster/partition"
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def process_tags() -> dict[str, str]:
    """Return the tags that say which process executes a run."""
    return {PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()}


def end_orphans(instance: dg.DagsterInstance, *, dataset: str, batch: str) -> int:
    """Mark runs of a batch as failed whose process is gone; call it only while holding the batch's claim.

    Returns:
        How many runs were ended.
    """
    filters = dg.RunsFilter(statuses=UNFINISHED, tags={PARTITION_TAG: batch, HOST_TAG: socket.gethostname()})
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
