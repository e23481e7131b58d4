"""The assets of a version: what was released, and what was trained on it."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from resources.claims import cutting, training
from resources.lake import DuckLake
from resources.wiring import RealDataReader
from synth_assets.assets.batch import now, shared
from synth_assets.assets.partitions import key_of, versions_of
from synth_assets.assets.report import check_specs, clearly, column_schema, report
from synth_assets.domain.ports import Embedder
from synth_assets.domain.versioning import number_of
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.stages import models, versions
from synth_assets.stages.work import Work
from synth_assets.vocabulary import Stage


class ReleaseConfig(dg.Config):
    """What a person may say of a release; it is kept in the audit for ever."""

    reason: str = Field(default="", description="Why; without anything about a person, since it cannot be erased.")
    as_judged: bool = Field(
        default=False, description="Let batches enter by the thresholds of their time; give the reason above."
    )


def version_assets(recipe: Recipe, *, has_batches: bool = True) -> list[dg.AssetsDefinition]:
    """Return the assets partitioned by version.

    Args:
        recipe: the dataset's, or the one its newest version was cut by.
        has_batches: whether the dataset's batches are assets too; not where its folder is gone.
    """
    partitions = versions_of(recipe.model)
    version_key = key_of(recipe.dataset, Stage.DATASET_VERSION)
    run_key = key_of(recipe.dataset, Stage.MODEL_RUN)
    every_batch = dg.AssetDep(key_of(recipe.dataset, Stage.TRAINING_READY), partition_mapping=dg.AllPartitionMapping())

    @dg.asset(
        key=version_key,
        deps=[every_batch] if has_batches else [],
        partitions_def=partitions,
        description="An immutable version: the accepted examples of all green batches, as a release folder.",
        kinds={"parquet", "duckdb"},
        code_version=recipe.sha256[:12],
        check_specs=check_specs(Stage.DATASET_VERSION, version_key, partitions),
        metadata={"dagster/column_schema": column_schema("version_members")},
        output_required=False,
        **shared(recipe),
    )
    @clearly
    def dataset_version(
        context: dg.AssetExecutionContext,
        config: ReleaseConfig,
        lake: dg.ResourceParam[DuckLake],
        real_data: dg.ResourceParam[RealDataReader],
    ) -> Iterator[Any]:
        work = Work(recipe, context.partition_key, lake, None, context.run.run_id, now)
        protected = tuple(real_data.protected(recipe).rows["text"])
        with cutting(lake.home, recipe.dataset):
            finished = versions.release(
                work,
                lake.home / "releases",
                reason=config.reason,
                actor=lake.actor,
                protected=protected,
                as_judged=config.as_judged,
            )
        yield from report(finished)

    @dg.asset(
        key=run_key,
        deps=[version_key],
        partitions_def=partitions,
        description="A model trained on the version, measured on real data beside its baselines; never twice.",
        kinds={"scikitlearn", "onnx"},
        code_version=recipe.sha256[:12],
        check_specs=check_specs(Stage.MODEL_RUN, run_key, partitions),
        metadata={"dagster/column_schema": column_schema("evaluations")},
        output_required=False,
        **shared(recipe),
    )
    @clearly
    def model_run(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[DuckLake],
        embedder: dg.ResourceParam[Embedder],
        real_data: dg.ResourceParam[RealDataReader],
    ) -> Iterator[Any]:
        work = Work(recipe, context.partition_key, lake, None, context.run.run_id, now)
        real = real_data.read(recipe)
        if real is None:
            raise UsageError(
                f"{recipe.dataset} names no real data to measure a model on",
                where=str(recipe.folder / "recipe.yaml"),
                fix="add `real_data:` with a reader; `folder` takes a test set of your own",
            )
        releases = lake.home / "releases"
        with training(lake.home, recipe.dataset, number_of(context.partition_key)):
            finished = models.train(work, embedder, real, releases, actor=lake.actor, clock=time.perf_counter)
        rows = lake.read("evaluations", model_run_id=finished.output_digest).sort("metric", "value", descending=True)
        yield from report(finished, rows=rows, columns=["subject", "metric", "value", "low", "high", "train_rows"])

    return [dataset_version, model_run]
