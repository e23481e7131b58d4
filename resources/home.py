"""What makes a folder a home: a marker with an id, which its catalog and Dagster's instance know as well.

An unmounted volume is an empty folder. Without a marker it would be taken for a new home, in which every batch is still
to be made and paid for.
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from synth_assets.canonical import digest
from synth_assets.errors import IntegrityError, UsageError

MARKER = "home.json"
MEANT = "SYNTH_HOME_ID"
"""Variable by which `synth ui` tells the processes it starts which home they are for."""
CATALOG = "catalog.sqlite"
FORMAT = 1
"""Of the folder; a home of a later one is not opened."""


@dataclass(frozen=True)
class Identity:
    """Which home this is.

    Attributes:
        home_id: drawn once, when it was made.
        made_at: when that was, UTC, as ISO 8601.
    """

    home_id: str
    made_at: str

    def __str__(self) -> str:
        """Return how a person tells it from another."""
        made = f", made {self.made_at[:16].replace('T', ' ')} UTC" if self.made_at else ""
        return f"{self.home_id[:8]}{made}"


def is_home(home: Path) -> bool:
    """Whether a folder is a home; one without a marker is one if an earlier version of the project made its catalog."""
    return (home / MARKER).is_file() or (home / CATALOG).is_file()


def is_writable(home: Path) -> bool:
    """Whether a home takes new files; one that is not there yet may be made."""
    return not home.exists() or os.access(home, os.W_OK | os.X_OK)


ROOM_BYTES = 256 * 1024
"""What SQLite needs beside a catalog to open it, and some more: 32 KiB of an index, and the log of small commits."""


def has_room(home: Path) -> bool:
    """Whether the disk of a home takes what opening its catalog writes; one that is not there yet is told later."""
    if not home.exists():
        return True
    disk = os.statvfs(home)
    return disk.f_bavail * disk.f_frsize >= ROOM_BYTES


def refuse_none(home: Path) -> None:
    """Refuse a folder that is no home.

    Raises:
        UsageError: it is missing, or holds no marker.
    """
    if not is_home(home):
        raise no_home(home)


def no_home(home: Path) -> UsageError:
    """Return what is said of a folder that is no home."""
    there = "is not there" if not home.exists() else "is empty" if not any(home.iterdir()) else "holds no home"
    return UsageError(
        f"SYNTH_HOME {there}; nothing was read and nothing was made",
        where=str(home),
        fix="mount its volume or correct SYNTH_HOME; if it is new, `synth run DATASET` makes it with a first batch",
    )


def identity_of(home: Path) -> Identity | None:
    """Return which home a folder is; None without a marker.

    Raises:
        IntegrityError: the marker cannot be read.
        UsageError: a later version of the project made the home.
    """
    file = home / MARKER
    try:
        data = file.read_bytes()
        said = orjson.loads(data)
        found, form = Identity(said["home_id"], said["made_at"]), said["format"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise _damaged(file) from None
    if data != _written(found, form):
        raise _damaged(file)
    if form > FORMAT:
        raise UsageError(
            f"the home has format {form}, and this version of the project knows {FORMAT}",
            where=str(file),
            fix="use the version of the project that made it",
        )
    return found


def _damaged(file: Path) -> IntegrityError:
    return IntegrityError("the home's marker was damaged or changed", where=str(file), fix="restore it from a backup")


def _written(home: Identity, form: int) -> bytes:
    """Return the bytes of a marker; their last value is a hash of the others, so that damage shows."""
    said = {"home_id": home.home_id, "made_at": home.made_at, "format": form}
    return orjson.dumps({**said, "sha256": digest(said)}, option=orjson.OPT_APPEND_NEWLINE)


def refuse_other(home: Path, environ: Mapping[str, str]) -> None:
    """Refuse to open a home that is not the one our parent was started for: its volume is away, or another's is there.

    Without this, the first process after an unmount would make a new folder in the mount point.

    Args:
        home: SYNTH_HOME.
        environ: where the parent said which home it means; nothing is refused if nobody said.

    Raises:
        UsageError: it is no home now.
        IntegrityError: it is another one.
    """
    meant = environ.get(MEANT)
    if not meant:
        return
    found = identity_of(home)
    if found is None:
        raise no_home(home)
    if found.home_id != meant:
        raise strangers(found, Identity(meant, ""), which="this web UI", where=str(home / MARKER))


def made(home: Path) -> Identity:
    """Return the identity of a home, drawing it if nobody did before; of two who draw at once, one wins.

    Args:
        home: SYNTH_HOME; made if it is missing.
    """
    known = identity_of(home)
    if known is not None:
        return known
    home.mkdir(parents=True, exist_ok=True)
    drawn = Identity(uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds"))
    draft = home / f".{MARKER}-{drawn.home_id}"
    with draft.open("wb") as file:
        file.write(_written(drawn, FORMAT))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, home / MARKER)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return identity_of(home) or drawn


def strangers(home: Identity, other: Identity, *, which: str, where: str) -> IntegrityError:
    """Return what is said where the id in another place is not the home's.

    Args:
        home: by its marker.
        other: as the other place knows it.
        which: that place, for a person.
        where: its address.
    """
    older = f"; this one is the {'older' if home.made_at < other.made_at else 'newer'}" if other.made_at else ""
    return IntegrityError(
        f"{which} belongs to another home ({other}) than this one ({home}){older}; nothing was paid",
        where=where,
        fix="mount the right volume, or correct SYNTH_HOME, SYNTH_CATALOG or SYNTH_INSTANCE: the three belong together",
    )
