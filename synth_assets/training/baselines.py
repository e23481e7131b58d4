"""What a model must beat to have been worth its data: the majority label, the prompt's own shots, real examples.

Pure: chooses the rows; `run` trains on them with the very trainer, parameters and seed of the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from synth_assets.domain import ids

MAJORITY = "baseline:majority"
SHOTS = "baseline:shots"
REAL = "baseline:real_{rows}"


@dataclass(frozen=True)
class Baseline:
    """A training set to compare with.

    Attributes:
        subject: its name in table `evaluations`.
        rows: columns text and label, in a fixed order.
    """

    subject: str
    rows: pl.DataFrame

    @property
    def row_sha256s(self) -> list[str]:
        """The content hash of every training row, in order; never its text."""
        return [ids.content_sha256({"text": text}, label) for text, label in self.rows.select("text", "label").rows()]


def majority_label(rows: pl.DataFrame) -> str:
    """Return the most frequent label; of equally frequent ones the first in the alphabet.

    Args:
        rows: at least one row with column label.
    """
    counts = rows.group_by("label").len().sort("len", "label", descending=[True, False])
    return str(counts["label"][0])


def shots_baseline(shots: pl.DataFrame) -> Baseline:
    """Train on what the prompt itself shows: the gain over it is what generation added.

    Args:
        shots: columns text and label; a shot used by several prompts counts once.
    """
    return Baseline(SHOTS, shots.select("text", "label").unique().sort("text", "label"))


def real_baseline(pool: pl.DataFrame, *, wanted: int, seed: int) -> Baseline:
    """Train on as many real examples: what the synthetic ones stand in for.

    Args:
        pool: real rows, columns text and label, disjoint from everything measured on.
        wanted: rows of the model's training set; a smaller pool gives all it has, and the name says how many.
        seed: seed of the draw.
    """
    rows = stratified_draw(pool, wanted=min(wanted, pool.height), seed=seed)
    return Baseline(REAL.format(rows=rows.height), rows)


def stratified_draw(pool: pl.DataFrame, *, wanted: int, seed: int) -> pl.DataFrame:
    """Draw rows without replacement, every label in its share of the pool.

    A seeded hash of the text decides within a label: the draw does not depend on the pool's order.

    Args:
        pool: columns text and label, shape (n, 2 or more).
        wanted: rows to draw, from 0 to n.
        seed: seed of the draw.

    Returns:
        Columns text and label, shape (wanted, 2), in the order of the draw.

    Raises:
        ValueError: the pool has fewer rows than wanted.
    """
    if wanted > pool.height:
        raise ValueError(f"cannot draw {wanted} of {pool.height} rows")
    counts = dict(pool.group_by("label").len().rows())
    if pool.is_empty():
        return pool.select("text", "label")
    quota = pl.col("label").replace_strict(quotas(counts, wanted=wanted), return_dtype=pl.Int64)
    ranks = pl.Series("rank", [ids.digest(["draw", seed, text]) for text in pool["text"]], dtype=pl.String)
    ordered = pool.select("text", "label").with_columns(ranks).sort("rank", "label")
    return ordered.filter(pl.int_range(pl.len()).over("label") < quota).select("text", "label")


def quotas(counts: Mapping[str, int], *, wanted: int) -> dict[str, int]:
    """Divide ``wanted`` rows among labels in proportion to their counts, by largest remainder.

    Args:
        counts: rows per label, all at least 1.
        wanted: rows to divide, from 0 to the sum of the counts.

    Returns:
        Rows per label, adding up to ``wanted`` exactly, none above its count.

    Example:
        >>> quotas({"negative": 3, "positive": 6}, wanted=4)
        {'negative': 1, 'positive': 3}
    """
    total = sum(counts.values())
    whole = {label: wanted * count // total for label, count in counts.items()}
    by_remainder = sorted(counts, key=lambda label: (-(wanted * counts[label] % total), label))
    lucky = set(by_remainder[: wanted - sum(whole.values())])
    return {label: whole[label] + (label in lucky) for label in sorted(counts)}
