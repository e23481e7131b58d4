"""Splitting a whole number by weights, exactly."""

import random
from collections.abc import Mapping
from fractions import Fraction


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Return whole parts of ``total`` in proportion to ``weights``; the parts always add up to ``total``.

    Largest remainders get the rest; ties go to the name that comes first in ``weights``.

    Args:
        total: what is split, at least 0.
        weights: positive weights by name, in any unit.

    Raises:
        ValueError: ``total`` is negative or no weight is positive.

    Source:
        A. Hamilton's method of largest remainders, 1792.

    Example:
        >>> apportion(10, {"a": 1, "b": 1, "c": 1})
        {'a': 4, 'b': 3, 'c': 3}
    """
    parts_of = {name: Fraction(str(weight)) for name, weight in weights.items()}  # 0.3 as written, not as stored
    whole = sum(parts_of.values())
    if total < 0 or whole <= 0:
        raise ValueError("apportion needs a total of at least 0 and a positive weight")
    exact = {name: total * weight / whole for name, weight in parts_of.items()}
    parts = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: parts[name] - exact[name])
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def dealt(count: int, weights: Mapping[str, float], dice: random.Random) -> list[str]:
    """Return each name as often as its exact quota of ``count`` says, in random order."""
    return shuffled(apportion(count, weights), dice)


def shuffled(parts: Mapping[str, int], dice: random.Random) -> list[str]:
    """Return each name as often as ``parts`` says, in random order."""
    cards = [name for name, share in parts.items() for _ in range(share)]
    dice.shuffle(cards)
    return cards


def apportion_rows(counts: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """Split several whole numbers by the same weights, so that their sum is split exactly too.

    Each on its own, small numbers would round every small weight away.

    Example:
        >>> apportion_rows({"x": 2, "y": 2, "z": 2}, {"a": 5, "b": 1})
        {'x': {'a': 2, 'b': 0}, 'y': {'a': 2, 'b': 0}, 'z': {'a': 1, 'b': 1}}
    """
    left = apportion(sum(counts.values()), weights)
    rows = {}
    for name, count in counts.items():
        rows[name] = apportion(count, left) if count else dict.fromkeys(weights, 0)
        left = {each: rest - rows[name][each] for each, rest in left.items()}
    return rows
