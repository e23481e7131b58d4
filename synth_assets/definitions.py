"""Where everything meets: recipes become assets and jobs, adapters become resources."""

import warnings
from collections.abc import Sequence

import dagster as dg

from resources.places import recipes_folder
from resources.wiring import ClaimsResource, EmbedderResource, GeneratorsResource, LakeResource, RealDataReader
from sensors.marts import marts_sensor
from synth_assets.assets.factory import broken_asset, dataset_assets
from synth_assets.assets.marts import mart_assets
from synth_assets.jobs import dataset_jobs, marts_job
from synth_assets.recipe import BrokenRecipe, Recipe, discover

warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def build_defs(found: Sequence[Recipe | BrokenRecipe], *, home: str = "") -> dg.Definitions:
    """Return assets, jobs and resources.

    Args:
        found: datasets; one that cannot be read takes down its own graph only.
        home: SYNTH_HOME; empty reads the environment when a run starts.
    """
    readable = [recipe for recipe in found if isinstance(recipe, Recipe)]
    broken = [recipe for recipe in found if not isinstance(recipe, Recipe)]
    lake = LakeResource(home=home)
    return dg.Definitions(
        assets=[asset for recipe in readable for asset in dataset_assets(recipe)]
        + [broken_asset(each) for each in broken]
        + mart_assets(readable),
        jobs=[job for recipe in readable for job in dataset_jobs(recipe)] + [marts_job()],
        sensors=[marts_sensor()],
        resources={
            "lake": lake,
            "claims": ClaimsResource(home=home, lake=lake),
            "generators": GeneratorsResource(home=home),
            "embedder": EmbedderResource(),
            "real_data": RealDataReader(),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location of this project's recipes."""
    return build_defs(discover(recipes_folder()))
