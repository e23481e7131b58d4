"""The embedded model: found or started as a loopback server, one per host and home.

Three file locks and a port file in ``<home>/runtime/<host>/`` say who is there. The kernel frees a lock with its
holder:

- ``start``  held while somebody looks for the server or starts it, so two at once get one server,
- ``alive``  held by the server as long as it lives, so a stale port file is known as such,
- ``lease``  shared by every client at work, so the server knows whether it is needed.

The server process itself is `resources.llm.server`. It is stopped by removing its port file, never by a signal: a
process id from a file may by now belong to somebody else.
"""

import fcntl
import hashlib
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

from resources.llm.provider import Address
from resources.llm.server import NONCE
from resources.llm.weights import MODEL_NAME, read_json
from synth_assets.errors import StoppedError

CONTEXT_TOKENS = 2048
SLOTS = 1
"""Requests decoded at once; with one, the same seed gives the same text in any order."""

IDLE_S = 300.0
"""How long a server that nobody needs stays, in seconds."""

START_LIMIT_S = 120
HEALTH_S = 15.0
"""A busy host may answer late; a server that is gone refuses at once."""

POLL_S = 0.02
MAX_RESTARTS = 1
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""The environment of the server; keys and tokens of ours are not among it."""


class EmbeddedServer:
    """The loopback server of one model, shared by all processes of a home on this host.

    Args:
        home: SYNTH_HOME.
        model: file of the weights.
        model_sha256: its hash; another model or another shape is another server.
        idle_s: how long the server outlives its last client, in seconds.
        threads: threads of the runtime; more than half of the shared cores made it slower.
    """

    def __init__(
        self, home: Path, model: Path, model_sha256: str, *, idle_s: float = IDLE_S, threads: int | None = None
    ) -> None:
        self._folder = home.resolve() / "runtime" / _host()
        self._model = model
        self._idle_s = idle_s
        self._threads = threads or max(1, _cores() // 2)
        shape = f"{model_sha256}:{CONTEXT_TOKENS}:{SLOTS}:{self._threads}"
        self._name = f"llm-{hashlib.sha256(shape.encode()).hexdigest()[:12]}"
        self._lease: int | None = None
        self._restarts = 0

    @property
    def slots(self) -> int:
        """Requests it decodes at once."""
        return SLOTS

    def open(self) -> Address:
        """Take the lease and return the server's address, starting it if need be.

        Raises:
            StoppedError: it does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lease is None:
            self._restarts = 0
            self._lease = _open_lock(self._path("lease"))
            fcntl.flock(self._lease, fcntl.LOCK_SH)
        with self._starting():
            return self._healthy() or self._start()

    def mend(self) -> Address:
        """Return the address after a connection failed: the same if the server lives, else that of a new one, once.

        Raises:
            StoppedError: it died again.
        """
        with self._starting():
            address = self._healthy()
            if address is not None:
                return address
            if self._restarts >= MAX_RESTARTS:
                raise self._failed("the embedded model's server died again after a restart")
            self._restarts += 1
            return self._start()

    def close(self) -> None:
        """Give the lease back; the server ends by itself when nobody takes it for a while."""
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None

    def stop(self) -> bool:
        """End the server now unless another client needs it; return whether none is left."""
        if not self._folder.is_dir():
            return True
        with self._starting():
            lease = _open_lock(self._path("lease"))
            try:
                if not _try_lock(lease):
                    return False
                self._retire()
            finally:
                os.close(lease)
        return True

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"

    @contextmanager
    def _starting(self) -> Iterator[None]:
        lock = _open_lock(self._path("start"))
        try:
            self._wait(lambda: _try_lock(lock), "another process has been starting the embedded model for too long")
            yield
        finally:
            os.close(lock)

    @property
    def is_alive(self) -> bool:
        """Whether a server process of this model lives on this host, ready or not."""
        return self._folder.is_dir() and self._is_alive()

    def _is_alive(self) -> bool:
        alive = _open_lock(self._path("alive"))
        try:
            return not _try_lock(alive)
        finally:
            os.close(alive)

    def _address(self) -> Address | None:
        found = read_json(self._path("json"))
        base_url, api_key = found.get("base_url"), found.get("api_key")
        return Address(base_url, api_key) if isinstance(base_url, str) and isinstance(api_key, str) else None

    def _healthy(self) -> Address | None:
        """Return the address of a server that lives and answers."""
        address = self._address() if self._is_alive() else None
        if address is None:
            return None
        request = urllib.request.Request(  # noqa: S310 - a loopback address from a file only the owner can write
            f"{address.base_url.removesuffix('/v1')}/health", headers={"Authorization": f"Bearer {address.api_key}"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=HEALTH_S) as reply:
                return address if reply.status == HTTPStatus.OK else None
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def _retire(self) -> None:
        """Make a server that is there leave, whatever state it is in."""

        def is_gone() -> bool:
            self._path("json").unlink(missing_ok=True)  # again and again: it may just be starting
            return not self._is_alive()

        self._wait(is_gone, "an earlier server of the embedded model does not end")
        _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]

    def _start(self) -> Address:
        """Replace whatever is there by a fresh server and wait until it listens."""
        self._retire()
        nonce = secrets.token_hex(16)
        with self._path("log").open("wb") as log:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | {NONCE: nonce},
                start_new_session=True,  # Ctrl-C here is not meant for it
            )
        _CHILDREN.append(child)
        self._wait(lambda: self._is_published(nonce) or child.poll() is not None, "the embedded model does not start")
        address = self._healthy()
        if address is None:
            raise self._failed("the embedded model's server ended while starting")
        return address

    def _is_published(self, nonce: str) -> bool:
        address = self._address()
        return address is not None and address.api_key == nonce

    def _command(self) -> list[str]:
        script = Path(__file__).with_name("server.py")
        options = {
            "model": self._model,
            "alias": MODEL_NAME,
            "alive": self._path("alive"),
            "lease": self._path("lease"),
            "start-lock": self._path("start"),
            "port-file": self._path("json"),
            "threads": self._threads,
            "slots": SLOTS,
            "context": CONTEXT_TOKENS,
            "start-limit-s": START_LIMIT_S,
            "idle-s": self._idle_s,
        }
        # -P: the script's folder must not shadow modules of the runtime
        return [sys.executable, "-P", str(script), *(f"--{name}={value}" for name, value in options.items())]

    def _wait(self, is_so: Callable[[], bool], else_what: str) -> None:
        until = time.monotonic() + START_LIMIT_S
        while not is_so():
            if time.monotonic() > until:
                raise self._failed(else_what)
            time.sleep(POLL_S)

    def _failed(self, what: str) -> StoppedError:
        return StoppedError(what, where=str(self._path("log")), fix="read that log, then run the same command again")


_CHILDREN: list[subprocess.Popen[bytes]] = []
"""Servers this process started; kept so that they are reaped when they end."""


def _cores() -> int:
    with suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname()) or "host"


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
