"""The jobs of a dataset: a batch, a version, a model run; and the one of the marts."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from synth_assets.assets.marts import MARTS, all_marts
from synth_assets.assets.partitions import key_of
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import BATCH_STAGES, Stage

BATCH_ASSETS = ("prompt_templates", "seeds", Stage.GENERATION_PLAN, *BATCH_STAGES)


def batch_job(dataset: str) -> str:
    """Name of the job that brings a batch up to training_ready."""
    return f"{dataset}_batch"


def version_job(dataset: str) -> str:
    """Name of the job that cuts or verifies a version."""
    return f"{dataset}_version"


def model_job(dataset: str) -> str:
    """Name of the job that trains on a version."""
    return f"{dataset}_model_run"


def dataset_jobs(recipe: Recipe) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs of a dataset."""
    name = recipe.dataset
    batch = dg.AssetSelection.assets(*[key_of(name, asset) for asset in BATCH_ASSETS])
    return [
        dg.define_asset_job(
            batch_job(name),
            batch,
            description=f"One batch of {name}, up to its examples.",
        ),
        dg.define_asset_job(
            version_job(name),
            dg.AssetSelection.assets(key_of(name, Stage.DATASET_VERSION)),
            description=f"The next version of {name}.",
        ),
        dg.define_asset_job(
            model_job(name),
            dg.AssetSelection.assets(key_of(name, Stage.MODEL_RUN)),
            description=f"A model trained on a version of {name}.",
        ),
    ]


def marts_job() -> UnresolvedAssetJobDefinition:
    """Return the job that computes every mart anew."""
    return dg.define_asset_job(MARTS, all_marts(), description="Every mart anew, over all datasets; pays nothing.")
