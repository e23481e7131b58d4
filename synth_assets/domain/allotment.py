"""Which prompt gets how many requests of a plan: shares in whole numbers, and a row that says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.domain.apportion import apportion, apportion_rows
from synth_assets.domain.ports import Routing
from synth_assets.domain.rotation import Allocation, Record, allocate
from synth_assets.domain.routing import balanced
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.rotation import AdaptiveRotation
from synth_assets.recipe.template import Template
from synth_assets.tables import TABLES


@dataclass(frozen=True)
class Allotment:
    """The requests of one plan by prompt.

    Attributes:
        parts: requests by label and by name of the prompt.
        rows: of `prompt_allocations`, one for each prompt, shape (prompts, 13).
    """

    parts: Mapping[str, Mapping[str, int]]
    rows: pl.DataFrame


def allot(
    recipe: Recipe,
    templates: Sequence[Template],
    wanted: Mapping[str, int],
    records: Mapping[str, Record],
    routing: Routing,
    *,
    batch: str,
    attempt: int,
) -> Allotment:
    """Divide the requests of a plan among its prompts.

    Args:
        recipe: the dataset; its `rotation` decides.
        templates: that the provider can be asked with.
        wanted: requests of each label.
        records: what is known of the prompts, by name.
        routing: the models that are asked; each mode gets the share of those that take it.
        batch: of the plan.
        attempt: of the plan.
    """
    weight_of = {use.name: use.weight for use in recipe.model.prompts}
    weights = balanced({template.name: weight_of[template.name] for template in templates}, templates, routing)
    allocations = allocate(recipe.model.rotation, weights, records)
    if isinstance(recipe.model.rotation, AdaptiveRotation):
        parts = apportion_rows(wanted, {name: each.share for name, each in allocations.items()})
    else:
        parts = {label: apportion(count, weights) for label, count in wanted.items()}
    here = {"dataset": recipe.dataset, "batch": batch, "attempt": attempt, "rotation": recipe.model.rotation.kind}
    rows = [
        here
        | {"prompt_name": name, "prompt_version": recipe.template(name).version}
        | {"planned_requests": sum(part[name] for part in parts.values())}
        | _grounds(allocation)
        for name, allocation in allocations.items()
    ]
    return Allotment(parts, TABLES["prompt_allocations"].frame(rows))


def _grounds(allocation: Allocation) -> dict[str, Any]:
    record = allocation.record
    return {
        "share": allocation.share,
        "tried_requests": record.requests if record else None,
        "accepted_samples": record.accepted if record else None,
        "cost_per_accepted": allocation.cost_per_accepted,
        "cost_unit": allocation.cost_unit,
        "reason": allocation.reason,
    }


def told(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what every prompt of a plan was given and why, by its name, for a person."""
    shown = rows.select("prompt_name", "planned_requests", "share", "reason")
    return {row.pop("prompt_name"): row for row in shown.iter_rows(named=True)}
