"""`synth ui`: the web UI and the daemon of this home, on a port that is free, and nothing left behind when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from resources.places import PROJECT
from synth_assets.cli.output import say
from synth_assets.cli.project import Project
from synth_assets.errors import StoppedError, UsageError

HOST = "127.0.0.1"
HIGHEST_PORT = 65_535
PORTS_TRIED = 100

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 60.0
"""How long what runs may take to end by itself: batches let the calls in flight come in."""
LOOK_EVERY_S = 0.2


@click.command()
@click.option("--port", type=click.IntRange(1, HIGHEST_PORT), default=3000, show_default=True, help="Port on loopback.")
def ui(*, port: int) -> None:
    """Start the web UI with schedules and sensors on 127.0.0.1, until Ctrl-C.

    INT, TERM and HUP end it with everything it started; under nohup HUP is ignored. A second signal ends at once.
    """
    refuse_taken(port)
    Project(may_begin=True).begin()
    command = [str(Path(sys.executable).with_name("dg")), "dev", "-w", "workspace.yaml", "--host", HOST]
    code = serve([*command, "--port", str(port)])
    if code is not None:
        raise StoppedError(
            f"the web UI ended by itself (exit {code})",
            where=f"http://{HOST}:{port}",
            fix="its last lines above say why; `synth doctor` looks at the rest",
        )


def serve(command: list[str]) -> int | None:
    """Run a command in the checkout until it ends or a signal asks us to, and leave none of its processes behind.

    Returns:
        Its exit code; None if it was asked to end.
    """
    with Signals() as signals, _started(command, signals) as server:
        while not signals.seen and server.poll() is None:
            time.sleep(LOOK_EVERY_S)
        return None if signals.seen else server.returncode


def refuse_taken(port: int) -> None:
    """Refuse a port that nothing could listen on, naming one that is free.

    Raises:
        UsageError: somebody listens there, or the system does not let us.
    """
    if is_free(port):
        return
    others = range(port + 1, min(port + PORTS_TRIED, HIGHEST_PORT) + 1)
    free = next((other for other in others if is_free(other)), 0) or any_free()
    raise UsageError(
        f"port {port} cannot be listened on: it is taken or not allowed; nothing was started",
        where=f"{HOST}:{port}",
        fix=f"`make ui PORT={free}` (or `synth ui --port {free}`), which is free now, or end what listens there",
    )


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of this machine's loopback now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: an ended one's port is free
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            return False
    return True


def any_free() -> int:
    """Return a port of the system's choice."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


class Signals:
    """What asks us to end, counted; also where a shell started us with it ignored, but for nohup's HUP."""

    def __init__(self) -> None:
        self.seen = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        for number in ENDING:
            before = signal.getsignal(number)
            if number == signal.SIGHUP and before is signal.SIG_IGN:
                continue  # nohup: whoever started us wants us to outlive the terminal
            self._before[number] = before
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.seen += 1


@contextmanager
def _started(command: list[str], signals: Signals) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as a group of its own, and end the whole group whatever happens."""
    environment = {**os.environ, "DAGSTER_HOME": str(PROJECT), "DAGSTER_DISABLE_TELEMETRY": "1"}
    server = subprocess.Popen(command, cwd=PROJECT, env=environment, start_new_session=True)  # noqa: S603 - ours
    try:
        yield server
    finally:
        _end(server, signals)


def _end(server: subprocess.Popen[bytes], signals: Signals) -> None:
    """Ask every process of the group to end, and make them end when they do not or are asked again."""
    asked, until = signals.seen, time.monotonic() + GRACE_S
    if _is_alive(server):
        say("ending the web UI and what it runs; once more ends it at once")
    _tell(server.pid, signal.SIGTERM)
    while _is_alive(server) and time.monotonic() < until and signals.seen == asked:
        time.sleep(LOOK_EVERY_S)
    _tell(server.pid, signal.SIGKILL)
    server.wait()


def _tell(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _is_alive(server: subprocess.Popen[bytes]) -> bool:
    """Whether a process of the group still runs; one that ended and that nobody asked about does not."""
    if server.poll() is None:
        return True
    stats = Path("/proc").glob("[0-9]*/stat")
    fields = [_stat(file) for file in stats]
    if fields:
        return any(len(each) > 2 and each[2] == str(server.pid) and each[0] not in "ZX" for each in fields)  # noqa: PLR2004 - state, parent, group
    try:
        os.killpg(server.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _stat(file: Path) -> list[str]:
    """Return state, parent and group of a process; nothing if it has ended meanwhile."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except OSError:
        return []
