"""A dataset's whole graph with fakes for everything outside: a lake in memory, a model, an embedder, real data.

A `World` runs parts of the graph in Dagster's own process and says what became of them; `copy` gives a second life to
everything it has made so far, so tests share what they have in common.
"""

import copy
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from resources.claims import Claims
from synth_assets.assets.factory import dataset_assets
from synth_assets.jobs import BATCH_ASSETS
from synth_assets.recipe import Recipe, load_recipe
from tests.fakes.embedder import HashedWords
from tests.fakes.generator import FakeGenerator, FakeGenerators
from tests.fakes.lake import MemoryLake
from tests.fakes.real_data import FakeRealData
from tests.fakes.recipes import write_recipe

DAY = "2026-11-01"
NEXT_DAY = "2026-11-02"
CHECKED = "ASSET_CHECK_EVALUATION"
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@dataclass(frozen=True)
class Ran:
    """What became of a run.

    Attributes:
        started: assets whose body was entered.
        materialized: assets that came out of it, with their metadata.
        red: (asset, gate) of every check that failed.
        told: what a failed asset told the person: exit_code, what, where, fix; `crash` if it told a traceback.
    """

    success: bool
    started: set[str]
    materialized: dict[str, dict[str, Any]]
    red: set[tuple[str, str]]
    told: dict[str, Any]
    events: list[dg.DagsterEvent]


def ran(result: dg.ExecuteInProcessResult) -> Ran:
    """Read a run's events."""
    started, materialized, red, told = set(), {}, set(), {}
    for event in result.all_events:
        if event.is_step_start:
            started.add(event.step_key.split("__")[-1])
        elif event.is_step_materialization:
            found = event.materialization
            metadata = {name: value.value for name, value in found.metadata.items()}
            materialized[found.asset_key.path[-1]] = metadata | {"data_version": found.tags["dagster/data_version"]}
        elif event.event_type_value == CHECKED and not event.asset_check_evaluation_data.passed:
            check = event.asset_check_evaluation_data
            red.add((check.asset_key.path[-1], check.check_name))
        elif event.is_step_failure:
            told |= _told(event.step_failure_data)
        elif event.is_job_failure and event.job_failure_data.error is not None:
            told["crash"] = str(event.job_failure_data.error)
    return Ran(result.success, started, materialized, red, told, list(result.all_events))


def _told(failure: Any) -> dict[str, Any]:
    """Read what a failed asset told the person; an error that is not meant for a person is a fault of the code."""
    if failure.user_failure_data:
        return {name: value.value for name, value in failure.user_failure_data.metadata.items()}
    crashed = failure.error is not None and "AssetCheck" not in failure.error.cls_name
    return {"crash": str(failure.error)} if crashed else {}


class World:
    """One dataset, one home, one Dagster instance."""

    def __init__(self, folder: Path, **recipe: Any) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.lake = MemoryLake(self.home)
        self.generator = FakeGenerator()
        self.embedder = HashedWords()
        self.real_data = FakeRealData()
        self.recipe: Recipe
        self.edit(**recipe)
        self.instance = dg.DagsterInstance.ephemeral(tempdir=str(folder / "dagster"))

    def copy(self, folder: Path) -> "World":
        """Return a world with the same past in another folder; only Dagster's instance starts empty."""
        other = copy.copy(self)
        other.folder, other.home = folder, folder / "home"
        other.lake = self.lake.copy(other.home)
        other.generator, other.embedder = copy.deepcopy(self.generator), copy.deepcopy(self.embedder)
        other.real_data = copy.copy(self.real_data)
        if (self.home / "releases").exists():
            shutil.copytree(self.home / "releases", other.home / "releases")
        other.instance = dg.DagsterInstance.ephemeral(tempdir=str(folder / "dagster"))
        return other

    def edit(self, *, files: Mapping[str, str | None] | None = None, **changes: Any) -> None:
        """Write the recipe with other keys or files."""
        real = {"reader": "invented", "test_rows": 100}
        self.recipe = load_recipe(write_recipe(self.folder, files=files, **{"real_data": real} | changes))

    def run(self, *assets: str, batch: str = DAY, **plan: Any) -> Ran:
        """Materialize some assets of a batch, all of them if none is named; ``plan`` is the plan's run config."""
        names = assets or BATCH_ASSETS
        config = {"tiny__generation_plan": {"config": plan}} if plan else {}
        return self._run(names, batch, config)

    def release(self, key: str, **config: Any) -> Ran:
        """Materialize a version."""
        self.instance.add_dynamic_partitions("tiny_versions", [key])
        return self._run(["dataset_version"], key, {"tiny__dataset_version": {"config": config}} if config else {})

    def train(self, key: str) -> Ran:
        """Materialize the model run of a version."""
        self.instance.add_dynamic_partitions("tiny_versions", [key])
        return self._run(["model_run"], key, {})

    def _run(self, names: Iterable[str], partition: str, ops: dict[str, Any]) -> Ran:
        claims = Claims(self.lake, self.home)
        try:
            result = dg.materialize(
                dataset_assets(self.recipe),
                selection=[dg.AssetKey(["tiny", str(name)]) for name in names],
                partition_key=partition,
                instance=self.instance,
                resources={
                    "lake": self.lake,
                    "claims": claims,
                    "generators": FakeGenerators(self.generator),
                    "embedder": self.embedder,
                    "real_data": self.real_data,
                },
                run_config={"ops": ops, "loggers": QUIET},
                raise_on_error=False,
            )
        finally:
            claims.release()
        return ran(result)

    def is_materialized(self, asset: str, partition: str = DAY) -> bool:
        """Whether Dagster shows a partition as there."""
        return partition in self.instance.get_materialized_partitions(dg.AssetKey(["tiny", asset]))

    def batch(self, batch: str = DAY) -> dict[str, Any]:
        return self.lake.read("batches", batch=batch).row(0, named=True)

    def rows(self, table: str, **equals: Any) -> pl.DataFrame:
        return self.lake.read(table, **equals)

    def counts(self, table: str, column: str, **equals: Any) -> dict[str | None, int]:
        """Count the rows of a table by a column."""
        return dict(self.rows(table, **equals).group_by(column).len().rows())

    @property
    def paid(self) -> int:
        return self.generator.paid.total()
