"""A copy of a catalog to read from, where SQLite cannot open it as it stands: nothing may be written, or has room.

SQLite keeps an index of its log in a file beside the catalog, and makes it even for somebody who only reads.
"""

import errno
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from resources.home import CATALOG, ROOM_BYTES
from resources.objects import DISK_FULL, disk_full

COPIES = 10
"""How often a catalog is copied while others write to it."""

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
"""Files that lie in memory; on Linux they are there when every disk is full."""


def copied(home: Path, reader: object) -> Path:
    """Return a copy of a home's catalog, which is removed once ``reader`` is gone.

    It lies where temporary files do; if that disk is full as well, in memory.

    Raises:
        StoppedError: there is no room for it anywhere.
    """
    folders = [*_temporary(), *([str(MEMORY)] if MEMORY.is_dir() else [])]
    for parent in folders:
        try:
            folder = Path(tempfile.mkdtemp(prefix="synth-catalog-", dir=parent))
            weakref.finalize(reader, shutil.rmtree, folder, ignore_errors=True)
            _copy(home, folder)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
        else:
            return folder / CATALOG
    raise disk_full(Path(folders[0]) if folders else home)


def _temporary() -> list[str]:
    """Return the folder of temporary files, if one of those there may be takes a byte."""
    try:
        return [tempfile.gettempdir()]
    except FileNotFoundError as error:
        if error.errno != errno.ENOENT:
            raise
        return []


def _copy(home: Path, folder: Path) -> None:
    files = (home / CATALOG, home / f"{CATALOG}-wal")
    for _ in range(COPIES):
        before = _as_they_are(files)
        for file in files:
            (folder / file.name).unlink(missing_ok=True)
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
        if _as_they_are(files) == before:
            break
    with (folder / "room").open("wb") as file:  # for the index that SQLite makes beside it
        file.write(bytes(ROOM_BYTES))
    (folder / "room").unlink()


def _as_they_are(files: Sequence[Path]) -> list[tuple[int, int] | None]:
    """Return size and time of change of files: two that were copied while one changed may not belong together."""
    return [(file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else None for file in files]
