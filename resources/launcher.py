"""Dagster's launcher, with eyes: it can tell whether the process of a run still lives."""

import time

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._serdes.config_class import ConfigurableClassData

from resources.owners import GONE, owners_of

GRACE_S = 30.0
"""How long a run may be nobody's: a restarted server has forgotten its locks, and their owners take them again."""


class WatchingLauncher(DefaultRunLauncher):
    """What the daemon's monitoring asks at every look; a run without a process ends, and is retried."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data=inst_data)
        self._missed: dict[str, float] = {}

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes, unlike Dagster's own."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return FAILED for a run that no process has held for a while; locks of files are believed at once."""
        owners = owners_of(self._instance)
        if owners is None or owners.lives(run.run_id):
            self._missed.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        since = self._missed.setdefault(run.run_id, time.monotonic())
        if owners.may_forget and time.monotonic() - since < GRACE_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        self._missed.pop(run.run_id)
        return CheckRunHealthResult(WorkerStatus.FAILED, msg=GONE)
