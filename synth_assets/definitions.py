"""Where everything meets: recipes become assets and jobs, adapters become resources."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from resources.lake import reading_lake
from resources.places import recipes_folder, synth_home
from resources.wiring import ClaimsResource, EmbedderResource, GeneratorsResource, LakeResource, RealDataReader
from sensors.alerts import alert_sensor
from sensors.failures import failure_sensor
from sensors.inbox import inbox_sensor
from sensors.marts import marts_sensor
from sensors.regeneration import regeneration_sensor
from sensors.releases import release_sensor
from sensors.schedules import batch_schedule
from sensors.templates import template_sensor
from synth_assets.assets.factory import broken_asset, dataset_assets, released_assets
from synth_assets.assets.marts import mart_assets
from synth_assets.errors import SynthError
from synth_assets.jobs import dataset_jobs, marts_job, released_jobs
from synth_assets.recipe import BrokenRecipe, Recipe, discover
from synth_assets.reports.releases import recipe_of_newest

warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)


_log = logging.getLogger(__name__)


def build_defs(
    found: Sequence[Recipe | BrokenRecipe], *, released: Sequence[Recipe] = (), home: str = ""
) -> dg.Definitions:
    """Return assets, jobs, schedules, sensors and resources.

    Args:
        found: datasets; one that cannot be read takes down its own graph only.
        released: recipes by which versions were cut of datasets that cannot be read any more.
        home: SYNTH_HOME; empty reads the environment when a run starts.
    """
    readable = [recipe for recipe in found if isinstance(recipe, Recipe)]
    broken = [recipe for recipe in found if not isinstance(recipe, Recipe)]
    lake = LakeResource(home=home)
    jobs = {job.name: job for recipe in readable for job in dataset_jobs(recipe)}
    return dg.Definitions(
        assets=[asset for recipe in readable for asset in dataset_assets(recipe)]
        + [asset for recipe in released for asset in released_assets(recipe)]
        + [broken_asset(each) for each in broken]
        + mart_assets(readable),
        jobs=[*jobs.values(), *(job for recipe in released for job in released_jobs(recipe)), marts_job()],
        schedules=[batch_schedule(recipe) for recipe in readable],
        sensors=[
            regeneration_sensor(readable, jobs),
            release_sensor(readable, jobs),
            template_sensor(readable, jobs),
            inbox_sensor(readable, jobs),
            failure_sensor(),
            alert_sensor(readable),
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
    found = discover(recipes_folder())
    return build_defs(found, released=left_behind(found, synth_home(), recipes_folder()))


def left_behind(found: Sequence[Recipe | BrokenRecipe], home: Path, recipes: Path) -> list[Recipe]:
    """Return the recipes by which versions were cut of datasets that have none to read any more.

    What cannot be read of the home is logged, and takes nothing else down.
    """
    readable = {recipe.dataset for recipe in found if isinstance(recipe, Recipe)}
    names = sorted(folder.name for folder in (home / "releases").glob("*") if folder.name not in readable)
    left: list[Recipe] = []
    if not names:
        return left
    for name in names:
        try:
            with reading_lake(home) as lake:
                recipe = recipe_of_newest(lake, name, recipes / name)
        except SynthError as error:
            _log.warning("versions of %s cannot be shown: %s", name, error)
        else:
            left += [] if recipe is None else [recipe]
    return left
