"""Likeness of texts by the runs of words they share: copies, near copies and groups of them.

Everything here is exact. Shingles are compared by integer counts, not by hash or sketch, and a resemblance is one
division of two counts, so a value is the same to the bit on every machine, whatever the number of threads and whatever
else is compared in the same call. Likeness of meaning lives in `scoring.neighbours`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from synth_assets.domain.shingles import check_width, fold, incidence, shingles

__all__ = ["ANY", "best_containments", "best_matches", "duplicate_groups", "fold", "resemblance", "shingles"]

ANY = 1e-9
"""A floor below every resemblance that is not zero."""

PAIRS_AT_ONCE = 8_000_000
"""Shared shingles counted in one go; bounds memory to a few hundred megabytes, changes no result."""


def resemblance(left: str, right: str, *, width: int) -> float:
    """Return the share of word shingles two texts have in common.

    The Jaccard index of the two shingle sets, ``|A & B| / |A | B|``.

    Args:
        left: any text.
        right: any text; the order of the two does not matter.
        width: shingle length in words, at least 1.

    Returns:
        A share without unit, from 0.0 (nothing shared) to 1.0 (same shingles; so any two texts without words).

    Raises:
        ValueError: ``width`` is below 1.

    Source:
        A. Broder, "On the resemblance and containment of documents", 1997.

    Example:
        >>> resemblance("the cat sat", "The  cat sat!", width=2)
        1.0
        >>> resemblance("one two three", "one two four", width=2)
        0.3333333333333333
    """
    ours, theirs = shingles(left, width=width), shingles(right, width=width)
    return len(ours & theirs) / len(ours | theirs)


def best_matches(
    texts: Sequence[str], against: Sequence[str], *, width: int, floor: float, horizon: Sequence[int] | None = None
) -> pl.DataFrame:
    """Find for every text the one it resembles most, exactly as if each pair were compared by `resemblance`.

    Args:
        texts: what to look for, n texts.
        against: where to look, m texts.
        width: shingle length in words, at least 1.
        floor: resemblances below it count as none; in (0, 1].
        horizon: n numbers; text i sees only ``against[:horizon[i]]``. None: it sees all.

    Returns:
        Columns index (0..n-1, in order), neighbour (place in ``against``, the first of equals; null if none) and
        resemblance (Float64; 0.0 if none), shape (n, 3).

    Raises:
        ValueError: ``width`` or ``floor`` is out of range, or ``horizon`` has another length than ``texts``.

    Source:
        Counting by inverted index, the sparse product of the two text-by-shingle matrices: R. Bayardo, Y. Ma and
        R. Srikant, "Scaling Up All Pairs Similarity Search", 2007, section 3.
    """
    if not 0 < floor <= 1:
        raise ValueError(f"floor must be above 0 and at most 1, not {floor}")
    pairs = _shared(texts, against, width=width, horizon=horizon)
    return _best((pair.with_columns(_jaccard().alias("resemblance")) for pair in pairs), len(texts), floor=floor)


def best_containments(texts: Sequence[str], against: Sequence[str], *, width: int, least: int) -> pl.DataFrame:
    """Find for every text the one that most contains it or is most contained in it.

    Containment is the share of the smaller text's shingles that the larger one has, so a short text copied into a
    long one counts as 1.0 where its resemblance would be small.

    Args:
        texts: what to look for, n texts.
        against: where to look.
        width: shingle length in words, at least 1.
        least: pairs whose smaller text has fewer different shingles are passed over: a few words are in everything.

    Returns:
        As `best_matches`, shape (n, 3), the containment in the column resemblance.
    """
    smaller = pl.min_horizontal("size", "other_size")
    pairs = _shared(texts, against, width=width, horizon=None)
    contained = (
        pair.filter(smaller >= least).with_columns((pl.col("shared") / smaller).alias("resemblance")) for pair in pairs
    )
    return _best(contained, len(texts), floor=ANY)


def duplicate_groups(texts: Sequence[str], *, width: int, threshold: float) -> list[int]:
    """Return the group of every text: texts linked by a chain of resemblances of at least ``threshold`` share one.

    Args:
        texts: n texts.
        width: shingle length in words, at least 1.
        threshold: a share in (0, 1].

    Returns:
        n numbers; a group is named by the place of its first text, so a text alone has its own place.

    Raises:
        ValueError: ``width`` or ``threshold`` is out of range.

    Example:
        >>> duplicate_groups(["A good film.", "Bad!", "a GOOD film"], width=3, threshold=0.9)
        [0, 1, 0]
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, not {threshold}")
    groups = np.arange(len(texts))
    for pairs in _shared(texts, texts, width=width, horizon=range(len(texts))):
        links = pairs.filter(threshold <= _jaccard())
        groups = _linked(groups, links["index"].to_numpy(), links["neighbour"].to_numpy())
    return [int(group) for group in groups]


def _jaccard() -> pl.Expr:
    return pl.col("shared") / (pl.col("size") + pl.col("other_size") - pl.col("shared"))


def _linked(groups: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return groups (n,) joined along the links left-right, each named by its first member."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(groups)
    if not len(left):
        return groups
    ends = np.concatenate([np.arange(count), left]), np.concatenate([groups, right])
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, member_of = np.unique(labels, return_index=True, return_inverse=True)
    return first[member_of]


def _best(pairs: Iterator[pl.DataFrame], count: int, *, floor: float) -> pl.DataFrame:
    """Keep the best pair of every index; of equals the first neighbour."""
    schema = pl.Schema({"index": pl.Int64, "neighbour": pl.Int64, "resemblance": pl.Float64})
    tops = [_tops(pair.filter(pl.col("resemblance") >= floor)).cast(schema) for pair in pairs]
    best = pl.concat([pl.DataFrame(schema=schema), *tops])
    everyone = pl.int_range(count, eager=True, dtype=pl.Int64).alias("index").to_frame()
    found = everyone.join(best, on="index", how="left", maintain_order="left")
    return found.with_columns(pl.col("resemblance").fill_null(0.0))


def _tops(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the best pair of every index; ``pairs`` are sorted by index."""
    if pairs.is_empty():
        return pairs.select("index", "neighbour", "resemblance")
    index, value = pairs["index"].to_numpy(), pairs["resemblance"].to_numpy()
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    highest = np.repeat(np.maximum.reduceat(value, starts), np.diff(starts, append=len(index)))
    tops = pairs.filter(value == highest).group_by("index")
    return tops.agg(pl.col("neighbour").min(), pl.col("resemblance").first())


def _shared(
    texts: Sequence[str], against: Sequence[str], *, width: int, horizon: Sequence[int] | None
) -> Iterator[pl.DataFrame]:
    """Yield every pair that shares a shingle, in chunks of whole texts.

    Columns index, neighbour, shared (shingles in both), size and other_size (shingles of each), sorted by index.
    """
    check_width(width)
    if horizon is not None and len(horizon) != len(texts):
        raise ValueError(f"{len(texts)} texts need as many horizons, not {len(horizon)}")
    if not len(texts) or not len(against):
        return
    together = against is texts
    table = incidence(texts if together else [*texts, *against], width=width)
    ours, theirs = (table, table) if together else (table[: len(texts)], table[len(texts) :])
    sizes, other_sizes = pl.Series("size", np.diff(ours.indptr)), pl.Series("other_size", np.diff(theirs.indptr))
    limits = pl.Series("limit", horizon if horizon is not None else [len(against)] * len(texts), dtype=pl.Int64)
    columns = theirs.T.tocsr()
    for first, last in _chunks(ours, np.diff(columns.indptr)):
        product = (ours[first:last] @ columns).tocoo()
        pairs = pl.DataFrame({"index": product.row + first, "neighbour": product.col, "shared": product.data})
        pairs = pairs.filter(pl.col("neighbour") < limits.gather(pairs["index"]))
        yield pairs.with_columns(sizes.gather(pairs["index"]), other_sizes.gather(pairs["neighbour"]))


def _chunks(ours: Any, frequency: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut the rows of ``ours`` into runs that meet about `PAIRS_AT_ONCE` shingles of the other side."""
    met = np.concatenate([[0], np.cumsum(frequency[ours.indices], dtype=np.int64)])[ours.indptr]
    first, rows = 0, ours.shape[0]
    while first < rows:
        last = int(np.searchsorted(met, met[first] + PAIRS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last
