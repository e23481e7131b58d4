"""What a version contains and what changed: membership as intervals, cut one after the other."""

import re
from dataclasses import dataclass

import polars as pl

from synth_assets.domain.ids import version_digest

MEMBER = ["sample_id", "content_sha256", "split", "batch"]


@dataclass(frozen=True)
class Cut:
    """The difference between the head and the next version.

    Attributes:
        members: everything in the next version, columns `MEMBER`, sorted by sample_id.
        added: members that were not in the head.
        removed: members of the head that are not in the next version.
        left_out: examples whose content is already in the version under another sample.
        digest: of the next version.
    """

    members: pl.DataFrame
    added: pl.DataFrame
    removed: pl.DataFrame
    left_out: pl.DataFrame
    digest: str

    @property
    def is_empty(self) -> bool:
        """Whether the next version would equal the head."""
        return self.added.is_empty() and self.removed.is_empty()


def number_of(key: str) -> int:
    """Return the number of a version's key: v and ASCII digits without leading zero; -1 for any other spelling.

    Example:
        >>> number_of("v12"), number_of("12"), number_of("v02"), number_of("v0")
        (12, -1, -1, -1)
    """
    return int(key[1:]) if re.fullmatch("v[1-9][0-9]{0,8}", key, re.ASCII) else -1


def members_of(intervals: pl.DataFrame, version: int) -> pl.DataFrame:
    """Return the members of a version, columns `MEMBER`, sorted by sample_id.

    Args:
        intervals: rows of `version_members` of one dataset.
        version: its number; 0 has no members.
    """
    inside = (pl.col("added_in") <= version) & (pl.col("removed_in").is_null() | (pl.col("removed_in") > version))
    return intervals.filter(inside).select(MEMBER).sort("sample_id")


def cut(examples: pl.DataFrame, intervals: pl.DataFrame, *, head: int) -> Cut:
    """Return what the version after ``head`` holds.

    Of examples with the same content only the first, by batch and sample_id, enters: batches that ran side by side
    could not see each other.

    Args:
        examples: training examples of all green batches, shape (n, 7).
        intervals: rows of `version_members` of the dataset.
        head: number of the latest version, 0 before the first.
    """
    ordered = examples.select(MEMBER).sort("batch", "sample_id")
    members = ordered.unique("content_sha256", keep="first", maintain_order=True).sort("sample_id")
    before = members_of(intervals, head)
    return Cut(
        members=members,
        added=members.join(before, on=MEMBER, how="anti", maintain_order="left"),
        removed=before.join(members, on=MEMBER, how="anti", maintain_order="left"),
        left_out=ordered.join(members, on="sample_id", how="anti", maintain_order="left"),
        digest=digest_of(members),
    )


def digest_of(members: pl.DataFrame) -> str:
    """Return the digest of a version's members."""
    return version_digest(members.select("sample_id", "content_sha256", "split").iter_rows())


def advanced(intervals: pl.DataFrame, change: Cut, *, dataset: str, version: int, cause: str) -> pl.DataFrame:
    """Return the intervals with ``version`` opened for what was added and closed for what was removed.

    Args:
        intervals: rows of `version_members` of the dataset.
        change: what the new version holds.
        dataset: the dataset.
        version: number of the new version.
        cause: why members leave.
    """
    leaving = pl.col("sample_id").is_in(change.removed["sample_id"].to_list()) & pl.col("removed_in").is_null()
    closed = intervals.with_columns(
        pl.when(leaving).then(pl.lit(version, pl.Int64)).otherwise(pl.col("removed_in")).alias("removed_in"),
        pl.when(leaving).then(pl.lit(cause)).otherwise(pl.col("cause")).alias("cause"),
    )
    opened = change.added.with_columns(
        pl.lit(dataset).alias("dataset"),
        pl.lit(version, pl.Int64).alias("added_in"),
        pl.lit(None, pl.Int64).alias("removed_in"),
        pl.lit(None, pl.String).alias("cause"),
    )
    return pl.concat([closed, opened.select(closed.columns)])
