"""How often each label asks for each value of an axis, so that few requests of a label round no value away."""

import random
from collections.abc import Mapping
from fractions import Fraction

from synth_assets.domain.apportion import apportion
from synth_assets.domain.crossing import most_due
from synth_assets.domain.past import Past
from synth_assets.recipe.axes import CategoryAxis
from synth_assets.recipe.model import RecipeModel

Parts = dict[str, int]
"""Requests by name of a value."""


class Quotas:
    """The exact quotas of the axes that depend on nothing, for one attempt.

    A value gets its fair count among all requests of the batch, rounded down or up, whatever their label; each label
    gets its proportion of that count as nearly as whole numbers allow. Which labels get the values that do not come out
    even is drawn.

    Args:
        model: the recipe.
        counts: requests of each label.
        past: the earlier attempts of the batch; what they asked for too often is due less.
        dice: draws, and nothing else does.
    """

    def __init__(self, model: RecipeModel, counts: Mapping[str, int], past: Past, dice: random.Random) -> None:
        self._parts: dict[str, dict[str, Parts]] = {}
        labels = list(counts)
        for name, axis in model.axes.items():
            if not isinstance(axis, CategoryAxis):
                continue
            had = past.counts([name])
            shares = [Fraction(str(value.weight)) for value in axis.values.values()]
            fair = most_due(sum(counts.values()), shares, [had[(value,)] for value in axis.values])
            left: Parts = dict(zip(axis.values, fair, strict=True))
            dice.shuffle(labels)
            self._parts[name] = {}
            for label in labels:
                part = apportion(counts[label], left) if counts[label] else dict.fromkeys(left, 0)
                self._parts[name][label] = part
                left = {value: rest - part[value] for value, rest in left.items()}

    def of(self, axis: str, label: str) -> Parts:
        """Return how often the requests of a label ask for each value of an axis."""
        return self._parts[axis][label]
