"""Pydantic's findings, said as what / where / fix with the line of the file."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synth_assets.errors import UsageError
from synth_assets.recipe.strict_yaml import Document

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
        path = tuple(str(part) if isinstance(part, str) else part for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if not path:  # a rule about several keys names the one to look at itself
            head, _, message = message.partition(": ")
            path = tuple(head.split("."))
        name = ".".join(str(part) for part in path)
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise UsageError(
            f"{name}: {message}{more}", where=f"{file}:{document.line_of(path)}", fix=_cure(first, model)
        ) from None


def _cure(finding: ErrorDetails, model: type[BaseModel]) -> str:
    key = str(finding["loc"][-1]) if finding["loc"] else ""
    if finding["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, _known_keys(model), n=1)
        return f"did you mean `{close[0]}`?" if close else f"remove `{key}`; it is no key here"
    if finding["type"] == "missing":
        return f"add `{key}:`"
    if finding["type"] == "string_type":
        return "put the value in quotes"
    return "correct the value"


def _known_keys(model: type[BaseModel], seen: set[Any] | None = None) -> set[str]:
    seen = seen if seen is not None else set()
    if model in seen:
        return set()
    seen.add(model)
    keys = set(model.model_fields)
    for field in model.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys |= _known_keys(kind, seen)
    return keys
