"""How many accepted samples of each label a batch owes, so that no label starves over the history of a dataset.

A share of a few samples is rarely a whole number. What a label was promised too little it is due later: its due is its
share of all promises so far, less what was owed. Over any number of batches every label gets its share to within one
sample, as long as nobody accepts a batch short.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

DIGITS = 9
"""Decimals of a stored due."""


@dataclass(frozen=True)
class Owed:
    """What a batch owes by label, and what every label is due after it."""

    numbers: Mapping[str, int]
    due: Mapping[str, float]


def next_owed(promise: int, shares: Mapping[str, float], due: Mapping[str, float]) -> Owed:
    """Divide a promise among labels by largest remainder over all promises so far.

    Args:
        promise: accepted samples the batch owes, at least 0.
        shares: positive share by label, in any unit; ties go to the label that comes first.
        due: samples each label is due from earlier batches; negative if it got more than its share. Labels without
            are due nothing, and what other labels are due stays as it is.

    Source:
        A. Hamilton's method of largest remainders, 1792, with the remainders carried over.

    Example:
        >>> first = next_owed(1, {"a": 0.5, "b": 0.5}, {})
        >>> first.numbers, first.due
        ({'a': 1, 'b': 0}, {'a': -0.5, 'b': 0.5})
        >>> next_owed(1, {"a": 0.5, "b": 0.5}, first.due).numbers
        {'a': 0, 'b': 1}
    """
    weights = {label: Fraction(str(share)) for label, share in shares.items()}  # 0.3 as written, not as stored
    whole = sum(weights.values())
    wanted = {label: Fraction(str(due.get(label, 0.0))) + promise * weight / whole for label, weight in weights.items()}
    numbers = {label: max(0, int(share // 1)) for label, share in wanted.items()}
    _even_out(numbers, wanted, promise)
    left = {label: round(float(share - numbers[label]), DIGITS) for label, share in wanted.items()}
    return Owed(numbers, {**due, **left})


def _even_out(numbers: dict[str, int], wanted: Mapping[str, Fraction], promise: int) -> None:
    """Add to those furthest below what they want, or take from those furthest above, until the sum is the promise."""
    rest = promise - sum(numbers.values())
    step = 1 if rest > 0 else -1
    queue = [
        (-step * (wanted[label] - numbers[label]), place, label)
        for place, label in enumerate(numbers)
        if step > 0 or numbers[label] > 0
    ]
    heapq.heapify(queue)
    for _ in range(abs(rest)):
        distance, place, label = heapq.heappop(queue)
        numbers[label] += step
        if step > 0 or numbers[label] > 0:
            heapq.heappush(queue, (distance + 1, place, label))


def given_back(due: Mapping[str, float], numbers: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """Return what labels are due as if a batch had never promised ``numbers``."""
    whole = sum(Fraction(str(share)) for share in shares.values())
    promise = sum(numbers.values())
    found = dict(due)
    for label in {*numbers, *shares}:
        fair = promise * Fraction(str(shares.get(label, 0.0))) / whole
        before = Fraction(str(due.get(label, 0.0))) + numbers.get(label, 0) - fair
        found[label] = round(float(before), DIGITS)
    return found


def undelivered(due: Mapping[str, float], numbers: Mapping[str, int], accepted: Mapping[str, int]) -> dict[str, float]:
    """Return what labels are due once a batch was accepted without all it owes."""
    missing = {label: max(0, count - accepted.get(label, 0)) for label, count in numbers.items()}
    return {**due, **{label: due.get(label, 0.0) + count for label, count in missing.items() if count}}
