"""A segment of the journal: the file one process appends to, and the room on disk it keeps for lines still to come.

The room lies behind the end of the file, where the file system holds it without showing it: readers, hashes and copies
see the lines alone. It is given back when the segment is closed; what a killed process kept, the next one gives back
that writes to the same batch. A file system that keeps no room is asked how much is free instead.
"""

import ctypes
import errno
import fcntl
import os
import secrets
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

SPARE_BYTES = 1 << 20
"""Room taken on top of what is asked for, where there is as much: the file system is asked once in many calls."""

SHORT_OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a disk, a quota and a limit of file size say; a shorter line may still fit."""

KEEPS_NO_ROOM = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

STAT_BLOCK_BYTES = 512
"""What `st_blocks` counts, whatever the blocks of the file system."""

_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of fallocate(2); `os.posix_fallocate` has no flags and would make the file longer."""

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Segment:
    """The file this process appends to. One thread writes; any may ask for room.

    Raises:
        OSError: it could not be created.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Opened before any connection is, so that no limit of open files can fail them; up to the home any may be new.
        self._unsynced = [os.open(parent, os.O_RDONLY) for parent in (folder, *folder.parents[:3])]
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self._path = folder / f"{started}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        with suppress(OSError):  # where nothing can be locked, nobody gives back the room of others either
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._lock = threading.Lock()
        self._durable_bytes = self._room_bytes = 0
        _give_back(folder)

    def make_room(self, size: int) -> None:
        """See to it that the segment can grow to ``size`` bytes, whoever else fills the disk.

        Raises:
            OSError: there is not so much room; its number is one of `SHORT_OF_ROOM`.
        """
        with self._lock:
            if size <= self._room_bytes:
                return
            try:
                self._extend(size + SPARE_BYTES)
            except OSError as error:
                if error.errno not in SHORT_OF_ROOM:
                    raise
                self._extend(size)

    def write(self, data: bytes) -> None:
        """Append and sync; on failure the file is cut back to what was durable.

        Raises:
            OSError: nothing of it was written.
        """
        self.make_room(self._durable_bytes + len(data))
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            self._sync_folders()
            _sync(self._file)
        except OSError:
            with suppress(OSError):  # if even that fails, readers ignore the torn tail
                self._cut_back()
            raise
        self._durable_bytes += len(data)

    def close(self) -> None:
        """Give back the room that was not needed, and the file if nothing was written to it."""
        with suppress(OSError):  # it is given back when the batch is next written to
            if self._durable_bytes:
                self._cut_back()
            else:
                self._path.unlink(missing_ok=True)
        for handle in (self._file, *self._unsynced):
            os.close(handle)

    def _sync_folders(self) -> None:
        while self._unsynced:
            os.fsync(self._unsynced[0])
            os.close(self._unsynced.pop(0))

    def _extend(self, size: int) -> None:
        try:
            _fallocate(self._file, self._room_bytes, size - self._room_bytes)
        except OSError as error:
            if error.errno not in KEEPS_NO_ROOM:
                raise
            disk = os.fstatvfs(self._file)
            if size - self._durable_bytes > disk.f_bavail * disk.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        else:
            self._room_bytes = size

    def _cut_back(self) -> None:
        with self._lock:
            os.ftruncate(self._file, self._durable_bytes)
            self._room_bytes = 0  # cutting gives back all that lies behind


def _give_back(folder: Path) -> None:
    """Give back the room of segments whose writer is gone; their lines stay as they are."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError):  # somebody writes to it, or it may only be read
            told = path.stat()
            if told.st_blocks * STAT_BLOCK_BYTES < told.st_size + told.st_blksize:
                continue
            file = os.open(path, os.O_WRONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(file, os.fstat(file).st_size)
            finally:
                os.close(file)


def _fallocate(file: int, start: int, length: int) -> None:
    """Have the file system keep room for a range of a file without making the file longer.

    Raises:
        OSError: there is no such room, or room cannot be kept here.
    """
    while _keep_room(file, _KEEP_SIZE, start, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _unsupported(*_: int) -> int:
    ctypes.set_errno(errno.EOPNOTSUPP)
    return -1


try:
    _keep_room = ctypes.CDLL(None, use_errno=True).fallocate
    _keep_room.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)  # off_t
except (AttributeError, OSError):  # a system without it
    _keep_room = _unsupported
