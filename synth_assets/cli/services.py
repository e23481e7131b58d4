"""Processes that are kept running: one that dies is started again, and none is left behind in the end."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from resources.places import PROJECT
from synth_assets.cli.output import note, say

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 60.0
"""How long what runs may take to end by itself: batches let the calls in flight come in."""
LOOK_EVERY_S = 0.2
READY_WITHIN_S = 180.0
"""How long what others need may take to begin; they are started then in any case and wait for it themselves."""

PROBE_EVERY_S = 10.0
STUCK_S = 120.0
"""Longest silence of a service that lives: Dagster's code server does not notice that the process behind it is gone."""

MOST_DEATHS, WITHIN_S = 5, 300.0
"""A service that dies more often in so many seconds is not started again: something is wrong that a start mends not."""
REFUSALS = frozenset({2, 3, 4})
"""Exit codes by which our own processes say that they may not run."""


@dataclass
class Service:
    """A process to keep running.

    Attributes:
        name: for a person.
        command: what to execute, in the checkout.
        is_ready: whether it does its work; None believes it as long as it lives.
        worked_at: when it was last seen to, by the clock that never jumps.
    """

    name: str
    command: list[str]
    is_ready: Callable[[], bool] | None = None
    worked_at: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)

    def start(self, variables: Mapping[str, str]) -> int:
        """Start it as a group of its own, and return the group's id.

        Args:
            variables: of its environment, beside our own.
        """
        self.worked_at = time.monotonic()
        environment = {**os.environ, "DAGSTER_HOME": str(PROJECT), "DAGSTER_DISABLE_TELEMETRY": "1", **variables}
        self.process = subprocess.Popen(self.command, cwd=PROJECT, env=environment, start_new_session=True)  # noqa: S603 - ours
        return self.process.pid

    def probe(self) -> None:
        """See for ever whether it does its work."""
        while self.is_ready is not None:
            if self.is_ready():
                self.worked_at = time.monotonic()
            time.sleep(PROBE_EVERY_S)

    def is_stuck(self) -> bool:
        """Whether it lives and has not done its work for long."""
        return self.is_ready is not None and time.monotonic() - self.worked_at > STUCK_S

    def may_start_again(self) -> bool:
        """Whether it died seldom enough; call it once for every death."""
        now = time.monotonic()
        self.deaths = [each for each in self.deaths if now - each < WITHIN_S] + [now]
        return len(self.deaths) <= MOST_DEATHS


@dataclass(frozen=True)
class Ended:
    """A service that is not started again, and its exit code."""

    name: str
    code: int


def keep_running(services: Sequence[Service], variables: Mapping[str, str]) -> Ended | None:
    """Keep services running until a signal asks us to end, and leave none of their processes behind.

    Args:
        services: in the order they are started; each waits for the one before to be ready.
        variables: of their environment, beside our own.

    Returns:
        The service that could not be kept running; None if we were asked to end.
    """
    with Signals() as signals, _groups(services, signals) as groups:
        for each in services:
            groups.append(each.start(variables))
            _wait(each, signals)
            threading.Thread(target=each.probe, daemon=True).start()
        while not signals.seen:
            time.sleep(LOOK_EVERY_S)
            for each in services:
                code = _ended(each)
                if code is None:
                    continue
                if code in REFUSALS or not each.may_start_again():
                    return Ended(each.name, code)
                note(f"the {each.name} ended by itself (exit {code}) and is started again; what runs goes on")
                groups.append(each.start(variables))
        return None


def _ended(service: Service) -> int | None:
    """Return the exit code of a service that has ended; one that lives and does not work is ended here."""
    if service.process is None:
        return None
    if service.process.poll() is None and service.is_stuck():
        note(f"the {service.name} has not answered for {STUCK_S:.0f} s and is ended")
        service.process.kill()
        service.process.wait()
    return service.process.poll()


def _wait(service: Service, signals: "Signals") -> None:
    until = time.monotonic() + READY_WITHIN_S
    if service.is_ready is None:
        return
    while not (signals.seen or service.is_ready() or time.monotonic() > until):
        if service.process is None or service.process.poll() is not None:
            return
        time.sleep(LOOK_EVERY_S)


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
def _groups(services: Sequence[Service], signals: Signals) -> Iterator[list[int]]:
    """Yield the list of groups to end, whatever happens; a service that was started again leaves its workers in one."""
    groups: list[int] = []
    try:
        yield groups
    finally:
        _end(groups, signals)
        for each in services:
            if each.process is not None:
                each.process.wait()


def _end(groups: Sequence[int], signals: Signals) -> None:
    """Ask every process of the groups to end, and make them end when they do not or are asked again."""
    asked, until = signals.seen, time.monotonic() + GRACE_S
    if _living(groups):
        say("ending the web UI and what it runs; once more ends it at once")
    _tell(groups, signal.SIGTERM)
    while _living(groups) and time.monotonic() < until and signals.seen == asked:
        time.sleep(LOOK_EVERY_S)
    _tell(groups, signal.SIGKILL)
    while _living(groups):
        time.sleep(LOOK_EVERY_S)


def _tell(groups: Sequence[int], number: int) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


def _living(groups: Sequence[int]) -> set[int]:
    """Return the groups of which a process still runs; one that ended and that nobody asked about does not."""
    fields = [_stat(file) for file in Path("/proc").glob("[0-9]*/stat")]
    if not fields:
        return {group for group in groups if _answers(group)}
    return {int(each[2]) for each in fields if len(each) > 2 and each[0] not in "ZX"} & set(groups)  # noqa: PLR2004 - state, parent, group


def _answers(group: int) -> bool:
    """Whether a group has processes, where there is no /proc to look into."""
    with suppress(ChildProcessError):
        os.waitpid(-group, os.WNOHANG)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _stat(file: Path) -> list[str]:
    """Return state, parent and group of a process; nothing if it has ended meanwhile."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except OSError:
        return []
