"""Reading what the next plan has to know of the plans before it; a plan that depends on none reads nothing."""

from dataclasses import replace

import polars as pl

from synth_assets.checks.evidence import earlier_accepted, fields_of
from synth_assets.domain.past import NOTHING, Parent, Past
from synth_assets.domain.ports import Routing
from synth_assets.domain.rotation import Record, records
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.axes import TableAxis
from synth_assets.recipe.loader import Recipe, template_sha256
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.rotation import AdaptiveRotation
from synth_assets.vocabulary import OURS


def past_of(lake: Lake, recipe: Recipe, routing: Routing, batch: str) -> Past:
    """Return the past of a batch's next plan; ingested rows were never planned, but may be evolved.

    What came of its prompts is read where they rotate by it: their present versions, asked of the present model, in the
    latest batches; what a regeneration superseded is left out, since nobody decided whether it was good.
    """
    past = NOTHING
    if _goes_on(recipe.model):
        requests = lake.read("requests", dataset=recipe.dataset, generator=OURS)
        past = replace(past, requests=requests.select("batch", "label", "axes"))
    if isinstance(recipe.model.rotation, AdaptiveRotation):
        past = replace(past, records=_records(lake, recipe, routing, memory=recipe.model.rotation.memory))
    if any(use.evolves for use in recipe.model.prompts):
        past = replace(past, parents=_parents(lake, recipe.model, batch))
    return past


def _records(lake: Lake, recipe: Recipe, routing: Routing, *, memory: int) -> dict[str, Record]:
    planned = lake.read("batches", dataset=recipe.dataset).filter(pl.col("promised") > 0)
    latest = planned.sort("batch").tail(memory)
    if latest.is_empty():
        return {}
    here = {"dataset": recipe.dataset, "batch": latest["batch"].to_list()}
    models = sorted({route.provider.model_id for route in routing.routes})
    requests = lake.read("requests", **here, model=models, generator=OURS)
    requests = requests.join(latest.select("batch", "current_from"), on="batch").filter(
        pl.col("attempt") >= pl.col("current_from")
    )
    by_hash = records(
        requests,
        lake.read("generations", **here),
        lake.read("samples", **here),
        lake.read("decisions", **here),
        overdraw=recipe.model.batch.overdraw,
    )
    found = {each.name: by_hash.get(template_sha256(each)) for each in recipe.templates}
    return {name: record for name, record in found.items() if record is not None}


def _goes_on(model: RecipeModel) -> bool:
    """Whether something is dealt from where the plans before ended."""
    has_decks = any(isinstance(axis, TableAxis) for axis in model.axes.values())
    has_decks = has_decks or any(table.order != "random" for table in model.seeds.values())
    return has_decks or model.cover == "factorial"


def _parents(lake: Lake, model: RecipeModel, batch: str) -> list[Parent]:
    """Return the samples a batch may evolve: accepted ones of green batches before it, in a stable order."""
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
