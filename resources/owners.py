"""Whose process a Dagster run is: a lock taken before it says that it started, and freed by that process's death.

A process id means nothing on another host or in another container, and comes back; a lock that nobody holds is proof.
Dagster's own launcher looks at nothing, so a run whose process is gone would stay "started" and keep its place in the
queue for ever.
"""

import os
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._core.utils import make_new_run_id

from resources.locks import Lock, ServerLock, run_lock
from resources.postgres import Server
from synth_assets.errors import StoppedError

PID_TAG, HOST_TAG = "synth/pid", "synth/host"
"""For a person; nothing is decided by them."""
PARTITION_TAG = "dagster/partition"
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
UNDER_WAY = frozenset({dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING})
"""A run that says so has, or had, an owner."""

GONE = "The process of this run is gone; everything it finished is kept."
RENEW_EVERY_S = 5.0
"""A server that was restarted has forgotten its locks; owners that live take theirs again within this time."""
OWN_WAIT_S = 5.0


def process_tags() -> dict[str, str]:
    """Return the tags that say which process executes a run."""
    return {PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()}


class Owners:
    """The locks of runs: one per run, held by the process that executes it."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        """Prepare to hold and to look.

        Args:
            folder: of the Dagster instance; the locks are files below it.
            server: of the instance, if it has one; the locks are sessions there.
        """
        self._folder, self._server = folder, server
        self._held: dict[str, Lock] = {}
        self._mutex = threading.Lock()

    @property
    def may_forget(self) -> bool:
        """Whether a run that lives can lose its lock for a moment: a server forgets, the kernel does not."""
        return self._server is not None

    def own(self, run_id: str) -> bool:
        """Hold a run's lock until `give_back` or the end of this process; owning it again is free.

        Returns:
            False if another process holds it.
        """
        with self._mutex:
            if run_id in self._held:
                return True
            lock = self._lock(run_id)
            if not lock.acquire(wait_s=OWN_WAIT_S):
                return False
            self._held[run_id] = lock
            if isinstance(lock, ServerLock) and len(self._held) == 1:
                threading.Thread(target=self._renew, name="owners of runs", daemon=True).start()
            return True

    def give_back(self, run_id: str) -> None:
        """Let go of a run that has ended; harmless when it is not ours."""
        with self._mutex:
            lock = self._held.pop(run_id, None)
            if lock is not None:
                lock.discard()

    def lives(self, run_id: str) -> bool:
        """Whether some process holds a run."""
        return self._lock(run_id).is_taken()

    def has_lost(self, run_id: str) -> bool:
        """Whether another process holds what this one took."""
        with self._mutex:
            lock = self._held.get(run_id)
            return lock is not None and not _holds(lock) and lock.is_taken()

    def holder(self, run_id: str) -> str:
        """Return who holds a run, for a person."""
        return self._lock(run_id).holder()

    def _lock(self, run_id: str) -> Lock:
        return run_lock(self._folder, self._server, run_id)

    def _renew(self) -> None:
        """Take locks again that the server has forgotten, as long as this process owns a run."""
        pause = threading.Event()
        while not pause.wait(RENEW_EVERY_S):
            with self._mutex:
                if not self._held:
                    return
                for lock in self._held.values():
                    _taken_again(lock)


def _taken_again(lock: Lock) -> None:
    if not _holds(lock):
        with suppress(StoppedError):  # the server is away: the next look tries again
            lock.acquire(wait_s=0)


def _holds(lock: Lock) -> bool:
    with suppress(StoppedError):
        return lock.is_held()
    return False


def owners_of(instance: dg.DagsterInstance) -> Owners | None:
    """Return the owners of an instance's runs; None for one that keeps none, as in a test's memory."""
    found = getattr(instance.run_storage, "owners", None)
    return found if isinstance(found, Owners) else None


@contextmanager
def executing(instance: dg.DagsterInstance) -> Iterator[str]:
    """Yield the id of a new run that this process will execute, and own it from before it is known to anybody."""
    run_id, owners = make_new_run_id(), owners_of(instance)
    if owners is not None:
        owners.own(run_id)
    try:
        yield run_id
    finally:
        if owners is not None:
            owners.give_back(run_id)


def dead_runs(instance: dg.DagsterInstance, *, tags: dict[str, str | list[str]] | None = None) -> list[dg.DagsterRun]:
    """Return unfinished runs whose process is gone, oldest first.

    One that has not begun is nobody's yet: Dagster ends it after its own time, unless the command that would have
    executed it says which process that was.

    Args:
        instance: whose runs.
        tags: of the runs to look at; all by default.
    """
    owners = owners_of(instance)
    if owners is None:
        return []
    statuses = [*UNFINISHED, dg.DagsterRunStatus.CANCELING]
    runs: Iterable[dg.DagsterRun] = instance.get_runs(dg.RunsFilter(statuses=statuses, tags=tags), ascending=True)
    owned = [run for run in runs if run.status in UNDER_WAY or PID_TAG in run.tags]
    return [run for run in owned if not owners.lives(run.run_id)]


def end_dead(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> None:
    """Mark runs as failed that `dead_runs` found, so that what waits for their places goes on."""
    for run in runs:
        instance.report_run_failed(run, GONE)


def end_all(instance: dg.DagsterInstance) -> int:
    """Mark every run that was going on as failed: in a home that was just restored none is, on whatever host.

    Returns:
        How many runs were ended.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    for run in runs:
        instance.report_run_failed(run, "The backup was made while this run went on; what it had finished is kept.")
    return len(runs)


def end_left_behind(instance: dg.DagsterInstance, *, dataset: str, partitions: Sequence[str]) -> int:
    """End the dead runs of batches or versions of a dataset, whatever host they were on.

    Returns:
        How many runs were ended.
    """
    runs = [run for run in dead_runs(instance, tags={PARTITION_TAG: list(partitions)}) if _is_of(run, dataset)]
    end_dead(instance, runs)
    return len(runs)


def _is_of(run: dg.DagsterRun, dataset: str) -> bool:
    chosen = run.asset_selection or ()
    return run.job_name.startswith(f"{dataset}_") or dataset in {key.path[0] for key in chosen}
