"""The web server and the daemon, started as `make ui` does: what happens once the switches are on."""

from pathlib import Path
from typing import Any

import pytest

from resources.webhook import WEBHOOK
from tests.command import DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.webhook import Webhook
from tests.web import Web, wait_for, web_ui

pytestmark = pytest.mark.slow

EVERY_MINUTE = "* * * * *"
ALL = ("regeneration", "release")
"""The sensors that are off until somebody switches them on."""
REAL = {"reader": "movie_reviews", "test_rows": 100}


def requested(web: Web, sensor: str) -> list[str]:
    """Run keys a sensor asked for, in the order of its looks."""
    return [key for tick in web.ticks(sensor) for key in tick["runKeys"]]


def told_of(webhook: Webhook, kind: str) -> list[dict[str, Any]]:
    """Notices of failed runs have a `run_id`, those of troubles a `key`."""
    return [body for body in webhook.bodies if kind in body]


def test_from_an_empty_home_to_a_version_and_a_trained_model(tmp_path: Path) -> None:
    """One schedule and the sensors are switched on; nothing else is done by hand."""
    with ChatProvider() as provider, Webhook() as webhook:
        recipes = tiny(tmp_path, cron=EVERY_MINUTE, real_data=REAL)
        home = Home(tmp_path / "home", provider.base_url, recipes, {WEBHOOK: webhook.address})
        with web_ui(home, tmp_path / "log") as web:
            web.switch_on(schedules=("tiny_schedule",), sensors=ALL)
            wait_for((home.path / "releases/tiny/v1/manifest.json").is_file)
            wait_for(
                lambda: [run for run in web.runs() if run["jobName"] == "tiny_release" and run["status"] == "SUCCESS"]
            )
            jobs = [run["jobName"] for run in web.runs() if DATASET in run["jobName"]]
            keys = requested(web, "release")
            quiet = web.ticks("regeneration")[-1]

        assert sorted(set(jobs)) == ["tiny_batch", "tiny_release"]
        assert jobs.count("tiny_release") == 1
        assert len(keys) == 1
        assert (quiet["status"], quiet["error"]) == ("SKIPPED", None)
        [version] = home.read("dataset_versions").rows(named=True)
        assert (version["version"], version["num_samples"]) == (1, 12)
        assert home.read("model_runs", dataset=DATASET)["num_samples"].to_list() == [12]
        assert max(provider.paid_calls.values()) == 1
        assert webhook.bodies == []


def test_a_short_batch_is_topped_up_by_the_sensor_and_then_left_alone(tmp_path: Path) -> None:
    """Nine answers in ten repeat one sentence, so three attempts do not bring twelve samples."""
    with ChatProvider(repeats=0.95) as provider, Webhook() as webhook:
        recipes = tiny(
            tmp_path, cron=EVERY_MINUTE, gates={"acceptance_share": {"min": 0.0, "because": "Not looked at."}}
        )
        home = Home(tmp_path / "home", provider.base_url, recipes, {WEBHOOK: webhook.address})
        with web_ui(home, tmp_path / "log") as web:
            web.switch_on(schedules=("tiny_schedule",), sensors=ALL)
            ended = wait_for(
                lambda: [t for t in web.ticks("regeneration") if "all 3 attempts" in (t["skipReason"] or "")]
            )
            wait_for(lambda: len(told_of(webhook, "run_id")) >= len(web.runs_ended("FAILURE")))
            wait_for(lambda: told_of(webhook, "key"))
            keys = requested(web, "regeneration")
            failed = web.runs_ended("FAILURE")
            released = requested(web, "release")

        [batch] = home.read("batches").rows(named=True)
        assert [key.rpartition("/")[2] for key in keys] == ["attempt-2", "attempt-3"]
        assert (batch["attempts"], batch["open_attempt"]) == (3, None)
        assert ended[0]["status"] == "SKIPPED"
        assert released == []
        assert max(provider.paid_calls.values()) == 1
        failures = told_of(webhook, "run_id")
        assert sorted(body["run_id"] for body in failures) == sorted(failed), "each failed run is told once"
        assert {(body["job"], body["partition"]) for body in failures} == {("tiny_batch", batch["batch"])}
        [trouble] = told_of(webhook, "key")
        assert trouble["text"].startswith(f"tiny {batch['batch']} has been red for")
