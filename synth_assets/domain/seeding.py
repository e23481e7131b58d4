"""Which rows of its seed tables each request is shown."""

import random
from collections.abc import Mapping
from typing import Any

from synth_assets.errors import UsageError
from synth_assets.recipe.axes import TableAxis
from synth_assets.recipe.loader import Recipe, SeedRow
from synth_assets.recipe.model import SeedTable

Rows = dict[str, list[dict[str, str]]]
"""Fields of the rows a template sees, by table."""


class SeedDealer:
    """Deals the rows of one plan; a table that an axis deals is not among them."""

    def __init__(self, recipe: Recipe) -> None:
        axes = {name: axis.table for name, axis in recipe.model.axes.items() if isinstance(axis, TableAxis)}
        self._recipe = recipe
        self._axes = list(axes)
        self._tables = {name: table for name, table in recipe.model.seeds.items() if name not in axes.values()}

    def deal(self, drawn: Mapping[str, Any], dice: random.Random) -> tuple[Rows, list[str]]:
        """Return the rows of the next request by table, and the seed_ids of all it shows, those of its axes included.

        Args:
            drawn: its label and control values as stored.
            dice: its own.

        Raises:
            UsageError: no row of a table fits.
        """
        rows: Rows = {}
        seed_ids = [drawn[axis] for axis in self._axes]
        for name, table in self._tables.items():
            fitting = self._fitting(name, table, drawn)
            chosen = dice.sample(fitting, min(table.per_request, len(fitting)))
            rows[name] = [row.fields for row in chosen]
            seed_ids += [row.seed_id for row in chosen]
        return rows, seed_ids

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
