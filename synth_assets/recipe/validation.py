"""Pydantic's findings, said as what / where / fix with the line of the file."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synth_assets.errors import UsageError
from synth_assets.recipe.strict_yaml import Document
from synth_assets.recipe.wording import KEY, worded

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], document: Document, *, file: Path) -> Model:
    """Return the document as ``model``.

    Raises:
        UsageError: with the first finding, its line, and how many more there are.
    """
    if not isinstance(document.value, dict):
        raise UsageError("expected keys and values", where=f"{file}:1", fix="write `key: value` lines")
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)
        # A misspelled key is also a missing one: the misspelling is what to correct.
        first = min(findings, key=lambda finding: finding["type"] != "extra_forbidden")
        path = _path(document.value, first["loc"])
        message = worded(first)
        if not path:  # a rule about several keys names the one to look at itself
            head, _, message = message.partition(": ")
            path = tuple(head.split("."))
        name = ".".join(str(part) for part in path)
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise UsageError(
            f"{name}: {message}{more}", where=f"{file}:{document.line_of(path)}", fix=_cure(first, model)
        ) from None


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
    if finding["type"] == "missing":
        return f"add `{key}:`"
    if finding["type"] == "union_tag_not_found":
        return "add `kind:`"
    if finding["type"] == "string_type":
        return "put the value in quotes"
    if finding["type"] == "invalid_key":
        return "put the key in quotes"
    return "correct the value"


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
