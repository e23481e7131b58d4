"""Rows dealt hand by hand, endlessly, so that every row is shown before one is shown again."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from synth_assets.domain import ids

T = TypeVar("T")


class Deck(Generic[T]):
    """An endless sequence of hands; hand ``n`` depends on the rows, the size and ``name`` alone.

    Laid in a line, the hands are one pass through all rows after the other. A hand never holds a row twice, also where
    one pass ends in it and the next begins.

    Args:
        rows: what is dealt, at least one.
        size: rows of a hand; fewer if there are fewer.
        name: a deck of another name is shuffled in another way; None keeps the order of the rows.
    """

    def __init__(self, rows: Sequence[T], *, size: int, name: Sequence[Any] | None) -> None:
        self._rows = list(rows)
        self._size = min(size, len(self._rows))
        self._name = name
        self._passes: dict[int, list[T]] = {}

    def hand(self, number: int) -> list[T]:
        """Return the hand of a number, counted from 0."""
        first = number * self._size
        return [self._at(place) for place in range(first, first + self._size)]

    def _at(self, place: int) -> T:
        number, index = divmod(place, len(self._rows))
        # With more than half of the rows in a hand there is no room to shuffle the next pass around it.
        number = number if 2 * self._size <= len(self._rows) else 0
        if number not in self._passes:
            self._passes[number] = self._pass(number)
        return self._passes[number][index]

    def _pass(self, number: int) -> list[T]:
        """Return one pass; what the hand that runs into it already holds comes behind that hand."""
        order = self._shuffled(number)
        held = (number * len(order)) % self._size
        if not held or self._name is None:
            return order
        before = self._shuffled(number - 1)[-held:]
        front = [row for row in order if row not in before][: self._size - held]
        return front + [row for row in order if row not in front]

    def _shuffled(self, number: int) -> list[T]:
        order = list(self._rows)
        if self._name is not None:
            ids.seeded("deck", *self._name, number).shuffle(order)
        return order
