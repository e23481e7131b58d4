"""A folder on its way: written beside its place under a name nobody takes for it, and renamed when it is whole.

Whoever dies on the way leaves a folder that the next one on the way to the same place sweeps. A lock beside it, freed
by its holder's death, tells it from one that is still being written.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resources.objects import sync_folder
from synth_assets.errors import RefusedError

LOCK = ".lock"


@contextmanager
def staged(target: Path, word: str, swept: list[Path]) -> Iterator[Path]:
    """Yield an empty folder beside a place; it is removed at the end of the block unless `placed`.

    Args:
        target: the place; its parent is there.
        word: what is going on, part of the folder's name.
        swept: takes up the folders that others left behind and that were removed.
    """
    before = f".{target.name}.{word}-"
    swept += _sweep(target.parent, before)
    folder = target.with_name(f"{before}{secrets.token_hex(4)}")
    lock = folder.with_name(folder.name + LOCK)
    handle = _held(lock)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(handle)


def placed(folder: Path, target: Path) -> None:
    """Sync the folders of a staged one and rename it to its place, which may be an empty folder.

    Raises:
        RefusedError: somebody has put something there meanwhile, or it is a disk's own root.
    """
    for inside, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(inside))
    try:
        folder.rename(target)
    except OSError:
        raise RefusedError(
            "the place was taken meanwhile, or is the root of a disk; nothing was put there",
            where=str(target),
            fix="name a folder that is new",
        ) from None
    sync_folder(target.parent)


def what_is_in(folder: Path) -> list[str]:
    """Return the first names in a folder, sorted; none if it is empty or not there, its own name if it is a file."""
    if not folder.is_dir():
        return [folder.name] if folder.exists() or folder.is_symlink() else []
    return sorted(each.name for each in folder.iterdir())[:5]


def _held(lock: Path) -> int:
    """Make and lock a file; a sweeper may take one away that was made and not locked yet, so then again."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if lock.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        os.close(handle)


def _sweep(parent: Path, before: str) -> list[Path]:
    """Remove what nobody writes any more, and return it."""
    found = {each.name.removesuffix(LOCK) for each in parent.iterdir() if each.name.startswith(before)}
    return [parent / name for name in sorted(found) if _is_swept(parent / name)]


def _is_swept(folder: Path) -> bool:
    lock = folder.with_name(folder.name + LOCK)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = folder.is_dir()
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return is_there
