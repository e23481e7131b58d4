"""Telling Dagster what a stage did: check results always, a materialization only if every gate passed."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ParamSpec

import dagster as dg
import polars as pl

from synth_assets.checks.gates import GATES
from synth_assets.checks.release_gates import SENTENCES
from synth_assets.checks.verdict import Verdict
from synth_assets.errors import SynthError, refused_by_system
from synth_assets.reports.batches import card_of, history_of
from synth_assets.stages.work import Finished, Work
from synth_assets.tables import TABLES, Column
from synth_assets.vocabulary import BATCH_STAGES, Stage

P = ParamSpec("P")
PREVIEW_ROWS = 20

DAGSTER_TYPES = {
    pl.String: "string",
    pl.Int64: "int",
    pl.Float64: "float",
    pl.Boolean: "bool",
    pl.Datetime: "timestamp",
}


def check_specs(stage: Stage, asset: dg.AssetKey, partitions: dg.PartitionsDefinition[str]) -> list[dg.AssetCheckSpec]:
    """Return a blocking check per gate of a stage, described by the gate's sentence."""
    sentences = {gate.name: gate.sentence for gate in GATES[stage]} if stage in BATCH_STAGES else SENTENCES[stage]
    return [
        dg.AssetCheckSpec(name=name, asset=asset, description=sentence, blocking=True, partitions_def=partitions)
        for name, sentence in sentences.items()
    ]


def column_schema(table: str) -> dg.TableSchema:
    """Return a table's contract for the web UI."""
    return schema_of(TABLES[table].columns)


def schema_of(columns: Iterable[Column]) -> dg.TableSchema:
    """Return described columns for the web UI."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=DAGSTER_TYPES[column.dtype.base_type()],
                description=f"{column.meaning} [{column.unit}]" if column.unit else column.meaning,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns
        ]
    )


def report_batch(finished: Finished, work: Work, *, rows: pl.DataFrame, columns: list[str]) -> Iterator[Any]:
    """Report a gated stage of a batch; where the batch ends, at the last stage or at a red one, with its card."""
    about = {}
    if finished.stage is Stage.TRAINING_READY or not finished.passed:
        card = dg.MetadataValue.md(card_of(work.lake, **work.here))
        about = {"revision": len(history_of(work.lake, **work.here)), "card": card}
    yield from report(finished, rows=rows, columns=columns, about=about)


def report(
    finished: Finished,
    *,
    rows: pl.DataFrame | None = None,
    columns: list[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """Yield a check result per verdict, then a materialization if all blocking gates passed.

    Args:
        finished: the stage.
        rows: what it wrote; counted and previewed.
        columns: columns of the preview: ids, labels, scores and lengths, never text.
        about: more metadata, for the materialization or, where there is none, for the checks that failed.

    Raises:
        dagster.Failure: the stage stopped early; what it finished is kept.
    """
    about = about or {}
    for verdict in finished.verdicts:
        yield dg.AssetCheckResult(
            check_name=verdict.gate,
            passed=verdict.passed,
            metadata={
                **metadata_of(verdict.facts),
                **_plotted(verdict),
                **_at_a_glance(verdict.facts, finished.facts),
                **({} if verdict.passed else about),
            },
        )
    if finished.stop is not None:
        raise failure(finished.stop)
    if finished.passed:
        metadata = {**metadata_of(finished.facts), **about}
        if rows is not None:
            metadata |= {"dagster/row_count": rows.height, "preview": preview(rows, columns or [])}
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(finished.output_digest[:32]))


def _plotted(verdict: Verdict) -> dict[str, float]:
    """Return the number a verdict rests on beside its threshold, so that the web UI plots one against the other."""
    numbers = {"value": verdict.value, "at_least": verdict.least, "at_most": verdict.most}
    return {name: float(number) for name, number in numbers.items() if number is not None}


def _at_a_glance(measured: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the funnel, and what the web UI would hide behind a click: its counts, and the rule that was applied."""
    numbers = {name: value for name, value in facts.items() if isinstance(value, int | float)}
    shown = {
        "funnel": funnel_table(facts),
        "counts": ", ".join(f"{name} {value}" for name, value in numbers.items()),
    }
    rule = measured.get("threshold")
    if rule:
        bounds = [f"{bound} {rule[bound]}" for bound in ("min", "max") if rule.get(bound) is not None]
        shown["rule"] = f"{', '.join(bounds)}: {rule['because']}"
    return shown


def funnel_table(facts: Mapping[str, Any]) -> dg.TableMetadataValue:
    """Return counted facts as a table of two columns, counts by reason one per row."""
    rows = [
        (f"{name}: {reason}", count)
        for name, value in facts.items()
        for reason, count in (value.items() if isinstance(value, dict) else [("", value)])
        if isinstance(count, int | float) and not isinstance(count, bool)
    ]
    records = [dg.TableRecord({"what": what.removesuffix(": "), "count": float(count)}) for what, count in rows]
    columns = [dg.TableColumn("what", "string"), dg.TableColumn("count", "float")]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns=columns))


def metadata_of(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts as metadata: numbers are plotted, everything else is shown."""
    return {
        name: value if isinstance(value, int | float | str | bool) else dg.MetadataValue.json(_plain(value))
        for name, value in facts.items()
        if value is not None
    }


def _plain(value: Any) -> Any:
    """Plain JSON: enum members as words, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def preview(rows: pl.DataFrame, columns: list[str]) -> dg.TableMetadataValue:
    """Return the first rows as a table of scalars."""
    shown = rows.select(columns).head(PREVIEW_ROWS)
    kinds = {name: DAGSTER_TYPES.get(dtype.base_type(), "string") for name, dtype in shown.schema.items()}
    records = [
        dg.TableRecord({key: _scalar(value) for key, value in row.items()}) for row in shown.iter_rows(named=True)
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name, type=kind) for name, kind in kinds.items()])
    return dg.MetadataValue.table(records=records, schema=schema)


def _scalar(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str | bool) else str(value)


def failure(error: SynthError) -> dg.Failure:
    """Return an error as Dagster shows it; the command line reads the exit code back."""
    return dg.Failure(
        description=str(error),
        metadata={"exit_code": error.exit_code, "what": error.what, "where": error.where, "fix": error.fix},
        allow_retries=False,
    )


def clearly(body: Callable[P, Iterator[Any]]) -> Callable[P, Iterator[Any]]:
    """Let every refusal inside an asset's body reach the person as one clear paragraph."""

    @functools.wraps(body)
    def told(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
        try:
            yield from body(*args, **kwargs)
        except SynthError as error:
            raise failure(error) from None
        except OSError as error:
            raise failure(refused_by_system(error)) from None

    return told
