"""How good predictions are, and how sure one can be of it: pure arithmetic over one confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measure:
    """One metric of one subject; all three numbers are without unit, 0..1.

    Attributes:
        metric: ``accuracy`` or ``macro_f1``.
        value: measured on the test rows as they are.
        low: lower end of the 95 % bootstrap interval.
        high: upper end.
    """

    metric: str
    value: float
    low: float
    high: float


def measure(truth: Sequence[str], predicted: Sequence[str], *, seed: int) -> list[Measure]:
    """Measure predictions against the truth, with intervals over the choice of test rows.

    Drawing n rows with replacement and counting them by (truth, predicted) is one multinomial draw over
    the cells of the confusion matrix; so 1,000 resamples are one call and their cost does not grow with n.

    Args:
        truth: the right labels, n >= 1.
        predicted: the predicted ones, as many, in the same order; may hold labels the truth has not.
        seed: seed of the resamples; the same seed gives the same intervals.

    Returns:
        Accuracy and macro F1, in this order. Macro F1 is the plain mean over every label that occurs in truth or
        prediction, as scikit-learn computes it.

    Raises:
        ValueError: there are no rows, or truth and prediction differ in length.

    Source:
        B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
    """
    confusion = _confusion(truth, predicted)
    resamples = _resampled(confusion, seed=seed)
    return [
        _measured("accuracy", _accuracy(confusion[None]), _accuracy(resamples)),
        _measured("macro_f1", _macro_f1(confusion[None]), _macro_f1(resamples)),
    ]


def _confusion(truth: Sequence[str], predicted: Sequence[str]) -> np.ndarray:
    """Count rows by true label (first axis) and predicted label, shape (k, k), int64."""
    if len(truth) != len(predicted) or not truth:
        raise ValueError(f"cannot compare {len(truth)} labels with {len(predicted)} predictions")
    labels, codes = np.unique(np.array([*truth, *predicted], dtype=object), return_inverse=True)
    cells = codes[: len(truth)] * len(labels) + codes[len(truth) :]
    return np.bincount(cells, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def _resampled(confusion: np.ndarray, *, seed: int) -> np.ndarray:
    """Draw the confusion matrices of bootstrap resamples, shape (RESAMPLES, k, k)."""
    counts = confusion.ravel()
    # Only occupied cells: a multinomial leaves what rounding lost of the shares to its last cell.
    occupied = np.flatnonzero(counts)
    total = int(counts.sum())
    drawn = np.zeros((RESAMPLES, counts.size), dtype=np.int64)
    drawn[:, occupied] = np.random.default_rng(seed).multinomial(total, counts[occupied] / total, size=RESAMPLES)
    return drawn.reshape(RESAMPLES, *confusion.shape)


def _accuracy(confusions: np.ndarray) -> np.ndarray:
    """Return the share of right predictions of each matrix, shape (m,)."""
    return np.asarray(np.trace(confusions, axis1=1, axis2=2) / confusions.sum(axis=(1, 2)))


def _macro_f1(confusions: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the labels that occur in each matrix, shape (m,)."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    occurrences = confusions.sum(axis=1) + confusions.sum(axis=2)  # 2 tp + fp + fn of each label
    occurs = occurrences > 0
    scores = 2 * hits / np.where(occurs, occurrences, 1)
    return np.asarray(scores.sum(axis=1) / occurs.sum(axis=1))


def _measured(metric: str, value: np.ndarray, resampled: np.ndarray) -> Measure:
    tail = (1 - CONFIDENCE) / 2
    # No interpolation: both ends are values that a resample took.
    low, high = np.quantile(resampled, [tail, 1 - tail], method="inverted_cdf")
    return Measure(metric=metric, value=float(value[0]), low=float(low), high=float(high))
