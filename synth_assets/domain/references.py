"""How a person names a version."""

import re

from synth_assets.errors import UsageError

NAME = "[a-z][a-z0-9_]{0,62}"
"""What a dataset may be called: its name is also a Dagster, a SQL and a folder's name."""


def split_version(text: str) -> tuple[str, str]:
    """Split DATASET@vN or DATASET@alias.

    Raises:
        UsageError: there is no @, or no text at all: programs name versions too, and may pass anything.
    """
    dataset, _, version = text.partition("@") if isinstance(text, str) else ("", "", "")
    if not version or not re.fullmatch(NAME, dataset):
        shown = repr(text[:80]) if isinstance(text, str) else f"a value of type {type(text).__name__}"
        raise UsageError(
            f"{shown} names no version", where="the name of a version", fix="write DATASET@v1 or DATASET@latest"
        )
    return dataset, version
