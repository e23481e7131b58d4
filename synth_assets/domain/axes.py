"""Dealing control values: which request is asked for what, besides its label."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from synth_assets.domain.apportion import dealt, shuffled
from synth_assets.domain.crossing import diagonal, most_due
from synth_assets.domain.decks import Deck
from synth_assets.domain.past import Past
from synth_assets.domain.quotas import Quotas
from synth_assets.recipe.axes import (
    Axis,
    AxisValue,
    CategoryAxis,
    ConditionalAxis,
    Cover,
    DateAxis,
    NumberAxis,
    Spread,
    TableAxis,
)
from synth_assets.recipe.axis_rules import LABEL, crossed, dealing_order, most_levels
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel

ANYTHING = ""
"""The condition of values that depend on nothing."""


@dataclass(frozen=True)
class Value:
    """What one axis gave one request.

    Attributes:
        stored: a value's name, a number, a day as ISO 8601, or the seed_id of a row; never text.
        shown: what templates see: words, a number, a day in its format, or the fields of a row.
    """

    stored: str | int | float
    shown: Any


def deal(
    model: RecipeModel, label: str, count: int, dice: random.Random, past: Past, quotas: Quotas
) -> list[dict[str, Value]]:
    """Return the values of ``count`` requests of one label, by axis; rows of tables are dealt by `table_rows`.

    Args:
        model: the recipe; its `cover` says how values of several axes come together.
        label: of all these requests.
        count: requests, 0 or more.
        dice: of the plan.
        past: the earlier attempts of the batch; a factorial plan asks for what they asked for least.
        quotas: of the attempt; this label has ``count`` requests in them.
    """
    columns = _crossed(model, label, count, dice, past) if model.cover == "factorial" else {}
    for name in dealing_order(model.axes):
        axis = model.axes[name]
        if name in columns or isinstance(axis, TableAxis):
            continue
        if isinstance(axis, NumberAxis | DateAxis):
            columns[name] = _spread(axis, count, model.cover, dice)
        elif isinstance(axis, CategoryAxis) and model.cover != "random":
            columns[name] = [_value(axis.values, each) for each in shuffled(quotas.of(name, label), dice)]
        else:
            columns[name] = _named(axis, _conditions(axis, label, count, columns), model.cover, dice)
    return [{name: values[place] for name, values in columns.items()} for place in range(count)]


def _conditions(
    axis: CategoryAxis | ConditionalAxis, label: str, count: int, columns: Mapping[str, Sequence[Value]]
) -> list[str]:
    """Return what each request was given on the axis that this one depends on; nothing where it depends on none."""
    if isinstance(axis, CategoryAxis):
        return [ANYTHING] * count
    return [label] * count if axis.on == LABEL else [str(value.stored) for value in columns[axis.on]]


def _values_by_condition(axis: CategoryAxis | ConditionalAxis) -> Mapping[str, Mapping[str, AxisValue]]:
    return {ANYTHING: axis.values} if isinstance(axis, CategoryAxis) else axis.values


def _named(
    axis: CategoryAxis | ConditionalAxis, conditions: Sequence[str], cover: Cover, dice: random.Random
) -> list[Value]:
    """Draw values: exact quotas among the requests under the same condition, or each on its own."""
    found: dict[int, Value] = {}
    for condition, values in _values_by_condition(axis).items():
        places = [place for place, given in enumerate(conditions) if given == condition]
        weights = {name: value.weight for name, value in values.items()}
        if cover == "random":
            names = dice.choices(list(weights), weights=list(weights.values()), k=len(places))
        else:
            names = dealt(len(places), weights, dice)
        found |= {place: _value(values, name) for place, name in zip(places, names, strict=True)}
    return [found[place] for place in range(len(conditions))]


def _value(values: Mapping[str, AxisValue], name: str) -> Value:
    return Value(name, values[name].words or name)


def _spread(axis: NumberAxis | DateAxis, count: int, cover: Cover, dice: random.Random) -> list[Value]:
    spread: Spread = "stratified" if cover == "stratified" else "uniform" if cover == "random" else axis.spread
    return [_at(axis, place) for place in _places(count, axis.size, spread, dice)]


def _at(axis: NumberAxis | DateAxis, place: int) -> Value:
    if isinstance(axis, NumberAxis):
        return Value(axis.at(place), axis.at(place))
    day = axis.at(place)
    return Value(day.isoformat(), day.strftime(axis.format))


def _places(count: int, size: int, spread: Spread, dice: random.Random) -> list[int]:
    """Draw ``count`` places below ``size``: each on its own, or one from each of ``count`` equal strata.

    With more strata than places every place comes equally often, and the rest is spread over the whole range.

    Source:
        M. McKay, R. Beckman, W. Conover, "A comparison of three methods for selecting values of input variables", 1979:
        a Latin hypercube, as every axis is dealt in an order of its own.
    """
    if spread == "uniform":
        return [dice.randrange(size) for _ in range(count)]
    passes, rest = divmod(count, size)
    places = [place for _ in range(passes) for place in range(size)]
    places += [dice.randrange(stratum * size // rest, (stratum + 1) * size // rest) for stratum in range(rest)]
    dice.shuffle(places)
    return places


Level = tuple[Value, Fraction]
"""A value and its share among those that the same condition allows."""


def _crossed(model: RecipeModel, label: str, count: int, dice: random.Random, past: Past) -> dict[str, list[Value]]:
    """Return columns of the crossed axes in which every combination has its fair count, rounded down or up."""
    names = crossed(model.axes)
    combinations = list(_combinations({name: model.axes[name] for name in names}, label, dice))
    had = past.counts([LABEL, *names])
    earlier = [had[label, *(row[name].stored for name in names)] for row, _ in combinations]
    more = most_due(count, [weight for _, weight in combinations], earlier)
    rows = [row for (row, _), times in zip(combinations, more, strict=True) for _ in range(times)]
    return {name: [row[name] for row in rows] for name in names}


def _combinations(
    axes: Mapping[str, Axis], label: str, dice: random.Random
) -> Iterator[tuple[dict[str, Value], Fraction]]:
    """Yield every combination that can be, with its share; no beginning of them favours a value."""
    levels = {name: _levels(axis, dice) for name, axis in axes.items()}
    for cell in diagonal([most_levels(axis) for axis in axes.values()]):
        row: dict[str, Value] = {}
        share = Fraction(1)
        for (name, axis), index in zip(axes.items(), cell, strict=True):
            here = levels[name][_condition(axis, label, row)]
            if index >= len(here):  # another condition allows more values than this one
                break
            row[name], part = here[index]
            share *= part
        else:
            yield row, share


def _condition(axis: Axis, label: str, row: Mapping[str, Value]) -> str:
    if not isinstance(axis, ConditionalAxis):
        return ANYTHING
    return label if axis.on == LABEL else str(row[axis.on].stored)


def _levels(axis: Axis, dice: random.Random) -> dict[str, list[Level]]:
    """Return the values of a crossed axis by condition, in random order."""
    found: dict[str, list[Level]] = {}
    if isinstance(axis, NumberAxis):
        found[ANYTHING] = [(_at(axis, place), Fraction(1, axis.size)) for place in range(axis.size)]
    elif isinstance(axis, CategoryAxis | ConditionalAxis):
        for condition, values in _values_by_condition(axis).items():
            weights = {name: Fraction(str(value.weight)) for name, value in values.items()}
            found[condition] = [
                (_value(values, name), weight / sum(weights.values())) for name, weight in weights.items()
            ]
    for levels in found.values():
        dice.shuffle(levels)
    return found


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
