"""JSON that other programs wrote, read strictly: by seed tables, test sets and what is taken in alike."""

import json
from collections.abc import Sequence
from typing import Any


class NoJsonError(ValueError):
    """Bytes that are no JSON by itself; says why in a clause, never what was written."""


def strict_json(data: bytes) -> Any:
    """Return the value of JSON text in UTF-8, a mark of the byte order before it or not.

    Raises:
        NoJsonError: it is not UTF-8 or no JSON, a key stands twice in it, or a number is NaN or infinite.
    """
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError:
        raise NoJsonError("this is not UTF-8") from None
    try:
        return json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except NoJsonError:
        raise
    except (ValueError, RecursionError):
        raise NoJsonError("this is no JSON") from None


def _without_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NoJsonError("a key stands twice in it")
    return found


def _no_constant(name: str) -> Any:
    raise NoJsonError(f"{name} is no JSON number")
