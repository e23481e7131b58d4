"""Carried tables as the ledger tells them: its lines applied in order give the rows the catalog must hold."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.ledger import CARRIED, ENTRY, INTENT
from synth_assets.tables import TABLES

ISO = "%+"
"""How times are written: ISO 8601 with or without a fraction of a second."""


def replayed(lines: Iterable[bytes]) -> dict[str, pl.DataFrame]:
    """Return every carried table as frames of its contract, in no particular order of rows.

    Args:
        lines: a ledger without contradictions, see `broken_ledger`.
    """
    tables = {name: TABLES[name].frame([]) for name in CARRIED}
    for line in lines:
        if not line.startswith((ENTRY, INTENT)):
            told = orjson.loads(line)
            name = told["table"]
            change = _set if "set" in told else _replaced
            tables[name] = change(tables[name], told, TABLES[name].dtypes)
    return tables


def _replaced(rows: pl.DataFrame, told: Mapping[str, Any], dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    kept = rows if told["replaces"] is None else rows.filter(~_matching(told["replaces"]))
    times = [name for name, dtype in dtypes.items() if dtype.is_temporal()]
    written = pl.DataFrame(
        told["columns"], schema={name: pl.String if name in times else dtypes[name] for name in told["columns"]}
    ).with_columns(pl.col(times).str.to_datetime(ISO, time_unit="us", time_zone="UTC"))
    return pl.concat([kept, written.select(list(dtypes)).cast(pl.Schema(dtypes))], rechunk=False)


def _set(rows: pl.DataFrame, told: Mapping[str, Any], dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    here = _matching(told["where"])
    new = [
        pl.when(here).then(_value(value, dtypes[name])).otherwise(pl.col(name)).alias(name)
        for name, value in told["set"].items()
    ]
    return rows.with_columns(new)


def _value(value: Any, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_temporal() and value is not None:
        return pl.lit(value).str.to_datetime(ISO, time_unit="us", time_zone="UTC")
    return pl.lit(value, dtype)


def _matching(equals: Mapping[str, Any]) -> pl.Expr:
    """Rows that equal all values; a list means any of, None means null."""
    found = pl.lit(value=True)
    for name, value in equals.items():
        found &= pl.col(name).is_in(value) if isinstance(value, list) else pl.col(name).eq_missing(pl.lit(value))
    return found


def differing(table: str, told: pl.DataFrame, stored: pl.DataFrame) -> list[str]:
    """Return the keys of rows that are only in one of two frames or not the same in both, sorted.

    Args:
        table: a name of `TABLES`.
        told: its rows by the ledger.
        stored: its rows by the catalog.
    """
    columns, key = list(TABLES[table].dtypes), list(TABLES[table].key)
    sides = [frame.group_by(columns).len() for frame in (told, stored)]
    strays = [
        left.join(right, on=[*columns, "len"], how="anti", nulls_equal=True) for left, right in (sides, sides[::-1])
    ]
    rows = pl.concat(strays).select(key).unique().rows()
    return sorted(", ".join(str(value) for value in row) for row in rows)
