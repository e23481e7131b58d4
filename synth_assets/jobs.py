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
    jobs = {
        inputs_job(name): (INPUT_ASSETS, f"Registers the templates and seeds of {name}; pays nothing."),
        batch_job(name): (BATCH_ASSETS, f"One batch of {name}, up to its examples."),
        version_job(name): ((Stage.DATASET_VERSION,), f"The next version of {name}."),
        model_job(name): ((Stage.MODEL_RUN,), f"A model trained on a version of {name}."),
        release_job(name): (
            (Stage.DATASET_VERSION, *measured),
            f"The next version of {name}{', and a model trained on it' if measured else ''}.",
        ),
    }
    return [
        dg.define_asset_job(
            job, dg.AssetSelection.assets(*[key_of(name, asset) for asset in assets]), description=description
        )
        for job, (assets, description) in jobs.items()
    ]


def marts_job() -> UnresolvedAssetJobDefinition:
    """Return the job that computes every mart anew."""
    return dg.define_asset_job(MARTS, all_marts(), description="Every mart anew, over all datasets; pays nothing.")
