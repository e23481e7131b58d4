"""Pydantic's findings, said as what / where / fix with the line of the file."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synth_assets.errors import UsageError
from synth_assets.recipe.strict_yaml import Document, Path_
from synth_assets.recipe.wording import FORMS, KEY, worded

Model = TypeVar("Model", bound=BaseModel)

CURES = {
    "missing": "add `{key}:`",
    "union_tag_not_found": "add `kind:`",
    "string_type": "put the value in quotes",
    "invalid_key": "put the key in quotes",
}
"""By pydantic's type of error; any other value is to be corrected."""

MOST_LISTED = 20
"""Findings listed behind the first."""


def validated(model: type[Model], document: Document, *, file: Path) -> Model:
    """Return the document as ``model``.

    Raises:
        UsageError: with every finding, its line and its cure, the first one at length.
    """
    if not isinstance(document.value, dict):
        raise UsageError("expected keys and values", where=f"{file}:1", fix="write `key: value` lines")
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A misspelled key is also a missing one: the misspelling is what to correct.
        first, *others = sorted(_apart(found, model), key=lambda finding: finding["type"] != "extra_forbidden")
        path, what = _said(document, first)
        more = f" (and {len(others)} more)" if others else ""
        fix = "\n".join([_cure(first, model), *_listed(others, document, model)])
        raise UsageError(f"{what}{more}", where=f"{file}:{document.line_of(path)}", fix=fix) from None


def _apart(findings: list[ErrorDetails], model: type[BaseModel]) -> list[ErrorDetails]:
    """Leave out keys that are missing because they stand misspelled beside their place."""
    meant = {
        (*finding["loc"][:-1], close)
        for finding in findings
        if finding["type"] == "extra_forbidden"
        for close in difflib.get_close_matches(str(finding["loc"][-1]), _known_keys(model), n=1)
    }
    return [finding for finding in findings if finding["type"] != "missing" or finding["loc"] not in meant]


def _said(document: Document, finding: ErrorDetails) -> tuple[Path_, str]:
    """Return where a finding is in the document, and its key with what is wrong there."""
    path, message = _path(document.value, finding["loc"]), worded(finding)
    if not path:  # a rule about several keys names the one to look at itself
        head, _, message = message.partition(": ")
        path = tuple(head.split("."))
    return path, f"{'.'.join(str(part) for part in path)}: {message}"


def _listed(findings: list[ErrorDetails], document: Document, model: type[BaseModel]) -> list[str]:
    """Return the findings behind the first, one a line with its cure, as many as a person reads at once."""
    said = [(*_said(document, finding), _cure(finding, model)) for finding in findings[:MOST_LISTED]]
    lines = [f"  line {document.line_of(path)}: {what}; {cure}" for path, what, cure in said]
    left = len(findings) - len(lines)
    return [*lines, f"  and {left:,} more"] if left else lines


def _path(value: Any, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return where a finding is in the document: pydantic also names the `kind` by which it chose a model.

    Where a short form stands for a longer one, it names what the document left out: only the last part may be missing.
    """
    path: list[int | str] = []
    for place, part in enumerate(part for part in loc if part != KEY):
        if isinstance(value, dict) and part not in value and (part == value.get("kind") or place < len(loc) - 1):
            continue
        path.append(str(part) if isinstance(value, dict) else part)  # lines are kept by the keys as written
        is_there = (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int))
        value = value[part] if is_there else None
    return tuple(path)


def _cure(finding: ErrorDetails, model: type[BaseModel]) -> str:
    key = str(finding["loc"][-1]) if finding["loc"] else ""
    if finding["type"] == "extra_forbidden":
        known = _known_keys(model)
        close = [] if key in known else difflib.get_close_matches(key, known, n=1)  # else it only stands elsewhere
        return f"did you mean `{close[0]}`?" if close else f"remove `{key}`; it is no key here"
    if finding["type"] == "string_pattern_mismatch":
        form = FORMS.get(finding["ctx"]["pattern"])
        return f"correct it: {form[1]}" if form else "correct the value"
    return CURES.get(finding["type"], "correct the value").format(key=key)


def _known_keys(kind: Any, seen: set[Any] | None = None) -> set[str]:
    """Return the keys of a model and of every model inside it."""
    seen = seen if seen is not None else set()
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return set().union(*(_known_keys(inner, seen) for inner in get_args(kind)))
    if kind in seen:
        return set()
    seen.add(kind)
    inside = (_known_keys(field.annotation, seen) for field in kind.model_fields.values())
    return set(kind.model_fields).union(*inside)
