"""One open lake per home and process: attaching costs more than most of what is then asked."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.home import has_room, is_home, is_writable, no_home
from resources.lake.head_file import VARIABLE as HEAD_FILE
from resources.lake.signing import KEY
from resources.lake.store import DuckLake, open_lake
from resources.postgres import catalog_server

SETTINGS = ("SYNTH_CATALOG", "SYNTH_ACTOR", KEY, HEAD_FILE)
"""Variables a lake is opened with: whoever sets one otherwise gets another lake."""

_open: dict[tuple[Path, tuple[str | None, ...]], "_Lease"] = {}
_mutex = threading.RLock()
"""Reentrant: a lease that nobody closed is let go by the garbage collector, which may run while we hold this."""


@dataclass
class _Lease:
    lake: DuckLake
    holders: int


@contextmanager
def leased_lake(home: Path) -> Iterator[DuckLake]:
    """Yield the lake of a home, shared with everybody in this process; the last one to let go closes it."""
    opened_as = (home, tuple(os.environ.get(name) for name in SETTINGS))
    with _mutex:
        lease = _open.get(opened_as)
        if lease is None:
            lease = _open[opened_as] = _Lease(open_lake(home), 0)
        lease.holders += 1
    try:
        yield lease.lake
    finally:
        with _mutex:
            lease.holders -= 1
            if lease.holders == 0:
                del _open[opened_as]
                lease.lake.close()


@contextmanager
def reading_lake(home: Path) -> Iterator[DuckLake]:
    """Yield the lake of a home for a command that only reads: where there is none, none is made.

    A home that cannot be written to, or whose disk is full, is read from a copy of its catalog, without a lock.

    Raises:
        UsageError: the folder is no home.
    """
    server = catalog_server(os.environ)
    if not is_home(home):
        raise no_home(home)
    if is_writable(home) and (server is not None or has_room(home)):
        with leased_lake(home) as lake:
            yield lake
        return
    reading = DuckLake(home, server, os.environ, is_read_only=True)
    try:
        yield reading
    finally:
        reading.close()
