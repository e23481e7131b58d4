"""What a backup says of itself: every file with its bytes and hash, and the head of every audit chain in it."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import orjson

from synth_assets.canonical import digest
from synth_assets.errors import IntegrityError, UsageError

NAME = "backup.json"
FORMAT = 1
HOME, INSTANCE = "home", "instance"
"""The two folders beside the manifest: SYNTH_HOME, and what Dagster keeps locally."""


@dataclass(frozen=True)
class Stored:
    """A file as it was written: how many bytes, and their sha256."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Head:
    """The last entry of an audit chain."""

    seq: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The contents of a backup.

    Attributes:
        made_at: when the copied state was the present one, ISO 8601 in UTC.
        files: by their name in the backup, see `named`.
        heads: by dataset.
    """

    made_at: str
    files: Mapping[str, Stored]
    heads: Mapping[str, Head]

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.num_bytes for file in self.files.values())

    def document(self) -> dict[str, Any]:
        """Return it as it is written down, with a hash of its own."""
        files = [
            {"path": name, "bytes": file.num_bytes, "sha256": file.sha256} for name, file in sorted(self.files.items())
        ]
        heads = {name: asdict(head) for name, head in sorted(self.heads.items())}
        told = {"format": FORMAT, "made_at": self.made_at, "files": files, "heads": heads}
        return {**told, "sha256": digest(told)}

    def data(self) -> bytes:
        """Return its bytes."""
        return orjson.dumps(self.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def named(path: Path) -> str:
    """Return how a path below the backup is written down; bytes that are no plain letters become %XX.

    Example:
        >>> named(Path("home/inbox/caf\u00e9 1.jsonl"))
        'home/inbox/caf%C3%A9%201.jsonl'
    """
    return quote_from_bytes(os.fsencode(path.as_posix()), safe="/=+,@")


def path_of(name: str) -> Path:
    """Return the path that a name stands for; the other way round than `named`."""
    return Path(os.fsdecode(unquote_to_bytes(name)))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a backup.

    Raises:
        UsageError: there is no such folder, or its format is of a later version of the project.
        IntegrityError: it has no manifest, or one that is not what was written.
    """
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), fix="name the folder that `synth backup` made")
    file = folder / NAME
    if not file.is_file():
        raise _broken("the backup is not whole: it has no manifest", file)
    data = file.read_bytes()
    try:
        told = orjson.loads(data)
        form = int(told["format"])
        found = Manifest(
            made_at=str(told["made_at"]),
            files={each["path"]: Stored(each["bytes"], each["sha256"]) for each in told["files"]},
            heads={name: Head(**head) for name, head in told["heads"].items()},
        )
        is_ours = found.data() == data
    except (orjson.JSONDecodeError, AttributeError, LookupError, TypeError, ValueError):
        raise _broken("the manifest of the backup cannot be read", file) from None
    if form > FORMAT:
        raise UsageError("the backup was made by a later version", where=str(file), fix="restore it with that version")
    if not is_ours:
        raise _broken("the manifest of the backup is not what was written", file)
    return found


def _broken(what: str, file: Path) -> IntegrityError:
    return IntegrityError(f"{what}; nothing was restored", where=str(file), fix="restore another backup")
