"""Crossing axes: in which order their combinations are gone through, and how many requests each one gets."""

import heapq
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product


def diagonal(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield every cell of a grid, so that each beginning has all values of an axis about equally often.

    From cell to cell all indices go up by one, around the end; a closed walk is followed by the next one. So the first
    cells of a grid that is too large for the requests are no corner of it.

    Example:
        >>> list(diagonal([2, 3]))
        [(0, 0), (1, 1), (0, 2), (1, 0), (0, 1), (1, 2)]
    """
    seen = set()
    for start in product(*map(range, sizes)):
        cell = start
        while cell not in seen:
            seen.add(cell)
            yield cell
            cell = tuple((index + 1) % size for index, size in zip(cell, sizes, strict=True))


def most_due(count: int, weights: Sequence[Fraction], earlier: Sequence[int]) -> list[int]:
    """Return how many of ``count`` requests each combination gets: one by one, always the one that is most due.

    Due is what a combination lacks of its fair count among all requests, the earlier ones included. Without earlier
    ones each gets its fair count, rounded down or up: Hamilton's method. Ties go to the first.

    Args:
        count: requests to share out.
        weights: positive, in any unit, one per combination.
        earlier: requests each one had before.

    Example:
        >>> most_due(3, [Fraction(1), Fraction(1), Fraction(1)], [2, 0, 1])
        [0, 2, 1]
    """
    scale = math.lcm(*(weight.denominator for weight in weights))
    parts = [int(weight * scale) for weight in weights]
    whole, total = sum(parts), sum(earlier) + count
    due = [total * part - had * whole for part, had in zip(parts, earlier, strict=True)]  # in units of 1 / whole
    more = [max(0, each // whole) for each in due]
    if sum(more) > count:  # some have had too many: what is due to the others is more than there is
        more = [0] * len(due)
    queue = [(got * whole - each, place) for place, (got, each) in enumerate(zip(more, due, strict=True))]
    heapq.heapify(queue)
    for _ in range(count - sum(more)):
        owed, place = queue[0]
        more[place] += 1
        heapq.heapreplace(queue, (owed + whole, place))
    return more
