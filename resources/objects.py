"""Payload files: immutable, named by the hash of their bytes, written and synced before anything names them."""

import errno
import os
import uuid
from pathlib import Path

from synth_assets.canonical import sha256
from synth_assets.domain.transactions import StoredObject
from synth_assets.errors import IntegrityError, StoppedError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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


def disk_full(where: Path) -> StoppedError:
    """Say that the disk is full, in one clear paragraph."""
    return StoppedError(
        "the disk is full or a file size limit was reached; everything finished before is kept",
        where=str(where),
        fix="free some space, then run the same command again",
    )


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
