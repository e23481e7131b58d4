"""Locks between processes, freed by their holder's death: files on one host, advisory locks on a team's server.

Whoever takes one asks for it by what it protects and never learns which kind it is.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import filelock

from resources.postgres import Server, process_of, this_process
from synth_assets.errors import StoppedError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812 - psycopg2's class has a small letter

SIGN_WAIT_S = 1.0
"""How long the sign of a lock is waited for: a look holds it for a moment at most."""

_HOLDER = """
    SELECT application_name
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) | objid::bigint = %s
"""


class Lock(Protocol):
    """One lock; an object of its own for everybody who may hold it."""

    where: str
    """Names the lock to a person, and no other lock."""

    def acquire(self, *, wait_s: float) -> bool:
        """Take the lock; False if somebody else still holds it after so many seconds."""

    def is_held(self) -> bool:
        """Whether it is still ours: a server that was restarted has forgotten it, and a file can be removed."""

    def is_taken(self) -> bool:
        """Whether somebody holds it; looking never takes it, so nobody is refused for it."""

    def holder(self) -> str:
        """Who holds it, for a person."""

    def release(self) -> None:
        """Give it back; harmless when it is not held."""

    def discard(self) -> None:
        """Give it back for good: what it protected has ended, and nobody will take it again."""


class FileLock:
    """A lock of one host."""

    def __init__(self, file: Path, *, is_signed: bool = False) -> None:
        """Prepare to lock a file.

        Args:
            file: made when it is missing.
            is_signed: leave word of the holder beside it.
        """
        self.where = str(file)
        self._file, self._is_signed = file, is_signed
        self._lock = filelock.FileLock(file, thread_local=False)
        self._sign = filelock.FileLock(file.with_suffix(".held"), thread_local=False)
        self._inode: tuple[int, int] | None = None

    def acquire(self, *, wait_s: float) -> bool:
        """Take the lock; see `Lock.acquire`."""
        if self._lock.is_locked and not self.is_held():
            self.release()  # of a file that is gone: holding it keeps nobody away
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=wait_s)
        except filelock.Timeout:
            return False
        self._inode = _inode(self._file)
        if self._is_signed:
            with suppress(OSError):  # a full disk: the lock holds without it
                self._note.write_text(this_process(), encoding="utf-8")
            self._take_sign()
        return True

    def _take_sign(self) -> None:
        try:
            self._sign.acquire(timeout=SIGN_WAIT_S)
        except filelock.Timeout:  # its holder lost the lock: what it says of it is not true any more
            Path(self._sign.lock_file).unlink(missing_ok=True)
            self._sign.acquire(timeout=SIGN_WAIT_S)

    def is_held(self) -> bool:
        """Whether it is ours: the file that others would lock is still the one that we have locked."""
        # The inode of a file we hold open is given to no other file.
        return self._lock.is_locked and self._inode is not None and _inode(self._file) == self._inode

    def is_taken(self) -> bool:
        """Whether somebody holds it; see `Lock.is_taken`.

        A signed lock comes with a second one for those who look: they may hold that for a moment, the lock never.
        """
        try:
            handle = os.open(self._sign.lock_file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def holder(self) -> str:
        """Return what the holder left beside the file."""
        told = self._note.read_text(encoding="utf-8") if self._note.is_file() else ""
        return told or "another process"

    def release(self) -> None:
        """Give it back."""
        self._sign.release()
        self._lock.release()

    def discard(self) -> None:
        """Give it back and remove its files."""
        for file in (self._note, Path(self._sign.lock_file), self._file):
            file.unlink(missing_ok=True)
        self.release()

    @property
    def _note(self) -> Path:
        return self._file.with_suffix(".holder")


class ServerLock:
    """A session advisory lock; every holder has a session of its own, because a session may take a lock twice."""

    def __init__(self, server: Server, name: str) -> None:
        self.where = f"advisory lock '{name}' on {server.shown}"
        self._server, self._key = server, advisory_key(name)
        self._session: Session | None = None

    def acquire(self, *, wait_s: float) -> bool:
        """Take the lock; see `Lock.acquire`.

        Raises:
            StoppedError: the server does not answer.
        """
        from psycopg2 import Error

        self.release()
        session = self._server.session()
        try:
            is_taken = self._take(session, wait_s)
        except Error as error:
            raise self._server.lost(error) from None
        if is_taken:
            self._session = session
        else:
            session.close()
        return is_taken

    def is_held(self) -> bool:
        """Whether the session that holds it still lives."""
        from psycopg2 import Error

        try:
            return self._session is not None and _value(self._session, "SELECT 1") == 1
        except Error:
            return False

    def is_taken(self) -> bool:
        """Whether somebody's session holds it."""
        with closing(self._server.session()) as session:
            return _value(session, _HOLDER, self._key) is not None

    def holder(self) -> str:
        """Return the process whose session holds it."""
        with closing(self._server.session()) as session:
            return process_of(str(_value(session, _HOLDER, self._key) or ""))

    def release(self) -> None:
        """Give it back with its session."""
        from psycopg2 import Error

        if self._session is None:
            return
        with closing(self._session) as session, suppress(Error):
            # Said aloud, because the server notices the end of a session only a moment later.
            _value(session, "SELECT pg_advisory_unlock(%s)", self._key)
        self._session = None

    def discard(self) -> None:
        """Give it back; a session leaves nothing behind."""
        self.release()

    def _take(self, session: "Session", wait_s: float) -> bool:
        from psycopg2.errors import LockNotAvailable

        if not wait_s:
            return bool(_value(session, "SELECT pg_try_advisory_lock(%s)", self._key))
        _value(session, "SELECT set_config('lock_timeout', %s, false)", f"{wait_s}s")
        try:
            _value(session, "SELECT pg_advisory_lock(%s)", self._key)
        except LockNotAvailable:
            return False
        return True


def _inode(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _value(session: "Session", sql: str, *values: object) -> object:
    with session.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return row[0] if row else None


def advisory_key(name: str) -> int:
    """Return the number by which Postgres knows a lock, a signed integer of 64 bits."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def commit_lock(home: Path, server: Server | None) -> Lock:
    """Return the lock of the lake's commit section."""
    return ServerLock(server, "commit") if server else FileLock(home / "catalog.lock")


def claim_lock(home: Path, server: Server | None, dataset: str, batch: str) -> Lock:
    """Return the lock of a batch, or of something else of a dataset that one process works on at a time."""
    if server:
        return ServerLock(server, f"claim {dataset} {batch}")
    return FileLock(home / "claims" / dataset / f"{batch.replace(':', '-')}.lock", is_signed=True)


def instance_lock(folder: Path, server: Server | None) -> Lock:
    """Return the lock under which Dagster's tables are made."""
    return ServerLock(server, "instance") if server else FileLock(folder / "storage.lock")


def run_lock(folder: Path, server: Server | None, run_id: str) -> Lock:
    """Return the lock that the process of a Dagster run holds from its first event to its last."""
    return ServerLock(server, f"run {run_id}") if server else FileLock(folder / "owners" / run_id, is_signed=True)


@contextmanager
def holding(lock: Lock, *, wait_s: float) -> Iterator[None]:
    """Hold a lock that everybody holds for a moment only.

    Raises:
        StoppedError: somebody held it all the time, or the server does not answer.
    """
    if not lock.acquire(wait_s=wait_s):
        raise StoppedError(
            f"another process has been writing for {wait_s:.0f} s", where=lock.where, fix="try again later"
        )
    try:
        yield
    finally:
        lock.release()
