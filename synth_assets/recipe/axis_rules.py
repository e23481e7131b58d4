"""What the `axes` of a recipe are to each other: which depends on which, which are crossed, and what cannot be."""

import math
from collections.abc import Iterable, Mapping

from synth_assets.recipe.axes import Axis, CategoryAxis, ConditionalAxis, DateAxis, NumberAxis, TableAxis

LABEL = "label"
"""What an axis may depend on besides another axis."""

MOST_COMBINATIONS = 10_000
"""Combinations a factorial plan may have."""


def names_by_axis(axes: Mapping[str, Axis]) -> dict[str, set[str]]:
    """Return the names of the values of every axis that has named ones."""
    found = {}
    for name, axis in axes.items():
        if isinstance(axis, CategoryAxis):
            found[name] = set(axis.values)
        elif isinstance(axis, ConditionalAxis):
            found[name] = set().union(*axis.values.values())
    return found


def dealing_order(axes: Mapping[str, Axis]) -> list[str]:
    """Return the axes as written, but each behind the one it depends on.

    Raises:
        ValueError: one depends on itself, over others or not.
    """
    ordered: list[str] = []
    waiting = list(axes)
    while waiting:
        ready = [name for name in waiting if _parent(axes[name]) in {None, LABEL, *ordered}]
        if not ready:
            raise ValueError(f"axes.{waiting[0]}.on: it depends on itself")
        ordered += ready
        waiting = [name for name in waiting if name not in ready]
    return ordered


def _parent(axis: Axis) -> str | None:
    return axis.on if isinstance(axis, ConditionalAxis) else None


def crossed(axes: Mapping[str, Axis]) -> list[str]:
    """Return the axes that a factorial plan crosses, in dealing order: named values, and numbers with a `step`."""
    return [name for name in dealing_order(axes) if _is_crossed(axes[name])]


def _is_crossed(axis: Axis) -> bool:
    if isinstance(axis, NumberAxis):
        return axis.step is not None
    return isinstance(axis, CategoryAxis | ConditionalAxis)


def most_levels(axis: Axis) -> int:
    """Return how many values a crossed axis can take, at most; 0 for rows, which are never crossed."""
    if isinstance(axis, NumberAxis | DateAxis):
        return axis.size
    if isinstance(axis, ConditionalAxis):
        return max(len(values) for values in axis.values.values())
    return len(axis.values) if isinstance(axis, CategoryAxis) else 0


def refuse_too_many(axes: Mapping[str, Axis]) -> None:
    """Refuse to cross more than can be looked through.

    Raises:
        ValueError: with the key to look at.
    """
    combinations = math.prod(most_levels(axes[name]) for name in crossed(axes))
    if combinations > MOST_COMBINATIONS:
        raise ValueError(
            f"cover: {combinations:,} combinations are too many to cross; up to {MOST_COMBINATIONS:,} can be, "
            "of named values and of numbers with a `step`"
        )


def refuse_wrong_axes(axes: Mapping[str, Axis], *, labels: Iterable[str], tables: Iterable[str]) -> None:
    """Refuse conditions on nothing, tables that are none, and tables that two axes deal.

    Raises:
        ValueError: with the key to look at.
    """
    names = {LABEL: set(labels)} | names_by_axis(axes)
    free = set(tables)
    for name, axis in axes.items():
        if isinstance(axis, ConditionalAxis):
            _refuse_wrong_condition(name, axis, names)
        if isinstance(axis, TableAxis):
            if axis.table not in free:
                raise ValueError(f"axes.{name}.table: '{axis.table}' is no key of `seeds`, or another axis deals it")
            free.remove(axis.table)
    dealing_order(axes)


def _refuse_wrong_condition(name: str, axis: ConditionalAxis, names: Mapping[str, set[str]]) -> None:
    if axis.on not in names:
        raise ValueError(f"axes.{name}.on: '{axis.on}' is neither `label` nor an axis of named values")
    strays = sorted(set(axis.values) ^ names[axis.on])
    if strays:
        raise ValueError(f"axes.{name}.values: {strays} must stand both here and among the values of {axis.on}")
