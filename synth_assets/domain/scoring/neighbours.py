"""The scorer for samples that say the same in other words: closeness of meaning by sentence embedding.

The search multiplies blocks in float32, where the last bits depend on the shape of the block; the winner and all that
come close are then compared anew, two vectors at a time in float64. So a value depends on its two vectors alone.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from synth_assets.domain.scoring.scorer import Context, result

ROWS_AT_ONCE = 128
"""Samples searched in one go: with 100,000 accepted samples a block takes 50 MB."""

SLACK = 1e-5
"""More than the error of a float32 product of two unit vectors."""


def measure_nearest_neighbour(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return the highest cosine to an accepted sample of another batch or an earlier one of this batch, -1..1.

    neighbour_id is that sample, the first of equals; both are null if there is nobody to compare with.

    Raises:
        ValueError: samples and embeddings differ in number.
    """
    _check(samples, context)
    ids = pl.concat([context.earlier["sample_id"], samples["sample_id"]])
    vectors = np.concatenate([context.earlier_embeddings.reshape(-1, context.embeddings.shape[1]), context.embeddings])
    places = np.flatnonzero(samples["is_new"].to_numpy()) + context.earlier.height
    found = list(_nearest(vectors, places))
    return result([value for value, _ in found], [None if place is None else ids[place] for _, place in found])


def _nearest(vectors: np.ndarray, places: np.ndarray) -> Iterator[tuple[float | None, int | None]]:
    """Yield, for every place, the highest cosine to a vector before it and the first place that has it."""
    for start in range(0, len(places), ROWS_AT_ONCE):
        block = places[start : start + ROWS_AT_ONCE]
        products = vectors[block] @ vectors[: block[-1]].T
        for place, row in zip(block, products, strict=True):
            yield _best_before(vectors, int(place), row[:place])


def _best_before(vectors: np.ndarray, place: int, row: np.ndarray) -> tuple[float | None, int | None]:
    if not len(row):
        return None, None
    close = np.flatnonzero(row >= row.max() - SLACK)
    cosines = [cosine(vectors[place], vectors[other]) for other in close]
    best = int(np.argmax(cosines))  # the first of equals
    return cosines[best], int(close[best])


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Return the cosine of two vectors of shape (d,), in float64; 0.0 if one of them is zero.

    Numpy multiplies element by element and adds in pairs in a fixed order, so the result is the same to the bit.
    """
    ours, theirs = left.astype(np.float64), right.astype(np.float64)
    length = np.sqrt((ours * ours).sum() * (theirs * theirs).sum())
    return float(np.clip((ours * theirs).sum() / length, -1.0, 1.0)) if length else 0.0


def _check(samples: pl.DataFrame, context: Context) -> None:
    expected = samples.height, context.earlier.height
    given = len(context.embeddings), len(context.earlier_embeddings)
    if given != expected:
        raise ValueError(f"(samples, earlier samples) are {expected}, their embeddings {given}")
