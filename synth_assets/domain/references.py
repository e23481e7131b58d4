"""How a person names a version."""

from synth_assets.errors import UsageError


def split_version(text: str) -> tuple[str, str]:
    """Split DATASET@vN or DATASET@alias.

    Raises:
        UsageError: there is no @, or no text at all: programs name versions too, and may pass anything.
    """
    dataset, _, version = text.partition("@") if isinstance(text, str) else ("", "", "")
    if not dataset or not version:
        shown = repr(text[:80]) if isinstance(text, str) else f"a value of type {type(text).__name__}"
        raise UsageError(
            f"{shown} names no version", where="the name of a version", fix="write DATASET@v1 or DATASET@latest"
        )
    return dataset, version
