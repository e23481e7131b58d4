"""The shape of the graph: compared with a picture of it that changes on purpose only.

``pytest tests/test_graph_snapshot.py --regenerate-snapshots`` takes a new one; read the difference before you keep it.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from synth_assets.assets.factory import broken_asset
from synth_assets.assets.marts import MARTS
from synth_assets.checks.gates import GATES
from synth_assets.checks.release_gates import MODEL_RUN_GATES, VERSION_GATES
from synth_assets.definitions import build_defs
from synth_assets.recipe import BrokenRecipe, Recipe, discover
from tests.fakes.recipes import write_recipe
from tests.fakes.world import QUIET, ran

SNAPSHOT = Path(__file__).parent / "snapshots" / "asset_graph.json"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good recipe beside one whose labels do not add up."""
    root = tmp_path_factory.mktemp("recipes")
    write_recipe(root)
    write_recipe(root, dataset="broken", labels={"good": {"share": 0.5}, "bad": {"share": 0.1}})
    return root


@pytest.fixture(scope="module")
def defs(recipes: Path) -> dg.Definitions:
    return build_defs(discover(recipes))


def picture(defs: dg.Definitions) -> dict[str, Any]:
    """Return all of the graph that others build on: run history, checks, schedules and documentation name these."""
    checks: dict[str, list[str]] = {}
    for key in defs.resolve_asset_graph().asset_check_keys:
        checks.setdefault(key.asset_key.to_user_string(), []).append(key.name)
    assets = {
        spec.key.to_user_string(): {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "owners": sorted(spec.owners),
            "kinds": sorted(spec.kinds),
            "checks": sorted(checks.get(spec.key.to_user_string(), [])),
            "partitions": described(spec.partitions_def),
        }
        for spec in defs.resolve_all_asset_specs()
    }
    jobs = {
        job.name: {
            "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
            "partitions": described(job.partitions_def),
        }
        for job in defs.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    return {"assets": assets, "jobs": jobs}


def described(partitions: dg.PartitionsDefinition[str] | None) -> dict[str, Any] | None:
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        start = partitions.start.strftime(partitions.fmt)
        shape = {"cron": partitions.cron_schedule, "format": partitions.fmt, "timezone": partitions.timezone}
        return {"kind": "time", **shape, "start": start, "end_offset": partitions.end_offset}
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return {"kind": "dynamic", "name": partitions.name}
    return None


def test_the_graph_looks_as_it_did(defs: dg.Definitions, is_regenerating: bool) -> None:
    found = json.dumps(picture(defs), indent=2, sort_keys=True) + "\n"
    if is_regenerating:
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(found, encoding="utf-8")

    assert found == SNAPSHOT.read_text(encoding="utf-8"), "if this was meant, run pytest with --regenerate-snapshots"


def test_the_definitions_can_be_loaded(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)
    assert isinstance(defs.executor, dg.ExecutorDefinition)
    assert defs.executor.name == "in_process"


def test_every_stage_that_is_gated_checks_in_its_own_body(defs: dg.Definitions) -> None:
    specs = [spec for asset in defs.assets for spec in asset.check_specs if spec.asset_key.path[0] != MARTS]

    assert len(specs) == sum(map(len, GATES.values())) + len(VERSION_GATES) + len(MODEL_RUN_GATES)
    assert all(spec.blocking and spec.partitions_def is not None and spec.description for spec in specs)


def test_a_broken_recipe_takes_down_only_itself(recipes: Path, defs: dg.Definitions) -> None:
    found = discover(recipes)
    assert [(type(each), each.dataset) for each in found] == [(BrokenRecipe, "broken"), (Recipe, "tiny")]

    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert [key for key in specs if not key.startswith(("tiny/", f"{MARTS}/"))] == ["broken/recipe"]
    assert specs["broken/recipe"].group_name == "broken_recipes"
    assert "shares add up to 0.6" in specs["broken/recipe"].description
    assert "recipe.yaml" in specs["broken/recipe"].metadata["where"]
    assert defs.resolve_job_def("tiny_batch")


def test_a_broken_recipe_shows_its_error_when_it_is_materialized(recipes: Path, tmp_path: Path) -> None:
    broken = next(each for each in discover(recipes) if isinstance(each, BrokenRecipe))

    run = ran(
        dg.materialize(
            [broken_asset(broken)],
            instance=dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)),
            run_config={"loggers": QUIET},
            raise_on_error=False,
        )
    )

    assert not run.success
    assert run.told["exit_code"] == 2
    assert (run.told["what"], run.told["fix"]) == (broken.error.what, broken.error.fix)
