"""Reading and committing: every step is one DuckLake transaction with one audit entry."""

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from resources.actor import acting_as
from resources.home import is_writable
from resources.journal import prefixes
from resources.lake.chains import Chains, in_order_of, migration, refuse_unnamed
from resources.lake.connection import connect, missing_tables, quoted
from resources.lake.damage import is_damage, is_disk_full, read_error, sound
from resources.lake.head_file import head_file
from resources.lake.identity import NAMED_IN, recognised
from resources.lake.ledger import Ledger
from resources.lake.place import place
from resources.lake.signing import signer
from resources.locks import commit_lock, holding
from resources.objects import ObjectFiles, disk_full
from resources.postgres import Server, catalog_server
from synth_assets.canonical import stored_json
from synth_assets.domain.chain import Chain
from synth_assets.domain.ledger import entry_sha256, lines_sha256, sealed
from synth_assets.domain.settling import settled
from synth_assets.domain.transactions import Change, Commit, Receipt, StoredObject, Swap
from synth_assets.errors import RefusedError, StoppedError
from synth_assets.tables import TABLES

LOCK_WAIT_S = 120
COMMIT_TRIES = 3


class _Stream:
    """Hands a frame to DuckDB through Arrow's C interface, without pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


class DuckLake:
    """The `Lake` port on DuckLake; one connection per instance, safe to share between threads."""

    def __init__(
        self, home: Path, server: Server | None, environ: Mapping[str, str], *, is_read_only: bool = False
    ) -> None:
        """Open the lake.

        Args:
            home: SYNTH_HOME.
            server: where the catalog is; None for SQLite under ``home``.
            environ: where the actor, the key and the file of heads are looked up.
            is_read_only: create and lock nothing; what would commit is refused.

        Raises:
            RefusedError: the home cannot be written to, or would have to be.
            UsageError: there is none, and it may only be read.
        """
        self.home = home
        self.server = server
        self.actor = acting_as(environ)
        self.objects = ObjectFiles(home / "objects")
        self.ledger = Ledger(home / "ledger")
        self.chains = Chains(
            self._query, self.get, self.ledger, self._alone, sign=signer(environ), kept=head_file(environ)
        )
        self._mutex = threading.RLock()
        self._is_read_only = is_read_only
        self._is_alone = False
        self._commit_lock = commit_lock(home, server)
        if not (is_read_only or is_writable(home)):
            raise self._unwritable()
        if not is_read_only:
            home.mkdir(parents=True, exist_ok=True)
        if is_read_only:  # its catalog may be a copy, which is as old as this or newer
            self.chains.before = {dataset: self.ledger.end(dataset) for dataset in self.ledger.datasets()}
        with self._alone():
            self._connection = connect(server, home, read_only=is_read_only)
            missing = {table.name for table in missing_tables(self._connection)[0]} if is_read_only else set()
            self.identity = None if NAMED_IN in missing else recognised(self, is_making=not is_read_only)
        if is_read_only and len(missing_tables(self._connection)[1]) > len(missing & {NAMED_IN}):
            raise self._unwritable("was made by an earlier version of the project and lacks columns")

    def close(self) -> None:
        """Let go of the catalog."""
        with self._mutex:
            self._connection.close()

    def read(self, table: str, **equals: Any) -> pl.DataFrame:
        """Return matching rows typed by contract; see `Lake.read`."""
        condition, values = _where(equals)
        columns = ", ".join(f'"{name}"' for name in TABLES[table].dtypes)
        with self._mutex:
            try:
                found = f"SELECT {columns} FROM lake.{table}{condition}"
                relation = self._connection.sql(found, params=values) if values else self._connection.sql(found)
                return sound(table, pl.DataFrame(relation).cast(TABLES[table].dtypes))
            except BaseException as error:
                if not is_damage(error):
                    raise
                raise read_error(error, self.server, self.home, table) from None

    def introduce(self, rows: pl.DataFrame) -> None:
        """Write down which home the catalog is of; the one thing that no entry of a chain is about."""
        self._change(Change("homes", rows))

    def whole(self, table: str) -> pl.DataFrame:
        """Return all rows of a table, read without any condition: no stored minimum or maximum can hide one."""
        return self.read(table)

    def select(self, sql: str, **frames: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of one compiled SELECT, which may also read the given frames by their names."""
        with self._mutex:
            try:
                for name, frame in frames.items():
                    self._connection.register(name, _Stream(frame))
                return pl.DataFrame(self._connection.sql(sql))
            except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
                raise  # a mistake of ours in the statement: nothing was read yet
            except BaseException as error:
                if not is_damage(error):
                    raise
                raise read_error(error, self.server, self.home) from None
            finally:
                for name in frames:
                    self._connection.unregister(name)

    def _query(self, sql: str, values: Sequence[Any]) -> pl.DataFrame:
        try:
            return pl.DataFrame(self._connection.sql(sql, params=list(values)))
        except BaseException as error:
            if not is_damage(error):
                raise
            raise read_error(error, self.server, self.home) from None

    def chain(self, dataset: str) -> Chain:
        """Return what the audit chain of a dataset proves; see `Lake.chain`."""
        with self._mutex:
            return self.chains.prove(dataset)

    def keep_head(self, dataset: str) -> dict[str, Any]:
        """Write the present head of a dataset down outside, where that is wanted.

        Returns:
            ``seq``, ``sha256``, and ``is_kept``, whether there is a file outside to write it into.
        """
        with self._mutex:
            chain = self.chain(dataset)
            return {"seq": chain.length, "sha256": chain.head, "is_kept": self.chains.keep(chain)}

    def put(self, data: bytes, suffix: str) -> StoredObject:
        """Store payload bytes."""
        return self.objects.put(data, suffix)

    def put_frame(self, frame: pl.DataFrame) -> StoredObject:
        """Store a frame as Parquet payload."""
        buffer = BytesIO()
        frame.write_parquet(buffer, compression="zstd", statistics=False)
        return self.objects.put(buffer.getvalue(), ".parquet")

    def get(self, object_sha256: str, suffix: str) -> bytes:
        """Return payload bytes, checked against their name."""
        return self.objects.get(object_sha256, suffix)

    def payload(self, kind: str, schema: Mapping[str, pl.DataType], **equals: Any) -> pl.DataFrame:
        """Return all Parquet payload of a kind as one frame, in the order it was stored; see `Lake.payload`.

        A column that payload of an earlier time does not have is null there.
        """
        named = settled(lambda: self._named(kind, equals), self.standing_still)
        parts = [pl.read_parquet(self.get(sha, ".parquet")) for sha in named["object_sha256"]]
        return pl.concat([pl.DataFrame(schema=schema), *parts], how="diagonal").select(list(schema))

    def _named(self, kind: str, equals: Mapping[str, Any]) -> pl.DataFrame:
        named = self.read("objects", kind=kind, **equals).sort("stored_at", "object_sha256")
        chain = self.chain(equals["dataset"])
        refuse_unnamed(chain, named, kind, equals)
        return in_order_of(chain, named)

    def commit(self, commit: Commit) -> Receipt:
        """Apply a commit; see `Lake.commit`."""
        if self._is_read_only:
            raise self._unwritable()
        commit, lines = sealed(commit)
        with self._mutex:
            tries = 0
            while True:
                tries += 1
                try:
                    return self._commit_once(commit, lines)
                except (duckdb.Error, OSError) as error:
                    if tries == COMMIT_TRIES or not _may_pass(error):
                        raise self._translated(error, "commit") from None

    def _commit_once(self, commit: Commit, lines: Sequence[bytes]) -> Receipt:
        """Apply a commit, unless its key is in the chain already; entries of the first form are bound before it."""
        with self._alone():
            chain = self.chain(commit.dataset)
            if (done := chain.keys.get(commit.key)) is not None:
                return Receipt(seq=done.seq, entry_sha256=done.sha256, was_replayed=True)
            self.chains.refuse_unsigned(chain)
            self._complete_ledger(chain)
            if not chain.is_bound:
                self._write(
                    chain, *migration(chain, self.read, self.payload, self.put, prefixes(self.home, commit.dataset))
                )
                chain = self.chain(commit.dataset)
            return self._write(chain, commit, lines)

    def _write(self, chain: Chain, commit: Commit, lines: Sequence[bytes]) -> Receipt:
        """Apply a commit between its intent and rows in the ledger and its entry there."""
        entry = self._entry(chain, commit)
        self.ledger.prepare(entry, lines)
        self._transact(commit, entry)
        self.ledger.append(entry, lines)
        return Receipt(seq=entry["seq"], entry_sha256=entry["entry_sha256"], was_replayed=False)

    def _entry(self, chain: Chain, commit: Commit) -> dict[str, Any]:
        """Return the row of `audit_log` that follows the last one of a chain."""
        entry = {
            "dataset": commit.dataset,
            "seq": chain.length + 1,
            "previous_sha256": chain.head,
            "commit_key": commit.key,
            "action": commit.action,
            "actor": self.actor,
            "run_id": commit.run_id,
            "details": stored_json({**commit.details, **({"signed": True} if self.chains.sign else {})}),
            "entered_at": datetime.now(UTC),
        }
        hashed = entry_sha256(entry)
        signature = self.chains.sign(hashed) if self.chains.sign else None
        frame = TABLES["audit_log"].frame([{**entry, "entry_sha256": hashed, "hmac": signature}])
        return frame.row(0, named=True)

    def _complete_ledger(self, chain: Chain) -> None:
        """Write the entry of the last commit into the ledger, if its process died before it could."""
        for entry in chain.entries[self.ledger.end(chain.dataset).seq :]:
            row = self.read("audit_log", dataset=chain.dataset, seq=entry.seq).row(0, named=True)
            self.ledger.repair(row, str(entry.details.get("ledger_sha256", lines_sha256([]))), form=entry.form)

    def _transact(self, commit: Commit, entry: Mapping[str, Any]) -> None:
        """Apply a commit in one transaction; a COMMIT that raised may have committed, so its entry is looked up."""
        is_applied = False
        try:
            self._connection.execute("BEGIN")
            self._apply(commit, entry)
            is_applied = True
            self._connection.execute("COMMIT")
        except (duckdb.Error, OSError):
            self._undo()
            if not (is_applied and self._is_there(entry)):
                raise
        except BaseException:
            self._undo()
            raise

    def _is_there(self, entry: Mapping[str, Any]) -> bool:
        """Whether exactly this transaction was committed; an entry's hash holds the time it was made."""
        try:
            found = self.read("audit_log", dataset=entry["dataset"], entry_sha256=entry["entry_sha256"])
            return not found.is_empty()
        except StoppedError as error:
            raise StoppedError(
                "the lake's catalog was lost while committing; everything finished is kept",
                where=error.where,
                fix="run the same command again: it looks up what was committed",
            ) from None

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Keep every process from committing, so that all that is read meanwhile belongs together."""
        with self._mutex, self._alone():
            yield

    def _apply(self, commit: Commit, entry: Mapping[str, Any]) -> None:
        for swap in commit.swaps:
            self._swap(swap)
        self._move_head(entry)
        for change in commit.changes:
            self._change(change, entry["seq"])
        self._name_payload(commit, entry["entered_at"])
        self._change(Change("audit_log", TABLES["audit_log"].frame([entry])))
        message = {"dataset": commit.dataset, "key": commit.key, "run_id": commit.run_id}
        self._connection.execute(
            "CALL lake.set_commit_message(?, ?, extra_info => ?)", [self.actor, commit.action, stored_json(message)]
        )

    def _move_head(self, entry: Mapping[str, Any]) -> None:
        """Take the next place in the dataset's chain."""
        dataset, head = entry["dataset"], {"audit_seq": entry["seq"], "audit_sha256": entry["entry_sha256"]}
        if entry["seq"] == 1:
            self._change(Change("heads", TABLES["heads"].frame([{"dataset": dataset, "head_version": 0, **head}])))
            return
        before = {"audit_seq": entry["seq"] - 1, "audit_sha256": entry["previous_sha256"]}
        otherwise = f"another process wrote to {dataset} in between; nothing was changed"
        self._swap(Swap("heads", where={"dataset": dataset}, expect=before, set=head, otherwise=otherwise))

    def _swap(self, swap: Swap) -> None:
        condition, values = _condition(swap.where)
        names = list(swap.expect) or list(swap.where)
        found = self._connection.execute(
            f"SELECT {', '.join(names)} FROM lake.{swap.table}{condition}", values
        ).fetchall()
        if found != [tuple((swap.expect or swap.where).values())]:
            raise RefusedError(
                swap.otherwise, where=f"{swap.table} {dict(swap.where)}", fix="look at `synth status`, then try again"
            )
        if swap.set:
            pairs = ", ".join(f'"{name}" = ?' for name in swap.set)
            self._connection.execute(f"UPDATE lake.{swap.table} SET {pairs}{condition}", [*swap.set.values(), *values])

    def _change(self, change: Change, seq: int = 0) -> None:
        table = TABLES[change.table]
        if change.replaces is not None:
            condition, values = _condition(change.replaces)
            self._connection.execute(f"DELETE FROM lake.{table.name}{condition}", values)
        if change.rows.height:
            rows = change.rows
            if "commit_seq" in table.dtypes:
                rows = rows.with_columns(pl.lit(seq).alias("commit_seq"))
            rows = rows.select(list(table.dtypes)).cast(table.dtypes)
            self._connection.register("incoming", _Stream(rows))
            self._connection.execute(f"INSERT INTO lake.{table.name} BY NAME SELECT * FROM incoming")
            self._connection.unregister("incoming")

    def _name_payload(self, commit: Commit, now: datetime) -> None:
        if not commit.payload:
            return
        wanted = {(kind, batch, stored.sha256): stored for kind, batch, stored in commit.payload}
        named = [sha for _, _, sha in wanted]
        known = self.read("objects", dataset=commit.dataset, object_sha256=named)
        there = set(zip(known["kind"], known["batch"], known["object_sha256"], strict=True))
        rows = [
            {
                "dataset": commit.dataset,
                "batch": batch,
                "kind": kind,
                "object_sha256": stored.sha256,
                "suffix": stored.suffix,
                "num_bytes": stored.num_bytes,
                "stored_at": now,
            }
            for (kind, batch, _), stored in wanted.items()
            if (kind, batch, stored.sha256) not in there
        ]
        self._change(Change("objects", TABLES["objects"].frame(rows)))

    def _undo(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            # A failed COMMIT has already ended the transaction; there is nothing left to undo.
            return

    def _translated(self, error: Exception, failed_to: str) -> StoppedError:
        if is_disk_full(error):
            return disk_full(self.home)
        return StoppedError(
            f"the lake could not {failed_to} ({type(error).__name__}); nothing was changed",
            where=place(self.server, self.home),
            fix="run the same command again; if it persists, check the catalog and the disk",
        )

    def _unwritable(self, because: str = "cannot be written to") -> RefusedError:
        return RefusedError(
            f"SYNTH_HOME {because}, and this has to write",
            where=str(self.home),
            fix="make it writable for this user, or run the command where it is; what only reads works as it is",
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the commit section: SQLite catalogs refuse writers that overlap, Postgres would let them conflict."""
        if self._is_read_only or self._is_alone:
            yield
            return
        with holding(self._commit_lock, wait_s=LOCK_WAIT_S):
            self._is_alone = True
            try:
                yield
            finally:
                self._is_alone = False


def open_lake(home: Path, environ: Mapping[str, str] | None = None) -> DuckLake:
    """Open the lake of a SYNTH_HOME, creating it when it is new.

    Args:
        home: SYNTH_HOME.
        environ: where SYNTH_CATALOG and SYNTH_ACTOR are looked up; the process's own by default.
    """
    variables = os.environ if environ is None else environ
    return DuckLake(home, catalog_server(variables), variables)


def catalog_place(home: Path, environ: Mapping[str, str]) -> str:
    """Return where the catalog of a home is, for a person; a password is never shown."""
    return place(catalog_server(environ), home)


def _may_pass(error: Exception) -> bool:
    """Whether the same transaction may go through when tried again: a conflict, or a connection that was lost."""
    return (type(error) is duckdb.Error or isinstance(error, duckdb.OperationalError)) and not is_disk_full(error)


def _where(equals: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return a WHERE clause with plain values written into it, or one with parameters.

    A query with parameters is held in memory as a whole before its first row is handed over, 150 MB instead of 60 for
    50,000 requests; one without is not.
    """
    condition, values = _condition(equals)
    if not all(type(value) is int or (isinstance(value, str) and value.isprintable()) for value in values):
        return condition, values
    literals = iter(f"'{quoted(value)}'" if isinstance(value, str) else str(value) for value in values)
    return "".join(next(literals) if part == "?" else part for part in re.split(r"(\?)", condition)), []


def _condition(equals: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return a WHERE clause and its parameters; a list means any of, None means null."""
    parts, values = [], []
    for name, value in equals.items():
        if value is None:
            parts.append(f'"{name}" IS NULL')
        elif isinstance(value, list | tuple | set):
            parts.append(f'"{name}" IN (SELECT unnest(?))')
            values.append(list(value))
        else:
            parts.append(f'"{name}" = ?')
            values.append(value)
    return (" WHERE " + " AND ".join(parts) if parts else ""), values
