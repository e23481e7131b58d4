"""A run that failed is told once: in the log, and to the address in ``SYNTH_WEBHOOK_URL`` if there is one."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

from resources.webhook import WEBHOOK, post

PARTITION_TAG = "dagster/partition"


@dataclass(frozen=True)
class Notice:
    """What is told of a failed run: names, numbers and the refusal a person can act on, never sample text."""

    job: str
    partition: str | None
    run_id: str
    step: str | None
    what: str
    where: str
    fix: str

    @property
    def text(self) -> str:
        """One paragraph for a chat channel."""
        place = f"{self.job}, {self.partition}" if self.partition else self.job
        return f"{place} failed: {self.what} ({self.where}). {self.fix}"


def notice(
    *,
    job: str,
    partition: str | None,
    run_id: str,
    step: str | None,
    told: Mapping[str, Any],
    kind: str | None,
    gates: Sequence[str] = (),
) -> Notice:
    """Return what to tell of a failed run.

    Args:
        job: name of the job.
        partition: its partition key, if any.
        run_id: of the run.
        step: the step that failed, if one did.
        told: what, where and fix of the refusal; empty if the code raised anything else.
        kind: class of the error; its message is left out, because it may hold text of samples.
        gates: those that did not hold, as STAGE.GATE.
    """
    if {"what", "where", "fix"} <= set(told):
        return Notice(job, partition, run_id, step, str(told["what"]), str(told["where"]), str(told["fix"]))
    what = f"it ended with {kind or 'no error recorded'}"
    if kind and "AssetCheck" in kind:
        what = f"gates that did not hold: {', '.join(gates)}" if gates else "a gate did not hold"
    return Notice(job, partition, run_id, step, what, f"Dagster run {run_id}", "`make ui` shows the run and its checks")


def _innermost(error: SerializableErrorInfo) -> str | None:
    """Name the class of what was raised first; Dagster wraps it."""
    while error.cause is not None:
        error = error.cause
    return error.cls_name


def _failed_gates(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [record.get_dagster_event().asset_check_evaluation_data for record in records]
    return [f"{check.asset_key.path[-1]}.{check.check_name}" for check in checks if not check.passed]


def failure_sensor() -> dg.SensorDefinition:
    """Return the sensor that tells of failed runs; on by default."""

    @dg.run_failure_sensor(
        name="run_failure",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description=f"Logs every failed run and posts it to {WEBHOOK}, if that is set.",
    )
    def run_failure(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        failed = context.get_step_failure_events()
        data = failed[0].step_failure_data if failed else None
        user = data.user_failure_data if data else None
        told = {name: value.value for name, value in user.metadata.items()} if user else {}
        say = notice(
            job=run.job_name,
            partition=run.tags.get(PARTITION_TAG),
            run_id=run.run_id,
            step=failed[0].step_key if failed else None,
            told=told,
            kind=_innermost(data.error) if data and data.error else None,
            gates=_failed_gates(context.instance, run.run_id),
        )
        context.log.error(say.text)
        address = os.environ.get(WEBHOOK, "")
        if address:
            context.log.info(post(address, {"text": say.text, **asdict(say)}))

    return run_failure
