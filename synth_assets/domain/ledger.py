"""The audit chain and its copy in files: what an entry hashes, which lines a commit leaves, and what contradicts what.

A commit leaves a line with its intent, the hash of the entry it is about to make, then one line per change of a carried
table, then one with its audit entry. An entry line ends a commit, so lines behind the last one belong to a commit whose
process died: if the catalog holds the intended entry, it is completed; if not, it never happened. An entry in the
catalog that no line of the ledger intended was not made by a commit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import digest
from synth_assets.domain.binding import bindings
from synth_assets.domain.transactions import Commit

FIRST_HEAD = "0" * 64
"""What the first entry of a chain names as the one before."""

CARRIED = ("decisions", "version_members", "dataset_aliases")
"""Tables whose every change is in the ledger: who decided what cannot be computed anew from payload and releases."""

UNHASHED = frozenset({"entry_sha256", "hmac"})
"""Fields of an entry that say something of its hash, and so are no part of it."""

ROWS_PER_LINE = 10_000
ENTRY = b'{"entry":'
INTENT = b'{"intent":'
"""How lines of entries and of intents begin; a line of rows begins otherwise."""


def entry_sha256(entry: Mapping[str, Any]) -> str:
    """Return the hash of an audit entry: sha256 of the canonical JSON of all its other fields, as 64 hex digits."""
    told = {name: value for name, value in entry.items() if name not in UNHASHED}
    return digest({**told, "entered_at": entry["entered_at"].isoformat()})


def sealed(commit: Commit) -> tuple[Commit, list[bytes]]:
    """Return a commit whose audit details bind all it writes, and the ledger lines of its carried rows.

    So the hash of the audit entry covers every row, every value that is set and every payload file of its transaction,
    with what that file is.
    """
    lines = [*_rows_of(commit), *_swaps_of(commit)]
    details = {**commit.details, **bindings(commit.changes, commit.swaps)}
    if commit.payload:
        details["objects"] = sorted({stored.sha256 + stored.suffix for _, _, stored in commit.payload})
        named = {(kind, batch, stored.sha256 + stored.suffix) for kind, batch, stored in commit.payload}
        details["binds"]["payload"] = [list(each) for each in sorted(named, key=str)]
    if lines:
        details["ledger_sha256"] = lines_sha256(lines)
    return replace(commit, details=details), lines


def _rows_of(commit: Commit) -> Iterator[bytes]:
    for change in commit.changes:
        if change.table in CARRIED:
            yield from row_lines(change.table, change.rows, change.replaces)


def _swaps_of(commit: Commit) -> Iterator[bytes]:
    for swap in commit.swaps:
        if swap.table in CARRIED and swap.set:
            yield _line({"table": swap.table, "where": dict(swap.where), "set": dict(swap.set)})


def row_lines(table: str, rows: pl.DataFrame, replaces: Mapping[str, Any] | None) -> Iterator[bytes]:
    """Yield the ledger lines of rows that replace what equals ``replaces`` (None: they only come in addition)."""
    parts = list(rows.iter_slices(ROWS_PER_LINE)) or [rows]
    for number, part in enumerate(parts):
        gone = dict(replaces) if replaces is not None and number == 0 else None
        yield _line({"table": table, "replaces": gone, "columns": part.to_dict(as_series=False)})


def intent_line(entry: Mapping[str, Any]) -> bytes:
    """Return the line that begins a commit: it holds the hash of the entry that will end it."""
    return _line({"intent": {"seq": entry["seq"], "entry_sha256": entry["entry_sha256"]}})


def intended_by(line: bytes) -> str | None:
    """Return the hash of the entry that a line intends; None if it is no whole line of an intent."""
    if not (line.startswith(INTENT) and line.endswith(b"\n")):
        return None
    try:
        return str(orjson.loads(line)["intent"]["entry_sha256"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None


def entry_line(entry: Mapping[str, Any], rows_sha256: str, *, is_recovered: bool) -> bytes:
    """Return the line that ends a commit.

    Args:
        entry: its row of `audit_log`.
        rows_sha256: hash of the lines before it that belong to it.
        is_recovered: whether it was written later, from the catalog; its rows are then what the tables held by then.
    """
    told = {name: value for name, value in entry.items() if name != "hmac" or value is not None}
    told["entered_at"] = entry["entered_at"].isoformat()
    return _line({"entry": told, "is_recovered": is_recovered, "rows_sha256": rows_sha256})


def lines_sha256(lines: Iterable[bytes]) -> str:
    """Return the sha256 of lines as they are written."""
    hashed = sha256()
    for line in lines:
        hashed.update(line)
    return hashed.hexdigest()


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE, default=list)


@dataclass(frozen=True)
class Recorded:
    """One entry as the ledger holds it.

    Attributes:
        line_number: where it stands in the file, from 1.
        line: its bytes.
        rows_sha256: hash of the lines before it that belong to it, as they are now.
        intent: the first of these lines if it is an intent; else empty.
    """

    line_number: int
    line: bytes
    rows_sha256: str
    intent: bytes

    @property
    def intended(self) -> str | None:
        """Hash of the entry that its first line intends; None without one."""
        return intended_by(self.intent)

    @property
    def is_entry(self) -> bool:
        """Whether the line is one of an entry, readable or not; otherwise rows stand at the end of the file."""
        return self.line.startswith(ENTRY)

    @property
    def told(self) -> dict[str, Any]:
        """What the line says; empty if it is no entry line."""
        try:
            value = orjson.loads(self.line)
        except orjson.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) and isinstance(value.get("entry"), dict) else {}

    @property
    def seq(self) -> int:
        """Place in the chain it claims; 0 if the line cannot be read."""
        seq = self.told.get("entry", {}).get("seq")
        return seq if isinstance(seq, int) else 0

    @property
    def is_recovered(self) -> bool:
        """Whether it was written later, from the catalog."""
        return self.told.get("is_recovered") is True


def recorded(lines: Iterable[bytes]) -> list[Recorded]:
    """Return the entries of a ledger in their order; whole lines behind the last one count as an entry nobody can read.

    A last line without an end was being written when its process died, and counts for nothing.
    """
    found: list[Recorded] = []
    hashed, pending, intent = sha256(), b"", b""
    number = 0
    for line in lines:
        if not line.endswith(b"\n"):
            break
        number += 1
        if line.startswith(ENTRY):
            found.append(Recorded(number, line, hashed.hexdigest(), intent))
            hashed, pending, intent = sha256(), b"", b""
        elif not pending and intended_by(line) is not None:
            pending = intent = line
        else:
            hashed.update(line)
            pending = line
    if pending:
        found.append(Recorded(number, pending, hashed.hexdigest(), intent))
    return found
