"""What is written together: a `Commit` holds every change of one step, and the lake applies all of it or nothing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

if TYPE_CHECKING:  # what a chain says is told in terms of this module
    from synth_assets.domain.chain import Chain


@dataclass(frozen=True)
class Change:
    """Rows for one table.

    Attributes:
        table: a name of `TABLES`.
        rows: frame of exactly that table's columns, any number of rows; a column `commit_seq` is filled in by the
            lake with the commit's place in the audit chain.
        replaces: rows that equal all these columns go first (a sequence means any of); None only appends.
        leaves: all rows of the table's scope as they are afterwards, where only some of them are replaced; None where
            ``rows`` are all.
    """

    table: str
    rows: pl.DataFrame
    replaces: Mapping[str, Any] | None = None
    leaves: pl.DataFrame | None = None


@dataclass(frozen=True)
class Swap:
    """Compare-and-swap on one existing row: the whole commit is refused unless ``expect`` holds.

    Attributes:
        table: a name of `TABLES`.
        where: columns that find the row.
        expect: columns and the values they must have; None means null.
        set: columns and their new values; empty only guards.
        otherwise: what a refusal says.
    """

    table: str
    where: Mapping[str, Any]
    expect: Mapping[str, Any]
    set: Mapping[str, Any] = field(default_factory=dict)
    otherwise: str = "somebody else changed it in the meantime"


@dataclass(frozen=True)
class StoredObject:
    """A payload file that is written and synced, and will be named by a commit."""

    sha256: str
    suffix: str
    num_bytes: int


Payload = tuple[str, str | None, StoredObject]
"""Kind, batch if it has one, and the stored object."""


@dataclass(frozen=True)
class Commit:
    """One transaction.

    Attributes:
        dataset: whose audit chain gets the entry.
        key: idempotency key; a commit whose key is already in the chain changes nothing.
        action: what is done, for the audit.
        run_id: Dagster run, empty outside one.
        details: facts and hashes for the audit, never text.
        payload: stored objects named by this commit, with kind and batch.
    """

    dataset: str
    key: str
    action: str
    run_id: str
    details: Mapping[str, Any]
    changes: Sequence[Change] = ()
    swaps: Sequence[Swap] = ()
    payload: Sequence[Payload] = ()


@dataclass(frozen=True)
class Receipt:
    """The audit entry of a commit.

    Attributes:
        seq: place in the dataset's chain.
        was_replayed: the key was there already and nothing was changed now.
    """

    seq: int
    entry_sha256: str
    was_replayed: bool


class Lake(Protocol):
    """The metadata store and its payload files.

    Attributes:
        home: folder of everything that is stored.
    """

    home: Path

    def read(self, table: str, **equals: Any) -> pl.DataFrame:
        """Return the rows of a table whose columns equal the given values (a list means any of), typed by contract."""

    def chain(self, dataset: str) -> "Chain":
        """Return what the audit chain of a dataset proves, up to its present head; do not change it.

        Raises:
            IntegrityError: the chain is broken, or its head, its ledger or a head kept outside says otherwise.
        """

    def standing_still(self) -> AbstractContextManager[None]:
        """Keep every process from committing, so that all that is read meanwhile belongs together."""

    def commit(self, commit: Commit) -> Receipt:
        """Apply all changes or none, and add one entry to the audit chain.

        Raises:
            RefusedError: a swap found another value than expected.
            StoppedError: the disk is full or the store cannot be reached; nothing was changed.
        """

    def put(self, data: bytes, suffix: str) -> StoredObject:
        """Write payload under its hash: written, synced and renamed before this returns."""

    def put_frame(self, frame: pl.DataFrame) -> StoredObject:
        """Write a frame as Parquet payload; equal frames give equal bytes."""

    def get(self, object_sha256: str, suffix: str) -> bytes:
        """Return payload.

        Raises:
            IntegrityError: the file is gone or its bytes are not its name's.
        """

    def payload(self, kind: str, schema: Mapping[str, pl.DataType], **equals: Any) -> pl.DataFrame:
        """Return all Parquet payload of a kind as one frame, in the order it was stored."""
