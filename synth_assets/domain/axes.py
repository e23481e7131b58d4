"""Dealing control values: which request is asked for what, besides its label."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Any

from synth_assets.domain.apportion import dealt
from synth_assets.domain.decks import Deck
from synth_assets.domain.past import Past
from synth_assets.recipe.axes import (
    LABEL,
    AxisValue,
    CategoryAxis,
    ConditionalAxis,
    DateAxis,
    NumberAxis,
    Spread,
    TableAxis,
    dealing_order,
)
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel


@dataclass(frozen=True)
class Value:
    """What one axis gave one request.

    Attributes:
        stored: a value's name, a number, a day as ISO 8601, or the seed_id of a row; never text.
        shown: what templates see: words, a number, a day in its format, or the fields of a row.
    """

    stored: str | int | float
    shown: Any


def deal(model: RecipeModel, label: str, count: int, dice: random.Random) -> list[dict[str, Value]]:
    """Return the values of ``count`` requests of one label, by axis; rows of tables are dealt by `table_rows`."""
    columns: dict[str, list[Value]] = {}
    for name in dealing_order(model.axes):
        axis = model.axes[name]
        if isinstance(axis, ConditionalAxis):
            given = [label] * count if axis.on == LABEL else [str(value.stored) for value in columns[axis.on]]
            columns[name] = _conditional(axis, given, dice)
        elif isinstance(axis, CategoryAxis):
            columns[name] = _named(axis.values, count, dice)
        elif isinstance(axis, NumberAxis):
            columns[name] = _numbers(axis, count, dice)
        elif isinstance(axis, DateAxis):
            columns[name] = _days(axis, count, dice)
    return [{name: values[place] for name, values in columns.items()} for place in range(count)]


def _named(values: Mapping[str, AxisValue], count: int, dice: random.Random) -> list[Value]:
    names = dealt(count, {name: value.weight for name, value in values.items()}, dice)
    return [Value(name, values[name].words or name) for name in names]


def _conditional(axis: ConditionalAxis, given: Sequence[str], dice: random.Random) -> list[Value]:
    """Deal exact quotas among the requests that were given the same value of the other axis."""
    found: dict[int, Value] = {}
    for condition, values in axis.values.items():
        places = [place for place, value in enumerate(given) if value == condition]
        found |= dict(zip(places, _named(values, len(places), dice), strict=True))
    return [found[place] for place in range(len(given))]


def _numbers(axis: NumberAxis, count: int, dice: random.Random) -> list[Value]:
    start, end = Fraction(str(axis.min)), Fraction(str(axis.max))  # 0.1 as written, not as stored
    unit = Fraction(str(axis.step)) if axis.step is not None else Fraction(1, 10 ** (axis.decimals or 0))
    kind = int if start.denominator == unit.denominator == 1 else float
    places = _places(count, int((end - start) / unit) + 1, axis.spread, dice)
    return [Value(number, number) for number in (kind(start + unit * place) for place in places)]


def _days(axis: DateAxis, count: int, dice: random.Random) -> list[Value]:
    places = _places(count, (axis.last - axis.first).days + 1, axis.spread, dice)
    days = [axis.first + timedelta(days=place) for place in places]
    return [Value(day.isoformat(), day.strftime(axis.format)) for day in days]


def _places(count: int, size: int, spread: Spread, dice: random.Random) -> list[int]:
    """Draw ``count`` places below ``size``: each on its own, or one from each of ``count`` equal strata.

    With more strata than places every place comes equally often, and the rest is spread over the whole range.
    """
    if spread == "uniform":
        return [dice.randrange(size) for _ in range(count)]
    passes, rest = divmod(count, size)
    places = [place for place in range(size) for _ in range(passes)]
    places += [dice.randrange(stratum * size // rest, (stratum + 1) * size // rest) for stratum in range(rest)]
    dice.shuffle(places)
    return places


def table_rows(recipe: Recipe, count: int, past: Past) -> Iterator[dict[str, Value]]:
    """Yield the seed rows of ``count`` requests in plan order, by axis; they go on where the plans before ended."""
    axes = {name: axis for name, axis in recipe.model.axes.items() if isinstance(axis, TableAxis)}
    decks, first = {}, {}
    for name, axis in axes.items():
        rows = [row for row in recipe.seeds if row.table == axis.table]
        shuffled = [recipe.dataset, axis.table] if axis.order == "shuffled" else None
        decks[name], first[name] = Deck(rows, size=1, name=shuffled), past.counts([name]).total()
    for place in range(count):
        dealt_rows = {name: deck.hand(first[name] + place)[0] for name, deck in decks.items()}
        yield {name: Value(row.seed_id, row.fields) for name, row in dealt_rows.items()}
