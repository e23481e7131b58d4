"""Nobody looks for weeks: the machine loses its power and its processes one by one, and everything gets done."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from synth_assets.jobs import BATCH_ASSETS
from tests.command import DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.torture import findings, journaled
from tests.web import Web, wait_for
from tests.weeks import Machine

CHAIN = tuple(map(str, BATCH_ASSETS))
BATCHES = [f"2026-11-{day:02d}" for day in range(1, 13)]
ACCEPT = 12
AT_ONCE = 4
T = TypeVar("T")
OVER = {"SUCCESS", "FAILURE", "CANCELED"}


def patient(asked: Callable[[], T]) -> T | None:
    """Return what the web server says, or nothing while it is away."""
    try:
        return asked()
    except httpx2.HTTPError:
        return None


def started(web: Web) -> list[str]:
    return [run["runId"] for run in web.runs() if run["status"] == "STARTED"]


def green(web: Web) -> set[str]:
    return {key for key, colour in web.partitions(DATASET, "training_ready").items() if colour == "MATERIALIZED"}


def done(web: Web, batches: list[str] = BATCHES) -> bool:
    return green(web) == set(batches)


@pytest.mark.slow
def test_a_machine_that_loses_its_power_goes_on_by_itself(tmp_path: Path) -> None:
    recipes = tiny(tmp_path, batch={"accept": ACCEPT}, generator={"concurrency": 2})
    with (
        ChatProvider(latency_s=0.1) as provider,
        Machine(Home(tmp_path / "home", provider.base_url, recipes), tmp_path / "log") as machine,
    ):
        web = machine.start()
        web.backfill(DATASET, CHAIN, BATCHES)
        wait_for(lambda: len(started(web)) == AT_ONCE and len(provider.requests) > AT_ONCE)
        machine.lose_power()
        sent, durable = provider.call_ids, journaled(machine.home)

        web = machine.start()
        for part in ("worker", "daemon", "web server", "code behind the server", "code server"):
            before = len(provider.requests)
            wait_for(lambda before=before: len(provider.requests) > before + AT_ONCE or patient(lambda: done(web)))
            assert machine.kill(part) or done(web)
        wait_for(lambda: patient(lambda: done(web)))
        wait_for(lambda: all(run["status"] in OVER for run in web.runs()))
        machine.stop()

    assert not durable & set(provider.call_ids[len(sent) :]), "what was on disk is not paid again"
    assert max(provider.paid_calls.values()) <= 3
    assert machine.home.read("training_examples", dataset=DATASET).height == ACCEPT * len(BATCHES)
    assert findings(machine.home) == []


@pytest.mark.long
def test_a_volume_that_goes_away_and_comes_back_costs_nothing_but_time(tmp_path: Path) -> None:
    """Nobody makes a new home in its place, and what failed meanwhile is resumed by the sensor."""
    recipes = tiny(tmp_path, batch={"accept": ACCEPT}, generator={"concurrency": 2})
    batches = BATCHES[:AT_ONCE]
    with (
        ChatProvider(latency_s=0.1) as provider,
        Machine(Home(tmp_path / "home", provider.base_url, recipes), tmp_path / "log") as machine,
    ):
        home = machine.home.path
        web = machine.start()
        web.switch_on(sensors=("regeneration",))
        web.backfill(DATASET, CHAIN, batches)
        wait_for(lambda: len(started(web)) > 1 and len(provider.requests) > AT_ONCE)
        home.rename(tmp_path / "away")
        wait_for(lambda: "SYNTH_HOME is not there" in machine.log.read_text(encoding="utf-8"))
        assert not home.exists()
        (tmp_path / "away").rename(home)

        wait_for(lambda: patient(lambda: done(web, batches)))
        wait_for(lambda: all(run["status"] in OVER for run in web.runs()))
        machine.stop()

    assert max(provider.paid_calls.values()) <= 2
    assert machine.home.read("training_examples", dataset=DATASET).height == ACCEPT * len(batches)
    assert findings(machine.home) == []
