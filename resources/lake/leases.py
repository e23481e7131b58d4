"""One open lake per home and process: attaching costs more than most of what is then asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.lake.store import DuckLake, open_lake

_open: dict[Path, "_Lease"] = {}
_mutex = threading.RLock()
"""Reentrant: a lease that nobody closed is let go by the garbage collector, which may run while we hold this."""


@dataclass
class _Lease:
    lake: DuckLake
    holders: int


@contextmanager
def leased_lake(home: Path) -> Iterator[DuckLake]:
    """Yield the lake of a home, shared with everybody in this process; the last one to let go closes it."""
    with _mutex:
        lease = _open.get(home)
        if lease is None:
            lease = _open[home] = _Lease(open_lake(home), 0)
        lease.holders += 1
    try:
        yield lease.lake
    finally:
        with _mutex:
            lease.holders -= 1
            if lease.holders == 0:
                del _open[home]
                lease.lake.close()
