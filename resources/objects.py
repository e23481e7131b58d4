"""Payload files: immutable, named by the hash of their bytes, written and synced before anything names them."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synth_assets.canonical import sha256
from synth_assets.domain.transactions import StoredObject
from synth_assets.errors import IntegrityError, StoppedError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

LEAST_BYTES = 64 * 1024
"""With less room the catalog cannot even be read: what SQLite's readers share takes half of it."""


class ObjectFiles:
    """Content-addressed files under ``root``: ``ab/abcdef....parquet``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, object_sha256: str, suffix: str) -> Path:
        """Return where an object lives."""
        return self.root / object_sha256[:2] / f"{object_sha256}{suffix}"

    def put(self, data: bytes, suffix: str) -> StoredObject:
        """Store bytes; storing the same bytes again is free.

        Raises:
            StoppedError: the disk is full.
        """
        name = sha256(data)
        target = self.path(name, suffix)
        if not target.is_file():
            write_synced(target, data)
        return StoredObject(sha256=name, suffix=suffix, num_bytes=len(data))

    def get(self, object_sha256: str, suffix: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            IntegrityError: the file is gone or was changed.
        """
        target = self.path(object_sha256, suffix)
        try:
            data = target.read_bytes()
        except FileNotFoundError:
            raise IntegrityError("a payload file is gone", where=str(target), fix="restore it from a backup") from None
        if sha256(data) != object_sha256:
            raise IntegrityError("a payload file was changed", where=str(target), fix="restore it from a backup")
        return data


def write_synced(target: Path, data: bytes) -> None:
    """Write a file so that after a crash it is there whole or not at all.

    Raises:
        StoppedError: the disk is full; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        staged.unlink(missing_ok=True)
        if error.errno in DISK_FULL:
            raise disk_full(target) from None
        raise


@contextmanager
def naming_the_disk(where: Path) -> Iterator[None]:
    """Say of a full disk which one it is; what the system says of a write names no file.

    Raises:
        StoppedError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise disk_full(where) from None
        raise


def disk_full(where: Path) -> StoppedError:
    """Say that the disk is full, in one clear paragraph."""
    return StoppedError(
        "the disk is full or a file size limit was reached; everything finished before is kept",
        where=str(where),
        fix="free some space, or files where `df -i` shows none left, then run the same command again",
    )


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has room for nothing of use, or takes no more files."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < LEAST_BYTES or (disk.f_files > 0 and disk.f_favail == 0)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
