"""Running a job of the project in this process, on the instance the web UI shows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

from resources.owners import executing, process_tags
from synth_assets.cli.project import Project
from synth_assets.errors import BY_EXIT_CODE, IntegrityError, StoppedError, SynthError
from synth_assets.recipe import Recipe

CODE_LOCATION = "synth_assets"
PARAGRAPH = re.compile(r"[\w.]+: (?P<what>.*)\n  where: (?P<where>.*)\n  fix:   (?P<fix>.*)", re.DOTALL)
"""A `SynthError` as Dagster stores it."""
QUERY_INTERRUPTED = "Query interrupted"
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
"""The events are in the instance; the terminal is for the person."""


@dataclass(frozen=True)
class Ran:
    """What became of a run.

    Attributes:
        error: the refusal of the asset that raised; None if none did.
        failed_checks: (asset, check, facts) of every check that did not pass.
    """

    run_id: str
    success: bool
    error: SynthError | None
    failed_checks: list[tuple[str, str, dict[str, Any]]]


def run_job(
    project: Project,
    instance: dg.DagsterInstance,
    job: str,
    *,
    recipe: Recipe,
    partition: str,
    config: Mapping[str, Any] | None = None,
) -> Ran:
    """Execute one partition of a job; the run, its checks and its materializations stay in the instance.

    Args:
        project: the checkout.
        instance: where the run is recorded.
        job: name of the job.
        recipe: whose job it is.
        partition: partition key.
        config: op config by asset, as in the launchpad.
    """
    definition = project.definitions(recipe).resolve_job_def(job)
    with executing(instance) as run_id:
        result = definition.execute_in_process(
            instance=instance,
            partition_key=partition,
            run_config={"ops": dict(config or {}), "loggers": QUIET},
            raise_on_error=False,
            tags={**process_tags(), ".dagster/repository": f"__repository__@{CODE_LOCATION}"},
            run_id=run_id,
        )
    checks = [
        (
            event.asset_check_evaluation_data.asset_key.path[-1],
            event.asset_check_evaluation_data.check_name,
            _facts(event),
        )
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and not event.asset_check_evaluation_data.passed
    ]
    return Ran(result.run_id, result.success, _error(result), checks)


def _facts(event: dg.DagsterEvent) -> dict[str, Any]:
    metadata = event.asset_check_evaluation_data.metadata
    return {name: value.value for name, value in metadata.items() if name != "funnel"}


def _error(result: dg.ExecuteInProcessResult) -> SynthError | None:
    """Return the refusal an asset or a resource raised, as it was before Dagster wrapped it."""
    where = f"Dagster run {result.run_id}"
    for event in result.all_events:
        if event.event_type_value == "RESOURCE_INIT_FAILURE":
            error = event.engine_event_data.error
            return _refusal(error) or _unforeseen(f"{event.job_name} failed before its first stage", error, where)
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        told = data.user_failure_data.metadata if data.user_failure_data else {}
        if "exit_code" in told:
            values = {name: str(told[name].value) for name in ("what", "where", "fix")}
            return BY_EXIT_CODE[int(told["exit_code"].value)](**values)
        if data.error is not None and "AssetCheck" not in (data.error.cls_name or ""):
            return _unforeseen(f"{event.step_key} failed", data.error, where)
    return None


def _refusal(error: SerializableErrorInfo | None) -> SynthError | None:
    """Return the refusal in a chain of causes; a resource that cannot be made leaves only its text."""
    while error is not None:
        kind = next((each for each in BY_EXIT_CODE.values() if each.__name__ == error.cls_name), None)
        parts = PARAGRAPH.fullmatch(error.message.strip())
        if kind is not None and parts is not None:
            return kind(**parts.groupdict())
        error = error.cause
    return None


def _unforeseen(what: str, error: SerializableErrorInfo, where: str) -> SynthError:
    if _is_interrupt(error):
        return StoppedError(
            "interrupted; everything finished is kept",
            where=where,
            fix="run the same command again: it goes on where it stopped",
        )
    kind = (error.cause or error).cls_name
    return IntegrityError(
        f"{what} with {kind}", where=where, fix="`make ui` shows the run with its traceback; please report it"
    )


def _is_interrupt(error: SerializableErrorInfo | None) -> bool:
    """Whether Ctrl-C or SIGTERM is the cause; inside a query DuckDB makes a RuntimeError of it."""
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        if error.cls_name == "RuntimeError" and QUERY_INTERRUPTED in error.message:
            return True
        error = error.cause or error.context
    return False
