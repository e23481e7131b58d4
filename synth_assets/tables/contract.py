"""How a table is described: a Pandera model per table, a `column` per column, nothing said twice.

Everything else that needs to know a table - the lake's DDL, the schema panel of the web UI, the contract gates, the
documentation - reads it from here.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import pandera.polars as pa
import polars as pl

INSTANT = pl.Datetime("us", "UTC")
"""A point in time, microseconds, UTC."""

FORMAT = 2
"""Form of the audit entries written today: from 2 on they bind every row their transaction wrote.

A column that is added later names the form it came with (``since``), and the form is raised with it, so that what was
bound before can still be compared.
"""


def column(
    meaning: str,
    *,
    unit: str | None = None,
    nullable: bool = False,
    before: str | None = None,
    since: int = 2,
    **checks: Any,
) -> Any:
    """Describe one column.

    Args:
        meaning: what a value says, for a person.
        unit: unit of a number (``USD``, ``s``, ``tokens``, ``0..1``); None for names and ids.
        nullable: whether a value may be missing; the meaning then says what that means.
        before: value of rows that were written before the column existed; None for columns that were always there.
        since: form of the entries (`FORMAT`) that first bound it.
        **checks: Pandera's own field checks (``ge``, ``isin``, ``unique`` ...).
    """
    return pa.Field(
        description=meaning, nullable=nullable, metadata={"unit": unit, "before": before, "since": since}, **checks
    )


@dataclass(frozen=True)
class Column:
    """One column as other rooms see it."""

    name: str
    dtype: pl.DataType
    nullable: bool
    unit: str | None
    meaning: str
    before: str | None = None
    since: int = 2


class Bound(StrEnum):
    """How the audit chain vouches for the rows of a table."""

    ROWS = "rows"
    """An entry holds the count and the hash of all rows that share the values of the table's scope."""
    STATE = "state"
    """Entries hold every value that was set; a row is what they add up to."""
    ITSELF = "itself"
    """It is the chain, or is made of nothing but what the chain says."""


@dataclass(frozen=True)
class Table:
    """One table of the lake: its name, its meaning, its key, its columns, and what vouches for its rows.

    Attributes:
        scope: columns whose values rows of one hash share; empty unless they are bound as `Bound.ROWS`.
    """

    name: str
    model: type[pa.DataFrameModel]
    key: tuple[str, ...]
    bound: Bound = Bound.ROWS
    scope: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """The first line of the model's docstring."""
        return (self.model.__doc__ or "").strip().splitlines()[0]

    @property
    def schema(self) -> pa.DataFrameSchema:
        """The Pandera schema every frame of this table must satisfy."""
        return self.model.to_schema()

    @cached_property
    def columns(self) -> list[Column]:
        """The columns in their order."""
        return [
            Column(
                name=name,
                dtype=spec.dtype.type,
                nullable=spec.nullable,
                unit=(spec.metadata or {}).get("unit"),
                meaning=spec.description or "",
                before=(spec.metadata or {}).get("before"),
                since=(spec.metadata or {}).get("since", 2),
            )
            for name, spec in self.schema.columns.items()
        ]

    @cached_property
    def dtypes(self) -> dict[str, pl.DataType]:
        """Column name to Polars type, in order: the schema of an empty frame."""
        return {c.name: c.dtype for c in self.columns}

    def frame(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        """Return ``rows`` as a frame of exactly this table's columns and types, shape (len(rows), columns)."""
        return pl.DataFrame(rows, schema=self.dtypes, orient="row")
