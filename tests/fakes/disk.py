"""A disk that can be filled: a file system in memory whose size a test chooses."""

import os
import subprocess
from pathlib import Path

import pytest


def mount(folder: Path) -> None:
    """Mount one of a megabyte at a folder, or skip the test where nobody may."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    made = subprocess.run(command, check=False, capture_output=True)
    if made.returncode != 0:
        pytest.skip("no file system may be mounted here")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


def resized(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)


def filled(folder: Path) -> None:
    """Let a file system hold what it holds, and not a page more."""
    disk = os.statvfs(folder)
    used_kilobytes = (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024
    resized(folder, used_kilobytes + 64)  # a size of 0 would be no bound at all
    with (folder / "filling").open("ab", buffering=0) as file:
        for _ in range(64):
            try:
                file.write(bytes(1024))
            except OSError:
                break
    assert os.statvfs(folder).f_bavail == 0
