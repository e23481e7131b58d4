"""Release folders on their way: written and synced before the commit that names them, then brought to their place."""

import os
import shutil
from collections.abc import Mapping, Set
from pathlib import Path

from resources.objects import naming_the_disk, sync_folder
from synth_assets.errors import StoppedError
from synth_assets.stages.proof import staged_name


def stage_folder(folder: Path, digest: str, files: Mapping[str, bytes]) -> Path:
    """Write a release beside its place, synced to the last folder; what a crash left there of it is swept first.

    Args:
        folder: of all releases of the dataset.
        digest: of the version.
        files: bytes by path inside.

    Returns:
        The folder that `place` brings to its place.

    Raises:
        StoppedError: the disk is full; nothing of it is left there.
    """
    staged = folder / staged_name(digest)
    if staged.exists():
        shutil.rmtree(staged)
    try:
        with naming_the_disk(folder):
            _write(staged, files)
    except (OSError, StoppedError):
        shutil.rmtree(staged, ignore_errors=True)
        raise
    for inside in (*(path for path in staged.rglob("*") if path.is_dir()), staged, folder, folder.parent):
        sync_folder(inside)
    return staged


def _write(staged: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        file = staged / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())


def sweep(folder: Path, digests: Set[str]) -> None:
    """Remove what cuts that never committed left behind; call it while nobody else cuts.

    Args:
        folder: of all releases of the dataset.
        digests: of the versions there are; a folder on its way to one of them stays.
    """
    kept = {staged_name(digest) for digest in digests}
    for leftover in folder.glob(".staged-*"):
        if leftover.name not in kept:
            shutil.rmtree(leftover)


def place(staged: Path, target: Path | None) -> None:
    """Rename a staged folder to its place, for good; without a place it is removed.

    Whoever dies before this leaves a commit whose folder the next reader brings to its place.
    """
    if target is None:
        shutil.rmtree(staged)
        return
    staged.rename(target)
    sync_folder(target.parent)
