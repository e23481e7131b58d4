"""How far two sets of values lie apart: one number between 0 and 1 per measure."""

from collections import Counter

import numpy as np
import polars as pl


def ks_distance(left: pl.Series, right: pl.Series) -> float:
    """Return the largest gap between two cumulative distributions, 0..1; 0.0 if either is empty.

    Nulls are left out.

    Source:
        The two-sample Kolmogorov-Smirnov statistic.

    Example:
        >>> ks_distance(pl.Series([1.0, 2.0]), pl.Series([3.0, 4.0]))
        1.0
    """
    a, b = np.sort(left.drop_nulls().to_numpy()), np.sort(right.drop_nulls().to_numpy())
    if not len(a) or not len(b):
        return 0.0
    points = np.concatenate([a, b])
    gaps = np.searchsorted(a, points, side="right") / len(a) - np.searchsorted(b, points, side="right") / len(b)
    return float(np.abs(gaps).max())


def total_variation(left: pl.Series, right: pl.Series) -> float:
    """Return half the sum of differences between the shares of each name, 0..1; 0.0 if either is empty.

    Null is a name like any other.

    Example:
        >>> total_variation(pl.Series(["a", "b"]), pl.Series(["a", "a"]))
        0.5
    """
    if left.is_empty() or right.is_empty():
        return 0.0
    here, there = Counter(left.to_list()), Counter(right.to_list())
    return sum(abs(here[name] / len(left) - there[name] / len(right)) for name in here | there) / 2


def distances(now: pl.DataFrame, before: pl.DataFrame) -> dict[str, float]:
    """Return how far two sets of accepted samples lie apart, 0..1 by measure.

    Args:
        now: columns words, quality_score, label; one row per sample.
        before: the same columns.
    """
    return {
        "words": ks_distance(now["words"], before["words"]),
        "quality_score": ks_distance(now["quality_score"], before["quality_score"]),
        "label": total_variation(now["label"], before["label"]),
    }
