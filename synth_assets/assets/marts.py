"""The marts as assets: one SELECT over all datasets each, audited, and kept as a Parquet file."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from io import BytesIO
from operator import or_
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
from synth_assets.tables import TABLES
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
"""Which assets of a dataset write a table; a mart follows all that write what it reads."""

HUB = "lake"
"""The one node between the datasets and the marts, so that a dataset's page stays a line and not a web."""

_on = dg.AutomationCondition
_judged = _on.any_checks_match(_on.newly_updated())
_is_quiet_hour = _on.cron_tick_passed("0 * * * *")


def fresh(writers: Sequence[dg.AssetKey]) -> dg.AutomationCondition | None:
    """Return when a mart is due: once something it reads was written or judged, a red stage included.

    It waits until none of the writers runs any more; where one always does, it comes hourly. The writers are named,
    because in the graph a mart depends on one node only. Not `eager()`, which would wait until every batch of every
    dataset is materialized, and drops a change that comes between two looks at it when it has just asked for a run.

    Args:
        writers: the assets that write what the mart reads; without a dataset there are none, and nothing is ever due.
    """
    if not writers:
        return None
    changed = _any(writers, _on.newly_updated() | _judged) | (_on.initial_evaluation() & _any(writers, ~_on.missing()))
    handled = (_on.newly_requested() | _on.newly_updated()) & ~changed
    is_quiet = ~_any(writers, _on.in_progress()) | _is_quiet_hour
    return (changed.since(handled) & is_quiet & ~_on.in_progress()).with_label("fresh")


def _any(assets: Sequence[dg.AssetKey], condition: dg.AutomationCondition) -> dg.AutomationCondition:
    """Return whether a condition holds for one of some assets, in whatever partition."""
    return reduce(or_, [_on.asset_matches(key, condition) for key in assets])


def mart_assets(recipes: Sequence[Recipe]) -> list[dg.AssetsDefinition]:
    """Return every mart and the node that they hang on, downstream of all datasets."""
    project, datasets = shipped_models(), [recipe.dataset for recipe in recipes]
    return [_hub(datasets), *(_mart_asset(project, model, datasets) for model in project.marts)]


def all_marts() -> dg.AssetSelection:
    """Return the marts and nothing else, whatever a dataset is called."""
    return dg.AssetSelection.assets(*[key_of(MARTS, model.name) for model in shipped_models().marts])


def _hub(datasets: Sequence[str]) -> dg.AssetsDefinition:
    """Return what stands for the tables that all datasets write; it is there when they are, and is never computed."""
    key = key_of(MARTS, HUB)
    columns = [dg.TableColumn(name=name, type="table", description=TABLES[name].meaning) for name in WRITTEN_BY]
    spec = dg.AssetSpec(
        key,
        deps=[key_of(dataset, Stage.MODEL_RUN) for dataset in datasets],
        description="The tables that every stage of every dataset writes, as the marts read them.\n\n"
        '**Next:** ask for their rows with `synth query "SELECT * FROM samples"`.',
        group_name=MARTS,
        owners=[shipped_models().marts[0].header.owner],
        kinds={"duckdb"},
        metadata={"dagster/column_schema": dg.TableSchema(columns=columns), **reading("tables.md#generations")},
    )
    return dg.AssetsDefinition(specs=[spec])


def _mart_asset(project: Project, model: Model, datasets: Sequence[str]) -> dg.AssetsDefinition:
    key, sql = key_of(MARTS, model.name), project.compiled(model.name)
    writers = sorted({str(stage) for table in project.sources(model.name) for stage in WRITTEN_BY[table]})

    @dg.asset(
        key=key,
        deps=[key_of(MARTS, HUB)],
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
        automation_condition=fresh([key_of(dataset, stage) for dataset in datasets for stage in writers]),
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
