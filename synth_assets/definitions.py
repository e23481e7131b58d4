"""Where everything meets: recipes become assets and jobs, adapters become resources."""

import warnings
from collections.abc import Sequence

import dagster as dg

from resources.places import recipes_folder
from resources.wiring import ClaimsResource, EmbedderResource, GeneratorsResource, LakeResource, RealDataReader
from sensors.failures import failure_sensor
from sensors.inbox import inbox_sensor
from sensors.marts import marts_sensor
from sensors.regeneration import regeneration_sensor
from sensors.releases import release_sensor
from sensors.schedules import batch_schedule
from sensors.templates import template_sensor
from synth_assets.assets.factory import broken_asset, dataset_assets
from synth_assets.assets.marts import mart_assets
from synth_assets.jobs import dataset_jobs, marts_job
from synth_assets.recipe import BrokenRecipe, Recipe, discover

warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def build_defs(found: Sequence[Recipe | BrokenRecipe], *, home: str = "") -> dg.Definitions:
    """Return assets, jobs, schedules, sensors and resources.

    Args:
        found: datasets; one that cannot be read takes down its own graph only.
        home: SYNTH_HOME; empty reads the environment when a run starts.
    """
    readable = [recipe for recipe in found if isinstance(recipe, Recipe)]
    broken = [recipe for recipe in found if not isinstance(recipe, Recipe)]
    lake = LakeResource(home=home)
    jobs = {job.name: job for recipe in readable for job in dataset_jobs(recipe)}
    return dg.Definitions(
        assets=[asset for recipe in readable for asset in dataset_assets(recipe)]
        + [broken_asset(each) for each in broken]
        + mart_assets(readable),
        jobs=[*jobs.values(), marts_job()],
        schedules=[batch_schedule(recipe) for recipe in readable],
        sensors=[
            regeneration_sensor(readable, jobs),
            release_sensor(readable, jobs),
            template_sensor(readable, jobs),
            inbox_sensor(readable, jobs),
            failure_sensor(),
            marts_sensor(),
        ],
        resources={
            "lake": lake,
            "claims": ClaimsResource(home=home, lake=lake),
            "generators": GeneratorsResource(home=home),
            "embedder": EmbedderResource(),
            "real_data": dg.ResourceDefinition.hardcoded_resource(
                RealDataReader(), description="The real data a recipe names; read where it is installed, never stored."
            ),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location of this project's recipes."""
    return build_defs(discover(recipes_folder()))
