"""The jobs of a dataset (inputs, batch, version, model run, version with its model), and the one of the marts."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from synth_assets.assets.marts import MARTS, all_marts
from synth_assets.assets.partitions import batch_job, inputs_job, key_of, model_job, release_job, version_job
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import BATCH_STAGES, Stage

INPUT_ASSETS = ("prompt_templates", "seeds")
BATCH_ASSETS = (*INPUT_ASSETS, Stage.GENERATION_PLAN, *BATCH_STAGES)


def dataset_jobs(recipe: Recipe) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs of a dataset; one without real data is released without a model."""
    name = recipe.dataset
    measured = (Stage.MODEL_RUN,) if recipe.model.real_data else ()
    said = {
        inputs_job: f"Registers the templates and seeds of {name}, as every batch does first; pays nothing.",
        batch_job: f"Launch this to make a batch of {name}, or to top it up: plan to examples. Calls the model.",
        version_job: f"Verifies a version of {name}; `synth release {name}` adds and cuts the next one.",
        model_job: f"Trains a model on a version of {name} and measures it; never the same one twice.",
        release_job: f"The next version of {name}{', and a model trained on it' if measured else ''}.",
    }
    assets = {
        inputs_job: INPUT_ASSETS,
        batch_job: BATCH_ASSETS,
        version_job: (Stage.DATASET_VERSION,),
        model_job: (Stage.MODEL_RUN,),
        release_job: (Stage.DATASET_VERSION, *measured),
    }
    selected = {job: dg.AssetSelection.assets(*[key_of(name, each) for each in assets[job]]) for job in assets}
    return [dg.define_asset_job(job(name), selected[job], description=said[job]) for job in said]


def released_jobs(recipe: Recipe) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs of a dataset whose recipe is gone: those of its versions."""
    kept = {version_job(recipe.dataset), model_job(recipe.dataset)}
    return [job for job in dataset_jobs(recipe) if job.name in kept]


def marts_job() -> UnresolvedAssetJobDefinition:
    """Return the job that computes every mart anew."""
    return dg.define_asset_job(MARTS, all_marts(), description="Every mart anew, over all datasets; pays nothing.")
