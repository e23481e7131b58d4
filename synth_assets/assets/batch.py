"""The assets of a batch: from registered inputs to training examples."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from resources.claims import Claims
from resources.drops import read_drop
from resources.lake import DuckLake
from resources.progress import announce
from resources.seed_files import add_seeds
from resources.wiring import Generators, RealDataReader
from synth_assets.assets.partitions import batches_of, key_of, refuse_future
from synth_assets.assets.report import check_specs, clearly, column_schema, metadata_of, preview, report, report_batch
from synth_assets.checks.evidence import proven_batch
from synth_assets.domain.ingestion import Origin
from synth_assets.domain.ports import Embedder, Generator
from synth_assets.errors import StoppedError
from synth_assets.recipe.loader import Recipe
from synth_assets.stages import generation, ingestion, judgement
from synth_assets.stages.inputs import register_seeds, register_templates
from synth_assets.stages.work import Finished, Work
from synth_assets.vocabulary import Stage

LOG_EVERY = 50
"""Requests between two lines in a run's log."""


class SeedsConfig(dg.Config):
    """A file of seed rows to add to a table of the recipe."""

    table: str = Field(default="", description="Seed table; empty adds nothing.")
    file: str = Field(default="", description="JSONL file with rows for it.")


class IngestConfig(dg.Config):
    """Samples another tool made, to be taken in instead of generating any."""

    file: str = Field(description="JSONL, JSON or Parquet file, or the output folder of DataDesigner or Curator.")
    generator: str = Field(description="Name of the tool.")
    text_field: str = Field(default="text", description="Field of a row that holds the text.")
    label_field: str = Field(default="label", description="Field of a row that holds the label.")
    label_map: dict[str, str] = Field(default={}, description="The recipe's label by what the tool calls it.")


class PlanConfig(dg.Config):
    """What a person may ask of a plan."""

    regenerate: bool = Field(default=False, description="Generate anew; the old samples are superseded.")
    accept: int = Field(default=0, ge=0, description="Another promise than the batch has; 0 keeps it.")
    anyway: bool = Field(default=False, description="Go on although hardly any first answer could be used.")
    ingest: IngestConfig | None = Field(default=None, description="Take in samples that were made elsewhere.")


def now() -> datetime:
    """Return the time; the one place where the stages get it from."""
    return datetime.now(UTC)


def work_on(recipe: Recipe, context: dg.AssetExecutionContext, lake: DuckLake, claims: Claims) -> Work:
    """Claim the run's batch and return its bench, under the promise the batch was opened with."""
    batch = context.partition_key
    refuse_future(recipe.model, batch, now())
    claim = claims.hold(recipe.model, batch)
    promised = proven_batch(lake, recipe.dataset, batch)["promised"]
    return Work(recipe.promising(promised), batch, lake, claim, context.run.run_id, now)


def input_assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """Return the assets that register what a dataset is made of."""
    common = shared(recipe)

    @dg.asset(
        key=key_of(recipe.dataset, "prompt_templates"),
        description="Every version of every prompt template; changed text under an old version is refused.",
        kinds={"jinja", "duckdb"},
        code_version=recipe.sha256[:12],
        metadata={"dagster/column_schema": column_schema("prompt_templates")},
        output_required=False,
        **common,
    )
    @clearly
    def prompt_templates(context: dg.AssetExecutionContext, lake: dg.ResourceParam[DuckLake]) -> Iterator[Any]:
        facts = register_templates(recipe, lake, run_id=context.run.run_id, at=now())
        rows = lake.read("prompt_templates", dataset=recipe.dataset)
        shown = preview(rows, ["prompt_name", "prompt_version", "mode", "template_sha256"])
        metadata = {**metadata_of(facts), "dagster/row_count": rows.height, "preview": shown}
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(facts["digest"][:32]))

    @dg.asset(
        key=key_of(recipe.dataset, "seeds"),
        description="The rows of the seed tables that prompts draw from.",
        kinds={"jsonl", "duckdb"},
        code_version=recipe.sha256[:12],
        metadata={"dagster/column_schema": column_schema("seeds")},
        output_required=False,
        **common,
    )
    @clearly
    def seeds(
        context: dg.AssetExecutionContext, config: SeedsConfig, lake: dg.ResourceParam[DuckLake]
    ) -> Iterator[Any]:
        present = add_seeds(recipe, config.table, Path(config.file)) if config.table else recipe
        facts = register_seeds(present, lake, run_id=context.run.run_id, at=now())
        metadata = {**metadata_of(facts), "dagster/row_count": facts["rows"]}
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(facts["digest"][:32]))

    return [prompt_templates, seeds]


def shared(recipe: Recipe) -> dict[str, Any]:
    """Return what all assets of a dataset have in common."""
    return {"group_name": recipe.dataset, "owners": recipe.model.owners}


def stage_asset(
    recipe: Recipe, stage: Stage, *, after: str, table: str, kinds: set[str], description: str, pool: str | None = None
) -> Callable[..., Any]:
    """Return the decorator of a gated batch stage."""
    key, partitions = key_of(recipe.dataset, stage), batches_of(recipe.model)
    return dg.asset(
        key=key,
        deps=[key_of(recipe.dataset, after)],
        partitions_def=partitions,
        description=description,
        kinds=kinds,
        code_version=recipe.sha256[:12],
        check_specs=check_specs(stage, key, partitions),
        metadata={"dagster/column_schema": column_schema(table)},
        output_required=False,
        pool=pool,
        **shared(recipe),
    )


def pool_of(recipe: Recipe) -> str:
    """Return the pool in which a dataset is generated: that of the first provider its recipe names."""
    settings = recipe.model.generator
    name = settings.models[0].model if settings.models else settings.model
    return f"provider_{re.sub('[^A-Za-z0-9]', '_', name.partition('/')[0])}"


def generation_assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """Return the two stages that may pay."""

    @dg.asset(
        key=key_of(recipe.dataset, Stage.GENERATION_PLAN),
        deps=[key_of(recipe.dataset, "prompt_templates"), key_of(recipe.dataset, "seeds")],
        partitions_def=batches_of(recipe.model),
        description="The requests of the batch, planned once and stored; a short batch gets another attempt.",
        kinds={"polars", "duckdb"},
        code_version=recipe.sha256[:12],
        metadata={"dagster/column_schema": column_schema("requests")},
        output_required=False,
        **shared(recipe),
    )
    @clearly
    def generation_plan(
        context: dg.AssetExecutionContext,
        config: PlanConfig,
        lake: dg.ResourceParam[DuckLake],
        claims: dg.ResourceParam[Claims],
        generators: dg.ResourceParam[Generators],
    ) -> Iterator[Any]:
        work = work_on(recipe, context, lake, claims)
        if config.ingest is not None:
            asked = config.ingest
            origin = Origin(
                asked.generator,
                text_field=asked.text_field,
                label_field=asked.label_field,
                label_map=asked.label_map,
            )
            finished = ingestion.plan(work, read_drop(Path(asked.file), origin))
        else:
            with generators.open(recipe) as generator:
                wish = generation.Wish(config.regenerate, config.accept or None, config.anyway)
                finished = generation.plan(work, generator.routing, wish)
        rows = lake.read("requests", **work.here).sort("attempt", "ordinal")
        yield from report(
            finished, rows=rows, columns=["attempt", "ordinal", "request_id", "label", "axes", "prompt_name"]
        )

    @stage_asset(
        recipe,
        Stage.GENERATED,
        after=Stage.GENERATION_PLAN,
        table="generations",
        kinds={"openai", "duckdb"},
        description="How every planned request ended, and the samples in the answers; what is paid is journaled first.",
        pool=pool_of(recipe),
    )
    @clearly
    def generated(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[DuckLake],
        claims: dg.ResourceParam[Claims],
        generators: dg.ResourceParam[Generators],
    ) -> Iterator[Any]:
        work = work_on(recipe, context, lake, claims)

        def progress(done: int, total: int) -> None:
            announce("generated", done, total)
            if done % LOG_EVERY == 0 or done == total:
                context.log.info(f"{done} of {total} requests ended")

        if work.is_ingested:
            finished = ingestion.adopt(work)
        else:
            with generators.open(recipe) as generator:
                finished = _generated(work, generator, progress)
        rows = lake.read("generations", **work.here)
        yield from report_batch(
            finished, work, rows=rows, columns=["request_id", "outcome", "reason", "output_tokens", "mean_logprob"]
        )

    return [generation_plan, generated]


def _generated(work: Work, generator: Generator, progress: Callable[[int, int], None]) -> Finished:
    """Work off the open attempt; where that stops before it begins, tell again what was found when it last ended."""
    try:
        return generation.generate(work, generator, progress=progress)
    except StoppedError as stop:
        finished = work.told_before(Stage.GENERATED, stop)
        if finished is None:
            raise
        return finished


def judgement_assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    """Return the stages that judge."""

    @stage_asset(
        recipe,
        Stage.SCORED,
        after=Stage.GENERATED,
        table="assessments",
        kinds={"polars", "onnx"},
        description="Every sample of the batch with one assessment per scorer; nothing dropped yet.",
    )
    @clearly
    def scored(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[DuckLake],
        claims: dg.ResourceParam[Claims],
        embedder: dg.ResourceParam[Embedder],
        real_data: dg.ResourceParam[RealDataReader],
    ) -> Iterator[Any]:
        work = work_on(recipe, context, lake, claims)
        announce("scored", 0, 1)
        finished = judgement.score(work, embedder, real_data.protected(recipe))
        announce("scored", 1, 1)
        rows = lake.read("assessments", **work.here)
        yield from report_batch(finished, work, rows=rows, columns=["sample_id", "name", "value"])

    @stage_asset(
        recipe,
        Stage.CURATED,
        after=Stage.SCORED,
        table="decisions",
        kinds={"polars", "duckdb"},
        description="One decision per sample with its reason: accepted up to the promise, rejected, or pending review.",
    )
    @clearly
    def curated(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[DuckLake], claims: dg.ResourceParam[Claims]
    ) -> Iterator[Any]:
        work = work_on(recipe, context, lake, claims)
        finished = judgement.curate(work)
        rows = lake.read("decisions", **work.here)
        yield from report_batch(finished, work, rows=rows, columns=["sample_id", "decision", "reason", "quality_score"])

    @stage_asset(
        recipe,
        Stage.TRAINING_READY,
        after=Stage.CURATED,
        table="training_examples",
        kinds={"polars", "duckdb"},
        description="The accepted samples with their split, looked at once more for what must never be trained on.",
    )
    @clearly
    def training_ready(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[DuckLake],
        claims: dg.ResourceParam[Claims],
        real_data: dg.ResourceParam[RealDataReader],
    ) -> Iterator[Any]:
        work = work_on(recipe, context, lake, claims)
        finished = judgement.make_ready(work, real_data.protected(recipe))
        rows = lake.read("training_examples", **work.here)
        yield from report_batch(finished, work, rows=rows, columns=["sample_id", "split", "label", "quality_score"])

    return [scored, curated, training_ready]
