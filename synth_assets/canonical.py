"""One JSON text per value, and its hash: what every id and digest is made of."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, floats as decimal strings.

    Floats are written as strings so that no parser's rounding can change a hash.

    Raises:
        TypeError: the value holds something JSON has no word for.
    """
    return orjson.dumps(_without_floats(value), option=orjson.OPT_SORT_KEYS)


def _without_floats(value: Any) -> Any:
    if isinstance(value, str):  # most values are, and the other questions take longer
        return value
    if isinstance(value, float):
        return format(Decimal(repr(value)).normalize(), "f")
    if isinstance(value, Mapping):
        return {str(key): _without_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_floats(item) for item in value]
    return value


def sha256(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, 64 hex digits."""
    return sha256(canonical_json(value))


def stored_json(value: Any) -> str:
    """Return sorted JSON text for a column or a file that is read back as values: floats stay numbers.

    Raises:
        TypeError: the value holds something JSON has no word for.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
