"""The moment a backup is of: what has to belong together, noted while nobody may commit.

The commit section is held for no longer than it takes to look: the catalog is read later through a snapshot that was
opened meanwhile. What is noted of the ledgers and of the releases says which part of them the catalog knows.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resources.backups.copying import snapshot
from resources.home import CATALOG
from resources.lake.ledger import Ledger, last_entry
from resources.locks import commit_lock, holding

LOCK_WAIT_S = 120


@dataclass(frozen=True)
class LedgerEnd:
    """How far a ledger is copied.

    Attributes:
        size: bytes up to its last entry, which stay as they are.
        rest: what stood behind it: a commit whose process died, which the next one may cut off or complete.
    """

    size: int
    rest: bytes


@dataclass(frozen=True)
class ReleaseFolder:
    """A folder below ``releases/<dataset>/``, by what it was called and what it is.

    A release is staged, committed and renamed: one that was seen staged is copied under that name, whatever it is
    called by then, because only the catalog's entry makes it a version.
    """

    path: Path
    inode: int

    def now(self) -> Path | None:
        """Return where the folder is; None if it was swept."""
        if self._is(self.path):
            return self.path
        return next((each for each in self.path.parent.glob("v*") if self._is(each)), None)

    def _is(self, path: Path) -> bool:
        try:
            return path.stat().st_ino == self.inode
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Moment:
    """What belongs together.

    Attributes:
        at: when it was.
        catalog: the catalog as it was.
        ledgers: by dataset.
        releases: every folder there was.
    """

    at: datetime
    catalog: sqlite3.Connection
    ledgers: dict[str, LedgerEnd]
    releases: list[ReleaseFolder]


@contextmanager
def moment_of(home: Path) -> Iterator[Moment]:
    """Yield a moment at which nobody commits; others may by the time it is yielded.

    Raises:
        StoppedError: somebody commits all the time.
        IntegrityError: the catalog is damaged.
    """
    ledger = Ledger(home / "ledger")
    with ExitStack() as kept:
        with holding(commit_lock(home, None), wait_s=LOCK_WAIT_S):
            catalog = kept.enter_context(snapshot(home / CATALOG))
            moment = Moment(
                at=datetime.now(UTC),
                catalog=catalog,
                ledgers={dataset: _end(ledger.file(dataset)) for dataset in ledger.datasets()},
                releases=[ReleaseFolder(path, path.stat().st_ino) for path in sorted((home / "releases").glob("*/*"))],
            )
        yield moment


def _end(file: Path) -> LedgerEnd:
    handle = os.open(file, os.O_RDONLY)
    try:
        size, _ = last_entry(handle)
        return LedgerEnd(size, os.pread(handle, os.fstat(handle).st_size - size, size))
    finally:
        os.close(handle)
