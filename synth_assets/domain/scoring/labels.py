"""The scorer for labels that do not fit their text, judged by the rest of the batch."""

from hashlib import sha256

import numpy as np
import polars as pl

from synth_assets.domain.scoring.scorer import Context, result

FOLDS = 5

FEWEST_PER_CLASS = 10
"""A class with fewer members leaves less than two of them in a fold: nothing can be said about it."""

INVERSE_REGULARISATION = 1.0

DIGITS = 6


def measure_label_consistency(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return the probability of each sample's own label by a classifier that did not see the sample, 0..1.

    Five-fold logistic regression over the embeddings of all samples of the batch, new and old. Within a class samples
    are dealt to the folds in the order of the sha256 of their id, and rows enter the fit in that order too, so the
    value depends on the set of samples, not on their order or on a seed. It is rounded to six digits: a solver's last
    bits may differ between processors.

    Returns:
        Null for samples without label and of classes with fewer than `FEWEST_PER_CLASS` members, which take no part;
        null for all if fewer than two classes remain. neighbour_id is always null.

    Raises:
        ValueError: samples and embeddings differ in number.

    Source:
        Out-of-sample probability of the given label: C. Northcutt, L. Jiang and I. Chuang, "Confident Learning:
        Estimating Uncertainty in Dataset Labels", 2021.
    """
    if len(context.embeddings) != samples.height:
        raise ValueError(f"{samples.height} samples, {len(context.embeddings)} embeddings")
    dealt = _dealt(samples)
    values: list[float | None] = [None] * samples.height
    if dealt["label"].n_unique() > 1:
        places = dealt["place"].to_numpy()
        labels, folds = dealt["label"].to_numpy(), dealt["fold"].to_numpy()
        for place, value in zip(places, _out_of_fold(context.embeddings[places], labels, folds), strict=True):
            values[place] = round(float(value), DIGITS)
    new = pl.Series(values, dtype=pl.Float64).filter(samples["is_new"])
    return result(new, [None] * len(new))


def _dealt(samples: pl.DataFrame) -> pl.DataFrame:
    """Return the samples that take part with their fold, in the order of their hashes; columns place, label, fold."""
    hashes = [sha256(sample_id.encode()).hexdigest() for sample_id in samples["sample_id"]]
    return (
        samples.select("label", pl.Series("hash", hashes, dtype=pl.String))
        .with_row_index("place")
        .filter(pl.col("label").is_not_null() & (pl.len().over("label") >= FEWEST_PER_CLASS))
        .sort("hash", "place")
        .with_columns((pl.int_range(pl.len()).over("label") % FOLDS).alias("fold"))
    )


def _out_of_fold(vectors: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the probability of each row's own label by the model fitted on the other folds, shape (n,)."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    own = np.empty(len(labels))
    with threadpool_limits(limits=1):  # the order of a parallel sum is not fixed
        for fold in range(FOLDS):
            held_out = folds == fold
            model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
            model.fit(vectors[~held_out].astype(np.float64), labels[~held_out])
            probabilities = model.predict_proba(vectors[held_out].astype(np.float64))
            own[held_out] = probabilities[np.arange(held_out.sum()), np.searchsorted(model.classes_, labels[held_out])]
    return own
