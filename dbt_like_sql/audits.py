"""The audits a model may ask for: each is a sentence and a SELECT of the rows that break it."""

from collections.abc import Callable
from dataclasses import dataclass

from dbt_like_sql.header import AuditCall, Header, Refuse

ANY_NUMBER = 99


@dataclass(frozen=True)
class Audit:
    """An audit of one model.

    Attributes:
        name: unique within the model.
        sentence: what must be true.
        sql: one SELECT of the offending rows; it reads the model by its name alone.
    """

    name: str
    sentence: str
    sql: str


@dataclass(frozen=True)
class _Rule:
    """An audit of the library: how many columns it takes, what it says, and when a row breaks it."""

    least: int
    most: int
    says: Callable[[Header, tuple[str, ...]], str]
    broken: Callable[[Header, tuple[str, ...]], str]
    is_named_by_its_first_column: bool = False
    clause: str = "where"


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _any(names: tuple[str, ...], condition: str) -> str:
    return " or ".join(f"{name} {condition}" for name in names) or "false"


def _required(header: Header) -> tuple[str, ...]:
    return tuple(column.name for column in header.columns if not column.nullable)


RULES: dict[str, _Rule] = {
    "unique_grain": _Rule(
        0,
        0,
        lambda header, _: f"There is one row per {_words(header.grain)}.",
        lambda header, _: f"count(*) over (partition by {_words(header.grain)}) > 1",
        clause="qualify",
    ),
    "not_null": _Rule(
        0,
        0,
        lambda _, __: "Nothing is missing that may not be null.",
        lambda header, _: _any(_required(header), "is null"),
    ),
    "not_negative": _Rule(
        1, ANY_NUMBER, lambda _, names: f"Never below zero: {_words(names)}.", lambda _, names: _any(names, "< 0")
    ),
    "share": _Rule(
        1,
        ANY_NUMBER,
        lambda _, names: f"From 0 to 1: {_words(names)}.",
        lambda _, names: _any(names, "not between 0 and 1"),
    ),
    "at_most": _Rule(
        2,
        2,
        lambda _, names: f"{names[0]} never exceeds {names[1]}.",
        lambda _, names: f"{names[0]} > {names[1]}",
        is_named_by_its_first_column=True,
    ),
    "adds_up": _Rule(
        3,
        ANY_NUMBER,
        lambda _, names: f"{names[0]} = {' + '.join(names[1:])}.",
        lambda _, names: f"{names[0]} is distinct from {' + '.join(names[1:])}",
        is_named_by_its_first_column=True,
    ),
    "zero_when": _Rule(
        2,
        2,
        lambda _, names: f"Where {names[1]} is true, {names[0]} is 0.",
        lambda _, names: f"{names[1]} and {names[0]} is distinct from 0",
        is_named_by_its_first_column=True,
    ),
}


def audits_of(model: str, header: Header, refuse: Refuse) -> list[Audit]:
    """Return the audits a header asks for, compiled.

    Raises:
        UsageError: an audit is unknown, asked about too few, too many or unknown columns, or stands twice.
    """
    found: dict[str, Audit] = {}
    for call in header.audits:
        audit = _compiled(model, header, call, refuse)
        if audit.name in found:
            raise refuse(call.line, f"the audit {audit.name!r} stands twice", "name all its columns in one")
        found[audit.name] = audit
    return list(found.values())


def _compiled(model: str, header: Header, call: AuditCall, refuse: Refuse) -> Audit:
    rule = RULES.get(call.name)
    if rule is None:
        raise refuse(call.line, f"there is no audit {call.name!r}", f"audits: {', '.join(sorted(RULES))}")
    if not rule.least <= len(call.arguments) <= rule.most:
        raise refuse(call.line, f"{call.name} is not about {len(call.arguments)} columns", f"it takes {_arity(rule)}")
    unknown = [name for name in call.arguments if name not in header.lines]
    if unknown:
        raise refuse(call.line, f"{call.name} asks about {unknown[0]!r}, which is no column", "correct its name")
    return Audit(
        name=f"{call.name}_{call.arguments[0]}" if rule.is_named_by_its_first_column else call.name,
        sentence=rule.says(header, call.arguments),
        sql=_offending(model, header, call.arguments, f"{rule.clause} {rule.broken(header, call.arguments)}"),
    )


def _offending(model: str, header: Header, asked: tuple[str, ...], clause: str) -> str:
    names = _words(tuple(dict.fromkeys((*header.grain, *asked))))
    return f"select {names}\nfrom {model}\n{clause}\norder by {_words(header.grain)}\n"


def _arity(rule: _Rule) -> str:
    return f"{rule.least} or more" if rule.most == ANY_NUMBER else str(rule.least)
