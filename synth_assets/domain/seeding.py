"""Which rows of its seed tables each request is shown."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from synth_assets.domain.decks import Deck
from synth_assets.domain.past import Past
from synth_assets.errors import UsageError
from synth_assets.recipe.axes import TableAxis
from synth_assets.recipe.loader import Recipe, SeedRow
from synth_assets.recipe.model import SeedTable

Group = tuple[Any, ...]
"""The values by which rows fit: those of the axes that `match` and `differ` name."""


class DealtRow(dict[str, str]):
    """Fields of a row as templates see them; `is_shown` once one of them was read, for many a template uses no row."""

    def __init__(self, seed_id: str, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self.seed_id = seed_id
        self.is_shown = False

    def __getitem__(self, key: str) -> str:
        field = super().__getitem__(key)
        self.is_shown = True
        return field

    def __iter__(self) -> Iterator[str]:
        self.is_shown = True
        return super().__iter__()

    def __repr__(self) -> str:
        self.is_shown = True
        return super().__repr__()


class SeedDealer:
    """Deals the rows of one plan, request by request; a table that an axis deals is not among them.

    Among the requests that the same rows fit, an ordered or shuffled table is one `Deck`: the first request of a plan
    takes the hand after those that all plans before have dealt in its group.
    """

    def __init__(self, recipe: Recipe, past: Past) -> None:
        axes = {name: axis.table for name, axis in recipe.model.axes.items() if isinstance(axis, TableAxis)}
        self._recipe = recipe
        self._axes = list(axes)
        self._tables = {name: table for name, table in recipe.model.seeds.items() if name not in axes.values()}
        self._decks: dict[tuple[str, Group], Deck[SeedRow]] = {}
        self._hands = {name: self._hands_before(table, past) for name, table in self._tables.items()}

    @staticmethod
    def _hands_before(table: SeedTable, past: Past) -> Counter[Group]:
        return Counter() if table.order == "random" else past.counts([*table.match, *table.differ])

    def deal(
        self, drawn: Mapping[str, Any], values: Mapping[str, Any], dice: random.Random
    ) -> tuple[dict[str, Any], list[DealtRow]]:
        """Return what the templates of the next request see of seed rows, and all rows among it.

        Args:
            drawn: its label and control values as stored.
            values: its control values as shown.
            dice: its own.

        Returns:
            The row of each axis that has a table, by axis, with ``rows``, lists of rows by table; and the rows of both.

        Raises:
            UsageError: no row of a table fits.
        """
        axes = {axis: DealtRow(drawn[axis], values[axis]) for axis in self._axes}
        rows = {
            name: [DealtRow(row.seed_id, row.fields) for row in self._chosen(name, table, drawn, dice)]
            for name, table in self._tables.items()
        }
        return {**axes, "rows": rows}, [*axes.values(), *chain.from_iterable(rows.values())]

    def _chosen(self, name: str, table: SeedTable, drawn: Mapping[str, Any], dice: random.Random) -> list[SeedRow]:
        if table.order == "random":
            fitting = self._fitting(name, table, drawn)
            return dice.sample(fitting, min(table.per_request, len(fitting)))
        group = tuple(drawn[axis] for axis in (*table.match, *table.differ))
        if (name, group) not in self._decks:
            shuffled = [self._recipe.dataset, name, *group] if table.order == "shuffled" else None
            fitting = self._fitting(name, table, drawn)
            self._decks[name, group] = Deck(fitting, size=table.per_request, name=shuffled)
        number = self._hands[name][group]
        self._hands[name][group] += 1
        return self._decks[name, group].hand(number)

    def _fitting(self, name: str, table: SeedTable, drawn: Mapping[str, Any]) -> list[SeedRow]:
        fitting = [row for row in self._recipe.seeds if row.table == name and _fits(row, table, drawn)]
        if not fitting:
            asked = {axis: drawn[axis] for axis in (*table.match, *table.differ)}
            raise UsageError(
                f"no row of seed table '{name}' fits {asked}",
                where=str(self._recipe.folder / table.file),
                fix="add such a row, or shorten `match` or `differ`",
            )
        return fitting


def _fits(row: SeedRow, table: SeedTable, drawn: Mapping[str, Any]) -> bool:
    return all(row.fields.get(axis) == drawn[axis] for axis in table.match) and all(
        row.fields.get(axis) != drawn[axis] for axis in table.differ
    )
