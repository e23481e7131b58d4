"""Copying one file: hashed while it is read, synced when it is written; SQLite's own files by SQLite."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from resources.backups.manifest import Stored
from resources.objects import DISK_FULL
from synth_assets.errors import IntegrityError, StoppedError

CHUNK = 1 << 20
SQLITE = b"SQLite format 3\0"
BESIDE_SQLITE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file while it is open; in a copy by SQLite it is part of the file."""

BUSY_TIMEOUT_S = 60.0


def is_database(file: Path) -> bool:
    """Whether a file is one of SQLite's; one that was just begun may have everything beside it still."""
    with file.open("rb") as data:
        start = data.read(len(SQLITE))
    return start == SQLITE or (not start and file.with_name(f"{file.name}-wal").is_file())


def is_beside_database(file: Path) -> bool:
    """Whether a file is what SQLite keeps beside one of its own."""
    ending = next((each for each in BESIDE_SQLITE if file.name.endswith(each)), None)
    return ending is not None and file.with_name(file.name.removesuffix(ending)).is_file()


def copied(source: Path, target: Path, *, upto: int | None = None, tail: bytes = b"") -> Stored:
    """Copy a file, with its mode and time of change, and sync the copy.

    Args:
        source: may grow meanwhile; what it holds when it is opened is copied.
        target: a new file; its folder is made.
        upto: copy only so many bytes of it.
        tail: written behind them.

    Raises:
        FileNotFoundError: the source is gone.
        StoppedError: there is no room for the copy.
    """
    hashed = hashlib.sha256()
    with source.open("rb") as read, _written(target) as write:
        state = os.fstat(read.fileno())
        left = size = state.st_size if upto is None else upto
        while left and (chunk := read.read(min(CHUNK, left))):
            left -= len(chunk)
            hashed.update(chunk)
            write.write(chunk)
        hashed.update(tail)
        write.write(tail)
        write.flush()
        os.fchmod(write.fileno(), state.st_mode & 0o777)
        os.utime(write.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))
        os.fsync(write.fileno())
    return Stored(size - left + len(tail), hashed.hexdigest())


@contextmanager
def _written(target: Path) -> Iterator:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as write:
            yield write
    except OSError as error:
        raise (no_room(target) if error.errno in DISK_FULL else error) from None


@contextmanager
def snapshot(database: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that sees an SQLite file as it is now, whatever others commit to it meanwhile.

    Nobody waits for it as long as the file has a write-ahead log, as all of ours do. The process must not have the file
    open through another copy of SQLite, such as DuckDB's: to close it here would drop the locks that one holds.

    Raises:
        FileNotFoundError: it is gone.
        IntegrityError: it is damaged.
    """
    address = f"file:{quote(str(database))}?mode=rw"
    with ExitStack() as kept:
        try:
            opened = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            connection = kept.enter_context(closing(opened))
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise _unread(error, database) from None
        yield connection


def copied_database(connection: sqlite3.Connection, database: Path, target: Path) -> Stored:
    """Copy an SQLite file as a `snapshot` of it sees it, and sync the copy.

    Raises:
        IntegrityError: it is damaged.
        StoppedError: there is no room for the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Without locks: nobody else knows of the copy, and not every disk for backups has them.
    address = f"file:{quote(str(target))}?vfs=unix-none"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = OFF")
            connection.backup(copy)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise no_room(target) from None
        raise _unread(error, database) from None
    with target.open("rb") as data:
        os.fsync(data.fileno())
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
    state = database.stat()
    target.chmod(state.st_mode & 0o777)
    return Stored(target.stat().st_size, sha256)


def _unread(error: sqlite3.Error, database: Path) -> Exception:
    if not database.exists():
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(database))
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoppedError(
            f"another process has been writing for {BUSY_TIMEOUT_S:.0f} s", where=str(database), fix="try again later"
        )
    return IntegrityError(
        f"a file of SQLite cannot be read ({error.sqlite_errorname})",
        where=str(database),
        fix="`synth doctor` looks at the set-up; restore the file from an older backup",
    )


def no_room(where: Path) -> StoppedError:
    """Say that the disk that is written to is full."""
    return StoppedError(
        "the disk is full or a file size limit was reached; nothing was left there",
        where=str(where),
        fix="free some space there, or name another disk, then run the same command again",
    )


def is_gone(error: OSError) -> bool:
    """Whether a file went away under its reader."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)
