"""Reading what the next plan has to know of the plans before it; a plan that depends on none reads nothing."""

import polars as pl

from synth_assets.checks.evidence import earlier_accepted, fields_of
from synth_assets.domain.past import NOTHING, Parent, Past
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.axes import TableAxis
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel
from synth_assets.vocabulary import OURS


def past_of(lake: Lake, recipe: Recipe, batch: str) -> Past:
    """Return the past of a batch's next plan; ingested rows were never planned, but may be evolved."""
    requests = NOTHING.requests
    if _goes_on(recipe.model):
        requests = lake.read("requests", dataset=recipe.dataset, generator=OURS).select(requests.columns)
    return Past(requests, _parents(lake, recipe.model, batch))


def _goes_on(model: RecipeModel) -> bool:
    """Whether something is dealt from where the plans before ended."""
    return any(isinstance(axis, TableAxis) for axis in model.axes.values())


def _parents(lake: Lake, model: RecipeModel, batch: str) -> list[Parent]:
    """Return the samples a batch may evolve: accepted ones of green batches before it, in a stable order."""
    if not any(use.evolves for use in model.prompts):
        return []
    before = earlier_accepted(lake, model.dataset, before=batch).filter("is_green").select("sample_id")
    may_go_on = (pl.col("batch") < batch) & (pl.col("ancestry_depth") < model.max_ancestry_depth)
    rows = lake.read("samples", dataset=model.dataset).filter(may_go_on).join(before, on="sample_id", how="semi")
    fields: dict[str, dict[str, str]] = {}
    for sample, name, text in fields_of(lake, dataset=model.dataset).iter_rows():
        fields.setdefault(sample, {})[name] = text
    return [
        Parent(row["sample_id"], row["label"], row["ancestry_depth"], fields[row["sample_id"]])
        for row in rows.sort("batch", "sample_id").iter_rows(named=True)
        if row["sample_id"] in fields
    ]
