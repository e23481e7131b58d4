"""Trainers, evaluators and baselines: what a dataset version is worth to the model that consumes it.

A trainer joins by one entry in `TRAINERS`. Real data and embedders come from outside, through the ports.
"""

from collections.abc import Mapping

from synth_assets.errors import UsageError
from synth_assets.training.linear import LinearTrainer
from synth_assets.training.protocol import Model, Trainer

TRAINERS: Mapping[str, Trainer] = {"linear": LinearTrainer()}
"""Every trainer by the name a recipe uses."""


def trainer_named(name: str) -> Trainer:
    """Return a trainer.

    Raises:
        UsageError: nobody registered that name.
    """
    if name not in TRAINERS:
        raise UsageError(
            f"no trainer is called {name!r}",
            where="trainer.name of the recipe, or --trainer",
            fix=f"use one of: {', '.join(sorted(TRAINERS))}",
        )
    return TRAINERS[name]


__all__ = ["TRAINERS", "Model", "Trainer", "trainer_named"]
