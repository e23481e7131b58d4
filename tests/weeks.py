"""A machine on which the project runs by itself, and what befalls it: killed processes, lost power, a volume away.

The processes are those of `make ui`, found by the home in their environment, so that none of them can hide.
"""

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from synth_assets.cli.web import any_free
from tests.command import SYNTH, Home
from tests.web import PATIENCE_S, Web, wait_for

PARTS = {
    "web server": "dagster_webserver",
    "daemon": "resources.daemon",
    "code server": "dagster code-server start",
    "code behind the server": "dagster api grpc",
    "supervisor": "synth ui",
    "worker": "multiprocessing.spawn",
}
"""A process of `make ui`, and what its command line holds."""


@dataclass
class Machine:
    """The web UI with everything it starts.

    Attributes:
        home: whose recipes and data.
        log: file for what the processes say.
    """

    home: Home
    log: Path
    port: int = field(default_factory=any_free)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.lose_power()

    def start(self) -> Web:
        """Switch it on, and return the web server once it answers."""
        with self.log.open("ab") as said:
            self._process = subprocess.Popen(
                [str(SYNTH), "ui", "--port", str(self.port)],
                env=self.home.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        web = Web(f"http://127.0.0.1:{self.port}")
        wait_for(lambda: self._is_up(web))
        return web

    def lose_power(self) -> None:
        """End every process at once, as a power cut does."""
        while pids := [pid for pid, _ in self.processes()]:
            for pid in pids:
                kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=PATIENCE_S)

    def kill(self, part: str) -> int:
        """End every process of one kind and return how many there were."""
        pids = [pid for pid, command in self.processes() if PARTS[part] in command]
        for pid in pids:
            kill(pid, signal.SIGKILL)
        return len(pids)

    def stop(self) -> None:
        """Switch it off as a person does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=PATIENCE_S)

    def processes(self) -> list[tuple[int, str]]:
        """Return id and command line of every process of this home, but for the model server."""
        mine = f"SYNTH_HOME={self.home.path}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it ended meanwhile
                continue
            if mine in environment and command and int(folder.name) != os.getpid():
                found.append((int(folder.name), command))
        return found

    def _is_up(self, web: Web) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(encoding="utf-8")[-3000:]
        try:
            return httpx2.get(f"{web.address}/server_info", timeout=5).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False


def kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
