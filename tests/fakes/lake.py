"""The `Lake` port in memory: as strict as the real one about swaps, nulls and keys, and copied in no time.

What only the real one can do - files, processes, a ledger - it does not pretend to do.
`tests/test_lake.py` asks both the same questions.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from synth_assets.canonical import sha256, stored_json
from synth_assets.domain.chain import Chain
from synth_assets.domain.ledger import entry_sha256, sealed
from synth_assets.domain.transactions import Change, Commit, Receipt, StoredObject, Swap
from synth_assets.errors import IntegrityError, RefusedError, StoppedError
from synth_assets.tables import TABLES

Tables = dict[str, pl.DataFrame]


class MemoryLake:
    """All tables as frames, all payload as bytes."""

    def __init__(self, home: Path, actor: str = "tester") -> None:
        self.home = home
        self.actor = actor
        self.payloads: dict[str, bytes] = {}
        self._chains: dict[str, Chain] = {}
        self._tables: Tables = {name: table.frame([]) for name, table in TABLES.items()}

    def copy(self, home: Path) -> "MemoryLake":
        """Return a lake with the same contents and a life of its own."""
        other = MemoryLake(home, self.actor)
        other.payloads = dict(self.payloads)
        other._tables = dict(self._tables)
        return other

    def read(self, table: str, **equals: Any) -> pl.DataFrame:
        return self._tables[table].filter(_matching(equals))

    def put(self, data: bytes, suffix: str) -> StoredObject:
        self.payloads[sha256(data) + suffix] = data
        return StoredObject(sha256=sha256(data), suffix=suffix, num_bytes=len(data))

    def put_frame(self, frame: pl.DataFrame) -> StoredObject:
        buffer = BytesIO()
        frame.write_parquet(buffer)
        return self.put(buffer.getvalue(), ".parquet")

    def get(self, object_sha256: str, suffix: str) -> bytes:
        data = self.payloads.get(object_sha256 + suffix)
        if data is None or sha256(data) != object_sha256:
            raise IntegrityError("a payload file is gone or was changed", where=object_sha256, fix="restore it")
        return data

    def payload(self, kind: str, schema: Mapping[str, pl.DataType], **equals: Any) -> pl.DataFrame:
        named = self.read("objects", kind=kind, **equals)["object_sha256"]
        parts = (pl.read_parquet(self.get(sha, ".parquet")) for sha in named)
        return pl.concat([pl.DataFrame(schema=schema), *parts], how="diagonal").select(list(schema))

    def standing_still(self) -> AbstractContextManager[None]:
        return nullcontext()

    def chain(self, dataset: str) -> Chain:
        chain = self._chains.setdefault(dataset, Chain(dataset))
        new = pl.col("seq") > chain.length
        chain.extend(
            self.read("audit_log", dataset=dataset).filter(new).sort("seq").iter_rows(named=True),
            lambda sha: self.get(sha, ".json"),
        )
        return chain

    def commit(self, commit: Commit) -> Receipt:
        done = self.read("audit_log", dataset=commit.dataset, commit_key=commit.key)
        if done.height:
            return Receipt(seq=done["seq"][0], entry_sha256=done["entry_sha256"][0], was_replayed=True)
        commit, _ = sealed(commit)
        now, tables = datetime.now(UTC), dict(self._tables)
        for swap in commit.swaps:
            _swap(tables, swap)
        receipt = self._link(tables, commit, now)
        for change in commit.changes:
            _apply(tables, change, receipt.seq)
        there = set(self.read("objects", dataset=commit.dataset).select("kind", "batch", "object_sha256").rows())
        new = {(kind, batch, each.sha256): each for kind, batch, each in commit.payload}
        rows = [
            {"dataset": commit.dataset, "batch": batch, "kind": kind, "object_sha256": sha, "suffix": stored.suffix}
            | {"num_bytes": stored.num_bytes, "stored_at": now}
            for (kind, batch, sha), stored in new.items()
            if (kind, batch, sha) not in there
        ]
        _apply(tables, Change("objects", TABLES["objects"].frame(rows)), receipt.seq)
        self._tables = tables
        return receipt

    def _link(self, tables: Tables, commit: Commit, now: datetime) -> Receipt:
        heads = tables["heads"].filter(pl.col("dataset") == commit.dataset)
        seq, before = (heads["audit_seq"][0] + 1, heads["audit_sha256"][0]) if heads.height else (1, "0" * 64)
        entry = {"dataset": commit.dataset, "seq": seq, "previous_sha256": before, "commit_key": commit.key}
        entry |= {"action": commit.action, "actor": self.actor, "run_id": commit.run_id}
        entry |= {"details": stored_json(dict(commit.details)), "entered_at": now}
        hashed = entry_sha256(entry)
        if heads.is_empty():
            head = {"dataset": commit.dataset, "head_version": 0, "audit_seq": seq, "audit_sha256": hashed}
            _apply(tables, Change("heads", TABLES["heads"].frame([head])), seq)
        moved = {"audit_seq": seq, "audit_sha256": hashed}
        _swap(tables, Swap("heads", {"dataset": commit.dataset}, {}, moved))
        _apply(tables, Change("audit_log", TABLES["audit_log"].frame([{**entry, "entry_sha256": hashed}])), seq)
        return Receipt(seq=seq, entry_sha256=hashed, was_replayed=False)


def _matching(equals: Mapping[str, Any]) -> pl.Expr:
    found = pl.lit(value=True)
    for name, value in equals.items():
        several = isinstance(value, list | tuple | set)
        found &= pl.col(name).is_in(list(value)) if several else pl.col(name).eq_missing(value)
    return found


def _swap(tables: Tables, swap: Swap) -> None:
    rows, here = tables[swap.table], _matching(swap.where)
    expected = swap.expect or swap.where
    if rows.filter(here).select(list(expected)).rows() != [tuple(expected.values())]:
        raise RefusedError(swap.otherwise, where=swap.table, fix="look, then try again")
    dtypes = TABLES[swap.table].dtypes
    new = [
        pl.when(here).then(pl.lit(value, dtypes[name])).otherwise(pl.col(name)).alias(name)
        for name, value in swap.set.items()
    ]
    tables[swap.table] = rows.with_columns(new)


def _apply(tables: Tables, change: Change, seq: int) -> None:
    table, kept = TABLES[change.table], tables[change.table]
    if change.replaces is not None:
        kept = kept.filter(~_matching(change.replaces))
    rows = change.rows
    if "commit_seq" in table.dtypes:
        rows = rows.with_columns(pl.lit(seq, pl.Int64).alias("commit_seq"))
    rows = rows.select(list(table.dtypes)).cast(table.dtypes)
    if any(rows[column.name].null_count() for column in table.columns if not column.nullable):
        raise StoppedError("the lake could not commit; nothing was changed", where=table.name, fix="give every value")
    tables[change.table] = pl.concat([kept, rows])
