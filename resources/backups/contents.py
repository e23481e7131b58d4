"""Which files of a home a backup takes, and in which order, so that nothing in it is ahead of what it rests on.

What Dagster keeps comes first: a lake that is ahead of it is reported by the next run, and not the other way round. Of
that, what the sensors remember comes before the runs they asked for, and runs before their events. What the catalog
names comes after it, because it is written before it is named and stays. Of the journal, submissions come before the
answers they bring.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from resources.backups.copying import is_beside_database
from resources.home import CATALOG

CLAIMS, RUNTIME, LEDGER, RELEASES = "claims", "runtime", "ledger", "releases"
TRANSIENT = {CLAIMS, RUNTIME, "catalog.lock", "catalog.held", "catalog.holder"}
"""Of a home: who works on what, and the server of the embedded model. They are of this host and this moment."""

LOCKS = {"storage.lock", "owners"}
"""Of the instance: who makes its tables, and whose process a run is."""

IN_A_RELEASE = 4
"""Names on the way to a file of a release: releases, dataset, folder, file."""

UNFINISHED = re.compile(r"^\..+\.[0-9a-f]{32}$")
"""A payload file that is being written, or was when its process died."""


def of_home(home: Path, instance: Path) -> list[Path]:
    """Return the files of a home, relative to it, in the order they are copied in.

    Catalog, ledgers and releases are not among them: they are copied as they were at the moment of the backup.
    """
    kept = [
        path
        for path in walked(home, without=instance)
        if path.parts[0] not in TRANSIENT and not _is_noted(path) and not _is_unfinished(path)
    ]
    return sorted(kept, key=lambda path: ("submissions" not in path.parts, path.as_posix()))


def of_instance(instance: Path, home: Path) -> list[Path]:
    """Return the files Dagster keeps in a folder, relative to it, in the order they are copied in."""
    kept = [path for path in walked(instance, without=home) if path.name not in LOCKS and path.parts[0] not in LOCKS]
    return sorted(kept, key=lambda path: (_turn(path), path.as_posix()))


def _turn(path: Path) -> int:
    if path.parts[0] == "schedules":
        return 0
    return 1 if path.name == "runs.db" else 2


def _is_noted(path: Path) -> bool:
    """Whether a file is copied as `resources.backups.moment` noted it."""
    if path.parts[0] == LEDGER:
        return path.name == "entries.jsonl"
    return path.parts[0] == CATALOG or (path.parts[0] == RELEASES and len(path.parts) >= IN_A_RELEASE)


def _is_unfinished(path: Path) -> bool:
    return path.parts[0] == "objects" and UNFINISHED.match(path.name) is not None


def walked(folder: Path, *, without: Path | None = None) -> Iterator[Path]:
    """Yield every file below a folder, relative to it, through links too; what SQLite keeps beside its own is left out.

    Args:
        folder: to walk.
        without: a folder that is not entered.
    """
    seen: set[tuple[int, int]] = set()
    for inside, folders, names in os.walk(folder, followlinks=True):
        state = Path(inside).stat()
        if (state.st_dev, state.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if Path(inside, name) != without)
        for path in (Path(inside, name) for name in names):
            if path.is_file() and not is_beside_database(path):
                yield path.relative_to(folder)
