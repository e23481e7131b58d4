"""Dagster's web server and daemon as `make ui` starts them, asked through GraphQL as the page asks.

Only loopback; a port of the system's choice; every process ends with the ``with`` block.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import orjson

from synth_assets.cli.web import any_free
from tests.command import DATASET, SYNTH, Home

LOCATION = {"repositoryLocationName": "synth_assets", "repositoryName": "__repository__"}
PATIENCE_S = 300
"""Longest wait for anything; it is reached only by a failing test."""
EVERY_S = 0.5
T = TypeVar("T")


@dataclass(frozen=True)
class Web:
    """A running web server with its daemon."""

    address: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of one GraphQL request; an error fails the test."""
        answer = httpx2.post(
            f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).raise_for_status()
        document = orjson.loads(answer.content)
        assert "errors" not in document, document["errors"]
        return document["data"]

    def switch_on(self, *, schedules: tuple[str, ...] = (), sensors: tuple[str, ...] = ()) -> None:
        """Do what the switches on the Automation page do."""
        for name in schedules:
            done = self.ask(START_SCHEDULE, selector={**LOCATION, "scheduleName": name})["startSchedule"]
            assert done["scheduleState"]["status"] == "RUNNING", done
        for name in sensors:
            done = self.ask(START_SENSOR, selector={**LOCATION, "sensorName": name})["startSensor"]
            assert done["sensorState"]["status"] == "RUNNING", done

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """Return what the page of a sensor shows: status, run keys and reason of every look, oldest first."""
        found = self.ask(TICKS, selector={**LOCATION, "sensorName": sensor})
        return list(reversed(found["sensorOrError"]["sensorState"]["ticks"]))

    def launch(self, dataset: str, assets: tuple[str, ...], partition: str) -> str:
        """Materialize a partition of some assets, as the button does, and return the run's id."""
        keys = [{"path": [dataset, asset]} for asset in assets]
        checks = [{"assetKey": key, "name": each["name"]} for key in keys for each in self._checks_of(key)]
        selector = {**LOCATION, "pipelineName": "__ASSET_JOB", "assetSelection": keys, "assetCheckSelection": checks}
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }
        done = self.ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert "run" in done, done
        return str(done["run"]["runId"])

    def backfill(self, dataset: str, assets: tuple[str, ...], partitions: list[str]) -> str:
        """Materialize several partitions, one run each, and return the backfill's id."""
        keys = [{"path": [dataset, asset]} for asset in assets]
        params = {"assetSelection": keys, "partitionNames": partitions}
        done = self.ask(BACKFILL, params=params)["launchPartitionBackfill"]
        assert "backfillId" in done, done
        return str(done["backfillId"])

    def runs(self) -> list[dict[str, Any]]:
        """Return every run, oldest first: id, job, status, tags."""
        return list(reversed(self.ask(RUNS)["runsOrError"]["results"]))

    def runs_ended(self, status: str) -> list[str]:
        """Return the ids of the runs of the dataset's own jobs that ended so."""
        return [each["runId"] for each in self.runs() if each["status"] == status and DATASET in each["jobName"]]

    def ended(self, run: str) -> str:
        """Wait for a run and return how it ended."""

        def status() -> str | None:
            found = next(each for each in self.runs() if each["runId"] == run)["status"]
            return found if found in ("SUCCESS", "FAILURE", "CANCELED") else None

        return wait_for(status)

    def checks(self, dataset: str, asset: str, partition: str) -> dict[str, bool]:
        """Return the latest result of every check of an asset for a partition."""
        key = {"path": [dataset, asset]}
        found = {}
        for name in (each["name"] for each in self._checks_of(key)):
            history = self.ask(EXECUTIONS, key=key, name=name, partition=partition)["assetCheckExecutions"]
            if history:
                found[name] = history[0]["evaluation"]["success"]
        return found

    def materializations(self, dataset: str, asset: str, partition: str) -> list[dict[str, Any]]:
        """Return metadata of every materialization of a partition, latest first, by label."""
        found = self.ask(MATERIALIZATIONS, key={"path": [dataset, asset]}, partitions=[partition])
        return [
            {entry["label"]: entry for entry in each["metadataEntries"]}
            for each in found["assetOrError"]["assetMaterializations"]
        ]

    def partitions(self, dataset: str, asset: str) -> dict[str, str]:
        """Return the colour of every partition of a batch asset that has one: MATERIALIZED or FAILED."""
        node = self.ask(PARTITIONS, key={"path": [dataset, asset]})["assetNodeOrError"]
        keys = node["partitionKeys"]
        return {
            key: part["status"]
            for part in node["assetPartitionStatuses"]["ranges"]
            for key in keys[keys.index(part["startKey"]) : keys.index(part["endKey"]) + 1]
        }

    def _checks_of(self, key: dict[str, list[str]]) -> list[dict[str, Any]]:
        return self.ask(CHECKS, key=key)["assetChecksOrError"]["assetChecksOrError"].get("checks", [])

    def check_metadata(self, dataset: str, asset: str, check: str, partition: str) -> dict[str, Any]:
        """Return the structured metadata of a check's latest result for a partition, by label."""
        key = {"path": [dataset, asset]}
        [latest] = self.ask(EXECUTIONS, key=key, name=check, partition=partition)["assetCheckExecutions"]
        entries = latest["evaluation"]["metadataEntries"]
        told = {each["label"]: orjson.loads(each["jsonString"]) for each in entries if "jsonString" in each}
        told |= {each["label"]: each["floatValue"] for each in entries if "floatValue" in each}
        for each in entries:
            if "table" in each:
                rows = map(orjson.loads, each["table"]["records"])
                told[each["label"]] = {row["what"]: row["count"] for row in rows}
        return told

    def failures(self, run: str) -> list[str]:
        """Return what the page of a run shows of every step that failed."""
        events = self.ask(FAILURES, run=run)["logsForRun"]["events"]
        return [str(each["failureMetadata"]) for each in events if each.get("error")]


def wait_for(found: Callable[[], T | None], *, patience_s: float = PATIENCE_S) -> T:
    """Ask again and again until there is an answer."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        answer = found()
        if answer:
            return answer
        time.sleep(EVERY_S)
    raise AssertionError("waited in vain")


@contextmanager
def web_ui(home: Home, log: Path) -> Iterator[Web]:
    """Start what `make ui` starts, and end all of it: server, daemon, code server and run workers.

    Args:
        home: whose recipes and data.
        log: file for what the processes say.
    """
    port = any_free()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(SYNTH), "ui", "--port", str(port)],
            env=home.environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        web = Web(f"http://127.0.0.1:{port}")
        try:
            wait_for(lambda: _is_up(web, process, log))
            yield web
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE_S)


def _is_up(web: Web, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
    try:
        return httpx2.get(f"{web.address}/server_info", timeout=5).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


START_SCHEDULE = """mutation($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
  ... on ScheduleStateResult { scheduleState { status } } ... on PythonError { message } } }"""
START_SENSOR = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
  ... on Sensor { sensorState { status } } ... on PythonError { message } } }"""
TICKS = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { sensorState { ticks { status runKeys skipReason error { message } } } } } }"""
LAUNCH = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } ... on InvalidSubsetError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status tags { key value } } } } }"
CHECKS = """query($key: AssetKeyInput!) { assetChecksOrError: assetNodeOrError(assetKey: $key) {
  ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks { name description } } } } } }"""
EXECUTIONS = """query($key: AssetKeyInput!, $name: String!, $partition: String) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1, partition: $partition) {
    evaluation { success metadataEntries { label ... on JsonMetadataEntry { jsonString }
      ... on FloatMetadataEntry { floatValue } ... on TableMetadataEntry { table { records } } } } } }"""
MATERIALIZATIONS = """query($key: AssetKeyInput!, $partitions: [String!]) { assetOrError(assetKey: $key) {
  ... on Asset { assetMaterializations(partitions: $partitions) { runId partition metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } ... on TextMetadataEntry { text }
    ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString }
    ... on TableMetadataEntry { table { records } } } } } } }"""
PARTITIONS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys
  assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }"""
FAILURES = """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
  ... on ExecutionStepFailureEvent { error { message }
    failureMetadata { metadataEntries { label ... on TextMetadataEntry { text } } } } } } } }"""
