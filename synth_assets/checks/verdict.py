"""A verdict, and how Pandera reaches it: every gate is a frame of facts and a schema they must satisfy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

E = TypeVar("E")
MAX_SHOWN = 10
"""Ids shown with a failed verdict; counts are always whole."""


@dataclass(frozen=True)
class Verdict:
    """What one gate said.

    Attributes:
        facts: counts, shares and capped ids; never sample text.
        is_blocking: whether a failure stops the chain.
        value: the one number that was held against a threshold; None where there is none.
        least, most: the threshold, both ends admitted; None where that side is open.
        version: of the gate: raised when it measures something else.
    """

    gate: str
    passed: bool
    facts: dict[str, Any] = field(default_factory=dict)
    is_blocking: bool = True
    value: float | None = None
    least: float | None = None
    most: float | None = None
    version: int = 1


def prepare() -> None:
    """Load what Pandera loads at its first judgement; that can be done while a provider answers."""
    import pandera.backends.polars.builtin_checks  # noqa: F401 - imported for its effect


def judged(
    gate: str,
    frame: pl.DataFrame,
    schema: pa.DataFrameSchema,
    *,
    id_column: str,
    facts: dict[str, Any],
    at_least: int = 0,
) -> Verdict:
    """Validate a frame of facts and return the verdict.

    Args:
        gate: name of the gate.
        frame: one row per judged thing.
        schema: what every row must satisfy.
        id_column: column whose values name failing rows; capped and sorted in the verdict.
        facts: numbers a person needs to understand the verdict.
        at_least: rows the frame must have, since an empty frame satisfies every schema.
    """
    facts = {"checked": frame.height, **facts}
    if frame.height < at_least:
        return Verdict(
            gate, passed=False, facts={**facts, "failed": 0, "problem": f"fewer than {at_least} rows to judge"}
        )
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        return Verdict(gate, passed=False, facts={**facts, **_failures(frame, error, id_column)})
    except pl.exceptions.PolarsError as error:
        return Verdict(gate, passed=False, facts={**facts, "failed": frame.height, "problem": type(error).__name__})
    return Verdict(gate, passed=True, facts={**facts, "failed": 0})


def asked(gate: str, ask: Callable[[E], Verdict], evidence: E) -> Verdict:
    """Ask a gate; one that raises has failed."""
    try:
        return ask(evidence)
    except Exception as error:  # noqa: BLE001 - a gate that cannot be asked must hold, whatever went wrong in it
        return Verdict(gate, passed=False, facts={"problem": f"the gate itself failed with {type(error).__name__}"})


def _failures(frame: pl.DataFrame, error: SchemaErrors, id_column: str) -> dict[str, Any]:
    """Count failing rows and name some of them; Pandera's own messages hold values and are not used."""
    cases = error.failure_cases
    checks = sorted(
        {f"{row['column'] or 'frame'}: {row['check']}".split("(")[0] for row in cases.iter_rows(named=True)}
    )
    rows = sorted({index for index in cases["index"].to_list() if index is not None})
    names = sorted(
        str(frame[id_column][index]) for index in rows if id_column in frame.columns and index < frame.height
    )
    return {"failed": len(rows) or frame.height, "broken": checks[:MAX_SHOWN], "failing": names[:MAX_SHOWN]}
