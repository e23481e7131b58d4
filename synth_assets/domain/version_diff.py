"""What changed from one version to another: which samples, of which label and prompt, and how the whole moved."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from synth_assets.domain.comparison import UNLABELLED, Comparison, Line, apart, spread

CHANGES = ("added", "removed", "changed")


@dataclass(frozen=True)
class VersionDiff:
    """The difference between two versions.

    Attributes:
        samples: sorted ids of the samples `added`, `removed` and `changed`.
        labels: count of each of `CHANGES` by label.
        prompts: the same by template version.
        comparison: lengths and quality scores of both versions, and the distances between them.
    """

    samples: Mapping[str, list[str]]
    labels: Mapping[str, Mapping[str, int]]
    prompts: Mapping[str, Mapping[str, int]]
    comparison: Comparison


def version_diff(before: pl.DataFrame, after: pl.DataFrame, about: pl.DataFrame) -> VersionDiff:
    """Return what changed between two versions.

    A sample has changed if both hold it, but with another content or in another split.

    Args:
        before: members of the one version, columns of `versioning.MEMBER`.
        after: members of the other.
        about: of every member of either: sample_id, label, prompt as name@version, words, quality_score.
    """
    both = before.join(after, on="sample_id")
    is_other = (pl.col("content_sha256") != pl.col("content_sha256_right")) | (pl.col("split") != pl.col("split_right"))
    parts = {
        "added": after.join(before, on="sample_id", how="anti"),
        "removed": before.join(after, on="sample_id", how="anti"),
        "changed": both.filter(is_other),
    }
    samples = {name: sorted(rows["sample_id"]) for name, rows in parts.items()}
    there, here = (about.join(each, on="sample_id", how="semi").sort("sample_id") for each in (before, after))
    earlier, now = spread(there), spread(here)
    lines = tuple(Line(kind, name, earlier[kind, name], now[kind, name]) for kind, name in now)
    return VersionDiff(
        samples, _by("label", samples, about), _by("prompt", samples, about), Comparison(lines, apart(here, there))
    )


def _by(column: str, samples: Mapping[str, list[str]], about: pl.DataFrame) -> dict[str, dict[str, int]]:
    named = about.select("sample_id", pl.col(column).fill_null(UNLABELLED))
    found = {name: named.filter(pl.col("sample_id").is_in(ids))[column].to_list() for name, ids in samples.items()}
    touched = sorted({each for values in found.values() for each in values})
    return {each: {name: found[name].count(each) for name in CHANGES} for each in touched}
