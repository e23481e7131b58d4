"""The marts as assets: one SELECT over all datasets each, audited, and kept as a Parquet file."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import dagster as dg
import polars as pl

from dbt_like_sql.audits import Audit
from dbt_like_sql.compiler import Model, Project, shipped_models
from resources.lake import DuckLake
from resources.objects import write_synced
from synth_assets.assets.guide import reading
from synth_assets.assets.partitions import key_of
from synth_assets.assets.report import clearly, preview, schema_of
from synth_assets.canonical import sha256
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import BATCH_STAGES, Stage

MARTS = "marts"
"""Group, job, first part of the keys, and folder under SYNTH_HOME."""

READ = 'read the preview below, or ask for more with `synth query "SELECT * FROM marts.{}"`.'
"""What to do with a mart."""

WRITTEN_BY: Mapping[str, tuple[str, ...]] = {
    "prompt_templates": ("prompt_templates",),
    "seeds": ("seeds",),
    "batches": (Stage.GENERATION_PLAN, Stage.GENERATED),
    "requests": (Stage.GENERATION_PLAN,),
    "generations": (Stage.GENERATED,),
    "samples": (Stage.GENERATED,),
    "assessments": (Stage.SCORED,),
    "decisions": (Stage.CURATED,),
    "training_examples": (Stage.TRAINING_READY,),
    "stage_commits": (Stage.GENERATION_PLAN, *BATCH_STAGES, Stage.DATASET_VERSION, Stage.MODEL_RUN),
    "dataset_versions": (Stage.DATASET_VERSION,),
    "version_members": (Stage.DATASET_VERSION,),
    "dataset_aliases": (Stage.DATASET_VERSION,),
    "model_runs": (Stage.MODEL_RUN,),
    "model_run_samples": (Stage.MODEL_RUN,),
    "evaluations": (Stage.MODEL_RUN,),
    "usage_log": (Stage.DATASET_VERSION, Stage.MODEL_RUN),
}
"""Which assets of a dataset write a table. A mart stands downstream of them, in every dataset."""

_on = dg.AutomationCondition
_judged = _on.any_checks_match(_on.newly_updated())
_not_watched_so_far = _on.initial_evaluation() & _on.any_deps_match(~_on.missing())
_changed = _on.any_deps_updated() | _on.any_deps_match(_judged) | _not_watched_so_far
_handled = (_on.newly_requested() | _on.newly_updated()) & ~_changed
_is_quiet = ~_on.any_deps_in_progress() | _on.cron_tick_passed("0 * * * *")
FRESH = (_changed.since(_handled) & _is_quiet & ~_on.in_progress()).with_label("fresh")
"""Anew once something it reads was written or judged, a red stage included, and no run writes any more; hourly if one
always does.

Not `eager()`, which would wait until every batch of every dataset is materialized, and drops a change that comes
between two looks at it when it has just asked for a run.
"""


def mart_assets(recipes: Sequence[Recipe]) -> list[dg.AssetsDefinition]:
    """Return every mart, downstream of the stages of all datasets."""
    project = shipped_models()
    return [_mart_asset(project, model, [recipe.dataset for recipe in recipes]) for model in project.marts]


def all_marts() -> dg.AssetSelection:
    """Return the marts and nothing else, whatever a dataset is called."""
    return dg.AssetSelection.assets(*[key_of(MARTS, model.name) for model in shipped_models().marts])


def _mart_asset(project: Project, model: Model, datasets: Sequence[str]) -> dg.AssetsDefinition:
    key, sql = key_of(MARTS, model.name), project.compiled(model.name)
    writers = sorted({str(stage) for table in project.sources(model.name) for stage in WRITTEN_BY[table]})

    @dg.asset(
        key=key,
        deps=[key_of(dataset, stage) for dataset in datasets for stage in writers],
        description=f"{model.header.description}\n\n**Next:** {READ.format(model.name)}",
        group_name=MARTS,
        owners=[model.header.owner],
        kinds={"sql", "duckdb", "parquet"},
        code_version=sha256(sql.encode())[:12],
        check_specs=[dg.AssetCheckSpec(audit.name, asset=key, description=audit.sentence) for audit in model.audits],
        metadata={
            "dagster/column_schema": schema_of(model.header.columns),
            "grain": ", ".join(model.header.grain),
            **reading(f"marts.md#{model.name}"),
        },
        automation_condition=FRESH,
    )
    @clearly
    def mart(lake: dg.ResourceParam[DuckLake]) -> Iterator[Any]:
        rows = lake.select(sql)
        yield from (_audited(audit, lake.select(audit.sql, **{model.name: rows})) for audit in model.audits)
        data = _parquet(rows)
        write_synced(lake.home / MARTS / f"{model.name}.parquet", data)
        shown = {"dagster/row_count": rows.height, "preview": preview(rows, rows.columns)}
        yield dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion(sha256(data)[:32]))

    return mart


def _audited(audit: Audit, offending: pl.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=audit.name,
        passed=offending.is_empty(),
        metadata={"offending_rows": offending.height, "preview": preview(offending, offending.columns)},
    )


def _parquet(rows: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    rows.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
