"""What an audit entry says of the rows its transaction wrote, so that every row can be proven from the chain.

Rows are bound by scope: the rows of a table that share the values of its scope are one count and one hash over every
column. Tables whose rows change value by value are bound by every value that was set.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from synth_assets.domain.transactions import Change, Swap
from synth_assets.tables import FORMAT, TABLES, Bound

LATER = frozenset({"commit_seq"})
"""Columns the lake fills in when it knows the entry's place; they are compared with that place instead."""

CLOSED = frozenset({"audit_seq", "audit_sha256"})
"""Columns that are moved with every entry, which says so itself."""

Scope = tuple[Any, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of one scope.

    Attributes:
        count: how many there are.
        sha256: `fingerprint` of them.
        form: `FORMAT` of the entry, which decides the columns that were hashed.
    """

    count: int
    sha256: str
    form: int = FORMAT


def fingerprint(table: str, rows: pl.DataFrame, *, form: int = FORMAT) -> str:
    """Return one hash of rows, whatever their order: sha256 over every column, sorted by key.

    Each column goes in as its name, a bit per row for nulls, and its values: numbers, yes/no and times as 64-bit
    little-endian words, texts as their lengths in bytes and then their bytes.

    Args:
        table: a name of `TABLES`.
        rows: frame of exactly that table's columns, shape (n, columns).
        form: `FORMAT` of the entry that binds them; columns of later forms are left out.

    Returns:
        64 hex digits.
    """
    contract = TABLES[table]
    names = [each.name for each in contract.columns if each.since <= form and each.name not in LATER]
    ordered = rows.sort([*contract.key, *(name for name in names if name not in contract.key)], nulls_last=False)
    hashed = sha256(f"{table}\n{ordered.height}\n".encode())
    for name in names:
        values = ordered[name]
        hashed.update(f"{name}\n".encode())
        hashed.update(np.packbits(values.is_null().to_numpy()).tobytes())
        for part in _words(values):
            hashed.update(part)
    return hashed.hexdigest()


def _words(values: pl.Series) -> Iterator[bytes]:
    if values.dtype == pl.String:
        filled = values.fill_null("")
        yield filled.str.len_bytes().to_numpy().astype("<u8").tobytes()
        yield "".join(filled.to_list()).encode()
    elif values.dtype == pl.Float64:
        yield values.fill_null(0.0).to_numpy().astype("<f8").tobytes()
    else:
        yield values.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes()


def by_scope(table: str, rows: pl.DataFrame) -> dict[Scope, pl.DataFrame]:
    """Return rows by the values of their table's scope, times as text."""
    if rows.is_empty():
        return {}
    parts = rows.partition_by(list(TABLES[table].scope), as_dict=True)
    return {told(key): part for key, part in parts.items()}


def told(values: Sequence[Any]) -> Scope:
    """Return values as an entry tells them: times as ISO 8601."""
    return tuple(value.isoformat() if isinstance(value, datetime) else value for value in values)


def bindings(changes: Sequence[Change], swaps: Sequence[Swap]) -> dict[str, Any]:
    """Return what the details of an entry say of its rows.

    Returns:
        ``form``, the `FORMAT`, and ``binds`` with ``rows``, a list of [table, scope, count, sha256], and ``sets``, a
        list of [table, the values that find the row, the values that were set].

    Raises:
        ValueError: a change replaces rows of a bound table without saying whose.
    """
    rows = [
        [change.table, list(scope), found.count, found.sha256] for change in changes for scope, found in _rows(change)
    ]
    whole = [entry for change in changes for entry in _whole(change)]
    moved = [
        [swap.table, dict(swap.where), {name: _plain(value) for name, value in swap.set.items()}]
        for swap in swaps
        if swap.set
    ]
    binds = ({"rows": rows} if rows else {}) | ({"sets": [*whole, *moved]} if whole or moved else {})
    return {"form": FORMAT, "binds": binds}


def _rows(change: Change) -> Iterator[tuple[Scope, Rows]]:
    table = TABLES[change.table]
    if table.bound is not Bound.ROWS:
        return
    rows = change.rows if change.leaves is None else change.leaves
    parts = by_scope(change.table, rows.select(list(table.dtypes)).cast(pl.Schema(table.dtypes)))
    if change.replaces is not None:
        if not set(table.scope) <= set(change.replaces):
            raise ValueError(f"a change of {change.table} must name what it replaces: {', '.join(table.scope)}")
        values = (change.replaces[name] for name in table.scope)
        emptied = product(*(value if isinstance(value, list | tuple | set) else [value] for value in values))
        parts = {told(scope): table.frame([]) for scope in emptied} | parts
    for scope, part in parts.items():
        yield scope, Rows(part.height, fingerprint(change.table, part))


def _whole(change: Change) -> Iterator[list[Any]]:
    table = TABLES[change.table]
    if table.bound is Bound.STATE:
        for row in change.rows.iter_rows(named=True):
            values = {name: _plain(value) for name, value in row.items()}
            yield [change.table, {name: values[name] for name in table.key}, values]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def state_of(table: str, row: Mapping[str, Any]) -> tuple[Scope, dict[str, Any]]:
    """Return the key of a row of a state table, and all its values as an entry would tell them."""
    values = {name: _plain(value) for name, value in row.items()}
    return tuple(values[name] for name in TABLES[table].key), values
