"""Services that are kept running: started again when they die or stand still, given up when that mends nothing."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.daemon import DAEMON
from resources.instance import dagster_home
from resources.owners import Owners
from synth_assets.cli import services
from synth_assets.cli.services import MOST_DEATHS, Ended, Service, keep_running
from tests.command import Home, tiny

COUNTS = """
import pathlib, sys, time
file = pathlib.Path({file!r})
n = len(file.read_text()) if file.exists() else 0
file.write_text("x" * (n + 1))
"""
"""A service that writes down how often it began."""


def counting(file: Path, then: str) -> list[str]:
    return [sys.executable, "-c", COUNTS.format(file=str(file)) + then]


def starts(file: Path) -> int:
    return len(file.read_text()) if file.exists() else 0


def asked_to_end(when: Callable[[], bool]) -> None:
    """Send this process what `synth ui` gets from a person, once something is true."""

    def wait() -> None:
        until = time.monotonic() + 60
        while not when() and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def test_a_service_that_dies_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    mortal, lasting = tmp_path / "mortal", tmp_path / "lasting"
    asked_to_end(lambda: starts(mortal) == 3)

    ended = keep_running(
        [
            Service("lasting", counting(lasting, "time.sleep(600)")),
            Service("mortal", counting(mortal, "time.sleep(600) if n == 2 else sys.exit(1)")),
        ],
        {},
    )

    assert ended is None
    assert (starts(mortal), starts(lasting)) == (3, 1)


def test_a_service_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    ended = keep_running([Service("mortal", counting(tmp_path / "mortal", "sys.exit(7)"))], {})

    assert ended == Ended("mortal", 7)
    assert starts(tmp_path / "mortal") == MOST_DEATHS + 1


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_service_that_refuses_to_run_is_not_started_again(tmp_path: Path, code: int) -> None:
    ended = keep_running([Service("refusing", counting(tmp_path / "refusing", f"sys.exit({code})"))], {})

    assert ended == Ended("refusing", code)
    assert starts(tmp_path / "refusing") == 1


def test_a_service_that_lives_and_does_nothing_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "STUCK_S", 0.5)
    monkeypatch.setattr(services, "PROBE_EVERY_S", 0.1)
    file = tmp_path / "frozen"
    asked_to_end(lambda: starts(file) == 2)
    looks: list[bool] = []

    def is_ready() -> bool:
        """Once, and never again."""
        looks.append(starts(file) > 0)
        return looks.count(True) == 1

    assert keep_running([Service("frozen", counting(file, "time.sleep(600)"), is_ready=is_ready)], {}) is None
    assert starts(file) == 2


def test_a_second_daemon_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", recipes=tiny(tmp_path))
    with home.entered():
        first = Owners(dagster_home(), None)
    assert first.own(DAEMON)

    said = home.call("ui", "--port", "38123")

    assert said.code == 3
    assert f"process {os.getpid()} on" in said.err
    assert "runs the schedules and sensors of this instance already" in said.err
    first.give_back(DAEMON)
