"""The comment at the top of a model: what it holds, one row per what, whose it is, its columns and its audits.

Types and meanings of columns that come from a table of the contract are not said again: `as in TABLE` takes them over.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from synth_assets.errors import UsageError
from synth_assets.tables import TABLES, Column
from synth_assets.tables.contract import INSTANT

KINDS: dict[str, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "yes/no": pl.Boolean(),
    "UTC time": INSTANT,
}
BLOCKS = ("columns", "audits")
"""Keys with one entry a line."""

KEY_LINE = re.compile(r"-- ([a-z]+):(?: +(.*))?")
ENTRY = re.compile(r"-- {3}(\S.*)")
CONTINUED = re.compile(r"-- {4,}(\S.*)")
INHERITED = re.compile(r"([a-z]\w*(?:, [a-z]\w*)*): as in ([a-z]\w*)")
OWN = re.compile(
    rf"([a-z]\w*) ({'|'.join(KINDS)})(?:, (?!may be null)([^,:]+))?(, may be null)?: ([A-Z].*\.)",
)
GRAIN = re.compile(r"one row per ([a-z]\w*(?:, [a-z]\w*)*)")
OWNER = re.compile(r"team:[a-z0-9][a-z0-9-]*")
CALL = re.compile(r"([a-z]\w*)(?:\(([a-z]\w*(?:, [a-z]\w*)*)\))?")

Refuse = Callable[[int, str, str], UsageError]
"""Makes the error of a file: line, what, fix."""


@dataclass(frozen=True)
class AuditCall:
    """An audit a header asks for: its name, the columns it is asked about, and the line that asks."""

    name: str
    arguments: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Header:
    """What a model says of itself.

    Attributes:
        grain: the columns that tell its rows apart.
        columns: its output columns in order.
        lines: the line that describes a column.
    """

    description: str
    grain: tuple[str, ...]
    owner: str
    columns: tuple[Column, ...]
    audits: tuple[AuditCall, ...]
    lines: dict[str, int]


@dataclass
class _Entry:
    line: int
    text: str


def parse_header(lines: Iterable[str], wanted: Sequence[str], refuse: Refuse) -> Header:
    """Read the leading comment lines of a model.

    Args:
        lines: those lines.
        wanted: the keys a header of its layer has.
        refuse: makes the error of its file.

    Raises:
        UsageError: a key is missing, unknown or said twice, or an entry cannot be read; it names file and line.
    """
    description, keys = _fold(lines, wanted, refuse)
    missing = [key for key in wanted if key not in keys]
    if missing or not description:
        named = ", ".join(f"`{key}:`" for key in missing) or "its first sentence"
        raise refuse(1, f"the header lacks {named}", f"begin with a sentence, then give {', '.join(wanted)}")
    grain = _only(GRAIN, keys["grain"], refuse, "write `grain: one row per COLUMN, COLUMN`")
    owner = _only(OWNER, keys["owner"], refuse, "write `owner: team:NAME`")
    columns, described = _columns(keys["columns"], refuse)
    header = Header(
        " ".join(description),
        tuple(grain[1].split(", ")),
        owner[0],
        tuple(columns),
        tuple(_calls(keys.get("audits", []), refuse)),
        described,
    )
    for name in header.grain:
        if name not in described:
            line = keys["grain"][0].line
            raise refuse(line, f"the grain names {name!r}, which is no column", "describe it under `columns:`")
    return header


def _fold(lines: Iterable[str], wanted: Sequence[str], refuse: Refuse) -> tuple[list[str], dict[str, list[_Entry]]]:
    """Return the description and the entries of every key."""
    description: list[str] = []
    keys: dict[str, list[_Entry]] = {}
    for number, line in enumerate(lines, start=1):
        if found := KEY_LINE.fullmatch(line.rstrip()):
            if found[1] not in wanted:
                raise refuse(number, f"the header has no key {found[1]!r}", f"keys: {', '.join(wanted)}")
            _begin(keys, found, number, refuse)
        elif not keys:
            description.append(line.removeprefix("--").strip())
        else:
            _continue(list(keys), keys, line.rstrip(), number, refuse)
    return [part for part in description if part], keys


def _begin(keys: dict[str, list[_Entry]], found: re.Match[str], number: int, refuse: Refuse) -> None:
    key, value = found[1], found[2]
    if key in keys:
        raise refuse(number, f"`{key}:` stands twice", "keep one")
    if (key in BLOCKS) == bool(value):
        raise refuse(
            number, f"`{key}:` is written otherwise", "columns and audits one to a line below, grain and owner beside"
        )
    keys[key] = [_Entry(number, value)] if value else []


def _continue(names: list[str], keys: dict[str, list[_Entry]], line: str, number: int, refuse: Refuse) -> None:
    entries = keys[names[-1]]
    if names[-1] in BLOCKS and (found := ENTRY.fullmatch(line)):
        entries.append(_Entry(number, found[1]))
    elif entries and (found := CONTINUED.fullmatch(line)):
        entries[-1].text += f" {found[1]}"
    else:
        raise refuse(number, "this line belongs to no key", "indent an entry by three spaces, its continuation by more")


def _only(pattern: re.Pattern[str], entries: list[_Entry], refuse: Refuse, fix: str) -> re.Match[str]:
    found = pattern.fullmatch(entries[0].text)
    if found is None:
        raise refuse(entries[0].line, f"{entries[0].text!r} cannot be read", fix)
    return found


def _columns(entries: list[_Entry], refuse: Refuse) -> tuple[list[Column], dict[str, int]]:
    columns: list[Column] = []
    lines: dict[str, int] = {}
    for entry in entries:
        for column in _described(entry, refuse):
            if column.name in lines:
                raise refuse(entry.line, f"{column.name!r} is described twice", f"line {lines[column.name]} does so")
            columns.append(column)
            lines[column.name] = entry.line
    return columns, lines


def _described(entry: _Entry, refuse: Refuse) -> list[Column]:
    if own := OWN.fullmatch(entry.text):
        name, kind, unit, null, meaning = own.groups()
        return [Column(name, KINDS[kind], nullable=null is not None, unit=unit, meaning=meaning)]
    inherited = INHERITED.fullmatch(entry.text)
    if inherited is None:
        raise refuse(
            entry.line,
            f"{entry.text[:60]!r} describes no column",
            f"write `NAME TYPE[, UNIT][, may be null]: Sentence.` (types: {', '.join(KINDS)}), or `NAME: as in TABLE`",
        )
    known = {column.name: column for column in TABLES[inherited[2]].columns} if inherited[2] in TABLES else {}
    names = inherited[1].split(", ")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise refuse(
            entry.line, f"table {inherited[2]!r} has no column {unknown[0]!r}", "docs/tables.md lists what there is"
        )
    return [known[name] for name in names]


def _calls(entries: list[_Entry], refuse: Refuse) -> list[AuditCall]:
    calls = []
    for entry in entries:
        found = CALL.fullmatch(entry.text)
        if found is None:
            raise refuse(entry.line, f"{entry.text[:60]!r} is no audit", "write `NAME` or `NAME(COLUMN, COLUMN)`")
        calls.append(AuditCall(found[1], tuple(found[2].split(", ")) if found[2] else (), entry.line))
    return calls
