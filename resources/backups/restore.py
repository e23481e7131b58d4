"""Restoring a backup: every file is compared with the manifest, and a home appears whole or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.backups.copying import copied
from resources.backups.manifest import HOME, INSTANCE, NAME, Manifest, Stored, named, path_of, read_manifest
from resources.backups.staging import placed, staged, what_is_in
from synth_assets.errors import IntegrityError, RefusedError, StoppedError


@dataclass(frozen=True)
class Restored:
    """A home that was taken from a backup and is not in its place yet.

    Attributes:
        home: where it is for now.
        instance: where what Dagster keeps is for now; inside the home or not.
    """

    manifest: Manifest
    home: Path
    instance: Path


@contextmanager
def restored(backup: Path, home: Path, instance: Path, swept: list[Path]) -> Iterator[Restored]:
    """Yield a home as a backup holds it, and put it in its place when the block ends well; otherwise nothing is left.

    Args:
        backup: what `back_up` made.
        home: SYNTH_HOME, new or empty.
        instance: where what Dagster keeps belongs, inside the home or not.
        swept: takes up the folders that others left behind when they were killed.

    Raises:
        UsageError: there is no such backup.
        RefusedError: home or instance are not empty.
        IntegrityError: a file is not what the manifest says, is missing, or is there without it.
        StoppedError: there is no room.
    """
    is_inside = instance.is_relative_to(home)
    for place in (home, instance):
        _refuse_taken(place)
    manifest = read_manifest(backup)
    _refuse_strays(backup, manifest)
    with ExitStack() as kept:
        folder = kept.enter_context(_beside(home, swept))
        inside = folder / instance.relative_to(home) if is_inside else kept.enter_context(_beside(instance, swept))
        for name, stored in manifest.files.items():
            _bring(backup, name, stored, folder, inside)
        yield Restored(manifest, folder, inside)
        if not is_inside:
            placed(inside, instance)
        placed(folder, home)


@contextmanager
def _beside(place: Path, swept: list[Path]) -> Iterator[Path]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with staged(place, "restoring", swept) as folder:
        yield folder


def _refuse_taken(place: Path) -> None:
    taken = what_is_in(place)
    if taken or place.is_mount():
        what = f"there is something already: {', '.join(taken)}" if taken else "it is the root of a disk"
        raise RefusedError(
            f"{what}; nothing was restored",
            where=str(place),
            fix="set SYNTH_HOME to a folder that is new, or move away what is there",
        )


def _refuse_strays(backup: Path, manifest: Manifest) -> None:
    """Refuse a backup in which something is missing, or is there that it did not write, a link included."""
    there = {named(path.relative_to(backup)) for path in backup.rglob("*") if path.is_symlink() or not path.is_dir()}
    there.discard(NAME)
    for name in sorted(manifest.files.keys() ^ there):
        what = "is gone from the backup" if name in manifest.files else "is in the backup that it does not name"
        raise _doctored(f"a file {what}", backup / path_of(name))
    for name in sorted(there):
        path = backup / path_of(name)
        if path.is_symlink() or not path.is_file():
            raise _doctored("something in the backup is no file of its own", path)


def _bring(backup: Path, name: str, stored: Stored, home: Path, instance: Path) -> None:
    """Copy one file to where it belongs, and compare what was read with the manifest."""
    path = path_of(name)
    folder = {HOME: home, INSTANCE: instance}.get(path.parts[0])
    if folder is None:
        raise _doctored("a file is in no folder of a backup", backup / path)
    try:
        read = copied(backup / path, folder.joinpath(*path.parts[1:]))
    except StoppedError as error:
        raise StoppedError(error.what, where=str(home), fix=error.fix) from None
    if read != stored:
        raise _doctored("a file of the backup is not what was written", backup / path)


def _doctored(what: str, where: Path) -> IntegrityError:
    return IntegrityError(f"{what}; nothing was restored", where=str(where), fix="restore another backup")
