"""`synth ui`: a port that is taken starts nothing, and whatever ends it ends everything it started."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.places import PROJECT
from synth_assets.cli.web import is_free
from tests.command import Home

TREE = """
import os, pathlib, subprocess, sys, time
leaf = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({file!r}).write_text(f"{{os.getpid()}} {{leaf.pid}}")
time.sleep(600)
"""
"""A server with a child of its own; neither hears anything but a signal."""

SERVE = """
import sys
from synth_assets.cli.services import Service, keep_running
sys.exit(7 if keep_running([Service("server", [sys.executable, "-c", sys.argv[1]])], {}) else 0)
"""
HEARS_HUP = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
"""The tests themselves may run under nohup."""

DEAF_TO_INT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
)
PATIENCE_S = 60


def test_a_taken_port_is_refused_before_anything_starts_and_a_free_one_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        told = home.call("ui", "--port", str(port))

    assert told.code == 2
    assert f"port {port} " in told.err
    named = int(told.err.partition("PORT=")[2].partition("`")[0])
    assert named != port
    assert is_free(named)
    assert not home.path.exists()


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_what_is_no_port_is_a_mistake_of_usage(tmp_path: Path, port: str) -> None:
    assert Home(tmp_path).call("ui", "--port", port).code == 2


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("launcher", [(sys.executable, "-c", HEARS_HUP), ("nohup",)], ids=["terminal", "nohup"])
def test_a_signal_ends_the_server_with_its_children(tmp_path: Path, end: int, launcher: tuple[str, ...]) -> None:
    """A shell starts what runs behind it with INT ignored, and nohup ignores HUP: that one alone is meant."""
    file = tmp_path / "pids"
    python = sys.executable
    command = [*launcher, python, "-c", DEAF_TO_INT, python, "-c", SERVE, TREE.format(file=str(file))]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pids = written(file)

    process.send_signal(end)
    if launcher == ("nohup",) and end == signal.SIGHUP:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=PATIENCE_S) == 0
    process.communicate()
    assert [pid for pid in pids if runs(pid)] == []


def written(file: Path) -> list[int]:
    until = time.monotonic() + PATIENCE_S
    while not (file.is_file() and len(file.read_text().split()) == 2):
        assert time.monotonic() < until
        time.sleep(0.05)
    return [int(pid) for pid in file.read_text().split()]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
