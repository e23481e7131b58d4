"""Small disks that tests fill: file systems in memory or in an image, of a size that can be changed."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *options: str, source: str = "none") -> Iterator[Path]:
    """Mount a file system at a folder, which is made, for as long as the ``with`` block lasts."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", *options, source, str(folder)], check=False, capture_output=True)
    if made.returncode != 0:
        pytest.skip("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resized(folder: Path, kilobytes: int, *, files: int = 0) -> None:
    """Change the size of a file system in memory, and how many files it takes; 0 is as many as there may be."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k,nr_inodes={files}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room there is, and return the file that holds it; removing it makes room again."""
    file = folder / "somebody else's"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 20, 1 << 12, 1):
        with suppress(OSError):
            while True:
                os.write(handle, bytes(size))
                os.fsync(handle)
    os.close(handle)
    return file


def filled(folder: Path) -> None:
    """Let a file system in memory hold what it holds, and not a page more; of a size of 0 it would have no bound."""
    resized(folder, used_kilobytes(folder) + 64)
    fill(folder)
    assert os.statvfs(folder).f_bavail == 0


def used_kilobytes(folder: Path) -> int:
    """Return how much of a file system is taken."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024


def used_files(folder: Path) -> int:
    """Return how many files, folders counted, a file system holds."""
    disk = os.statvfs(folder)
    return disk.f_files - disk.f_ffree
