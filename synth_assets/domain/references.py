"""How a person names a version."""

from synth_assets.errors import UsageError


def split_version(text: str) -> tuple[str, str]:
    """Split DATASET@vN or DATASET@alias.

    Raises:
        UsageError: there is no @.
    """
    dataset, mark, version = text.partition("@")
    if not mark or not dataset or not version:
        raise UsageError(
            f"{text[:80]!r} names no version", where="the name of a version", fix="write DATASET@v1 or DATASET@latest"
        )
    return dataset, version
