"""Making a backup: a home as it is at one moment, copied while other processes generate, commit and release."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from resources.backups.contents import LEDGER, RELEASES, of_home, of_instance, walked
from resources.backups.copying import copied, copied_database, is_database, is_gone, no_room, snapshot
from resources.backups.manifest import HOME, INSTANCE, NAME, Manifest, Stored, named
from resources.backups.moment import Moment, moment_of
from resources.backups.proof import data_files, proven
from resources.backups.staging import placed, staged, what_is_in
from resources.home import CATALOG, is_writable
from resources.lake import reading_lake
from resources.objects import write_synced
from resources.postgres import catalog_server, instance_server
from synth_assets.errors import RefusedError, StoppedError, UsageError

PAGE = "docs/backup.md"


def back_up(home: Path, instance: Path, target: Path, environ: Mapping[str, str], swept: list[Path]) -> Manifest:
    """Copy a home into a folder, which appears whole or not at all.

    Args:
        home: SYNTH_HOME.
        instance: what Dagster keeps locally, inside the home or not.
        target: new or empty; its parent is there.
        environ: where servers and the key of the audit are looked up.
        swept: takes up the folders that backups to the same place left behind when they were killed.

    Raises:
        UsageError: there is no home, the target cannot be one, or part of the home is on a server.
        RefusedError: the home cannot be locked.
        StoppedError: there is no room in the target, or somebody commits all the time.
        IntegrityError: the home is damaged.
    """
    target = target.absolute()
    refuse_servers(environ)
    _refuse_target(target, (home, instance))
    _refuse_home(home)
    _refuse_little_room(target, (home, instance))
    with staged(target, "backing-up", swept) as folder:
        copy = _Copy(folder)
        copy.all(instance, Path(INSTANCE), of_instance(instance, home))
        with moment_of(home) as moment:
            needed = data_files(moment.catalog)
            copy.put(Path(HOME, CATALOG), copied_database(moment.catalog, home / CATALOG, folder / HOME / CATALOG))
            copy.all(home, Path(HOME), of_home(home, instance))
            _copy_noted(copy, home, moment)
        heads = proven(folder / HOME, copy.files, needed, environ)
        manifest = Manifest(moment.at.isoformat(), copy.files, heads)
        write_synced(folder / NAME, manifest.data())
        placed(folder, target)
    return manifest


def refuse_servers(environ: Mapping[str, str]) -> None:
    """Refuse a home whose catalog or runs are on a server: its files alone would be half of it.

    Raises:
        UsageError: they are.
    """
    server = catalog_server(environ) or instance_server(environ)
    if server:
        raise UsageError(
            "what is on a server is dumped by the server's own tools; nothing was done",
            where=f"{server.variable}, {server.shown}",
            fix=f"pg_dump first and the files after it, as {PAGE} says under Postgres",
        )


class _Copy:
    """A copy that grows: what was put into a folder, by its name in the backup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Stored] = {}

    def put(self, name: Path, stored: Stored) -> None:
        """Take up a file that was copied."""
        self.files[named(name)] = stored

    def all(self, root: Path, below: Path, paths: Iterable[Path]) -> None:
        """Copy files of a folder; one that went away meanwhile was not to stay."""
        for path in paths:
            try:
                self.put(below / path, _one(root / path, self.folder / below / path))
            except OSError as error:
                if not is_gone(error):
                    raise


def _one(source: Path, target: Path) -> Stored:
    if not is_database(source):
        return copied(source, target)
    with snapshot(source) as connection:
        return copied_database(connection, source, target)


def _copy_noted(copy: _Copy, home: Path, moment: Moment) -> None:
    """Copy ledgers and releases as far as the catalog knows them."""
    for dataset, end in moment.ledgers.items():
        name = Path(LEDGER, dataset, "entries.jsonl")
        stored = copied(home / name, copy.folder / HOME / name, upto=end.size, tail=end.rest)
        copy.put(HOME / name, stored)
    for release in moment.releases:
        if (found := release.now()) is None:
            continue
        below = Path(HOME, RELEASES, release.path.parent.name, release.path.name)
        # Once more under its new name, if it is brought to its place in between.
        for now in (found, release.now() or found):
            copy.all(now, below, _not_yet(copy, now, below))


def _not_yet(copy: _Copy, folder: Path, below: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in walked(folder) if named(below / path) not in copy.files)


def _refuse_home(home: Path) -> None:
    """Refuse a home that is none, is damaged or cannot be locked.

    It is opened and closed again: the first command that writes adds what a home of an earlier time lacks, and while
    SQLite's files are copied nobody in this process may have them open.
    """
    if home.is_dir() and not is_writable(home):
        raise RefusedError(
            "SYNTH_HOME cannot be written to, and a backup has to keep others from committing for a moment",
            where=str(home),
            fix="run it as a user who may write there",
        )
    with reading_lake(home):
        pass


def _refuse_target(target: Path, sources: Iterable[Path]) -> None:
    if taken := what_is_in(target):
        raise UsageError(
            f"the folder is not empty: {', '.join(taken)}", where=str(target), fix="name a folder that is new or empty"
        )
    if not target.parent.is_dir():
        raise UsageError(
            "the folder it is to be made in is not there",
            where=str(target.parent),
            fix="mount the disk or make the folder",
        )
    if target.is_mount():
        raise UsageError("the folder is the root of a disk", where=str(target), fix="name a folder on it that is new")
    if any(target.resolve().is_relative_to(source.resolve()) for source in sources):
        raise UsageError(
            "a backup inside the home is none", where=str(target), fix="name a folder outside, on a disk of its own"
        )


def _refuse_little_room(target: Path, sources: Iterable[Path]) -> None:
    home, instance = sources
    found = [home / path for path in walked(home, without=instance)] + [instance / path for path in walked(instance)]
    needed = sum(_size(path) for path in found)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise StoppedError(
            f"the backup needs {needed / 1e6:,.1f} MB, and there are {free / 1e6:,.1f} MB; nothing was copied",
            where=str(target.parent),
            fix=no_room(target).fix,
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
