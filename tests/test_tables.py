"""The contract of the lake: every table and column says what it means, once."""

import re
from datetime import UTC, datetime

import pandera.errors
import polars as pl
import pytest

from resources.places import PROJECT
from synth_assets.tables import TABLES, Table
from synth_assets.tables.contract import INSTANT
from synth_assets.tables.document import markdown

COLUMNS = {f"{table.name}.{column.name}": column for table in TABLES.values() for column in table.columns}
PLACES = ("attempt", "ordinal", "position", "seq", "version", "seed", "fence", "added_in", "removed_in", "current_from")
"""Numbers that are places, names or counters of a row: no unit would say more."""

PROMISED = [
    "prompt_templates",
    "seeds",
    "batches",
    "requests",
    "generations",
    "samples",
    "assessments",
    "tags",
    "decisions",
    "verdicts",
    "training_examples",
    "dataset_versions",
    "version_members",
    "dataset_aliases",
    "model_runs",
    "model_run_samples",
    "evaluation_datasets",
    "evaluations",
    "usage_log",
    "audit_log",
    "objects",
]


def test_the_tables_others_rely_on_exist() -> None:
    assert set(PROMISED) <= set(TABLES)


def test_a_table_is_known_by_its_own_name() -> None:
    assert {name: table.name for name, table in TABLES.items()} == {name: name for name in TABLES}
    assert len({table.model for table in TABLES.values()}) == len(TABLES)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_says_in_a_sentence_what_it_holds(table: Table) -> None:
    assert table.meaning.rstrip().endswith((".", ").")) or ":" in table.meaning
    assert len(table.meaning.split()) >= 4


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_tables_key_is_made_of_its_own_columns_that_are_never_missing(table: Table) -> None:
    required = [column.name for column in table.columns if not column.nullable]

    assert table.key
    assert set(table.key) <= set(required)
    assert len(set(table.key)) == len(table.key)


def test_tables_that_a_transaction_writes_belong_to_a_dataset() -> None:
    shared = {"evaluation_datasets"}
    follow_a_model_run = {"evaluations"}
    of_the_whole_home = {"homes"}

    without = {table.name for table in TABLES.values() if "dataset" not in table.dtypes}

    assert without <= shared | follow_a_model_run | of_the_whole_home


def test_a_column_has_a_meaning_that_reads_like_a_sentence() -> None:
    bare = {name for name, column in COLUMNS.items() if not re.fullmatch(r"[A-Z`r].*\.", column.meaning)}

    assert bare == set()


def test_what_may_be_missing_says_when_it_is() -> None:
    silent = {name for name, column in COLUMNS.items() if column.nullable and "null" not in column.meaning}

    assert silent <= {"training_examples.quality_score", "dataset_versions.reason"}  # as their decision, as their asker


BOUNDS = ("value", "least", "most")


def test_a_measured_number_has_a_unit_and_what_is_no_number_has_none() -> None:
    without = {name for name, column in COLUMNS.items() if column.dtype.is_float() and not column.unit}
    superfluous = {name for name, column in COLUMNS.items() if column.unit and not column.dtype.is_numeric()}

    in_the_unit_of_what_was_measured = {"assessments.value", "tags.score", *(f"verdicts.{name}" for name in BOUNDS)}
    assert without <= in_the_unit_of_what_was_measured
    assert superfluous == set()


@pytest.mark.parametrize(
    ("suffix", "unit"),
    [("_usd", "USD"), ("_s", "s"), ("_tokens", "tokens"), ("_rows", "rows"), ("_samples", "samples")],
)
def test_a_suffix_and_the_unit_say_the_same(suffix: str, unit: str) -> None:
    units = {
        column.unit
        for table in TABLES.values()
        for column in table.columns
        if column.name.endswith(suffix) and column.dtype.is_numeric()
    }

    assert units == {unit}


def test_a_whole_number_without_unit_is_a_place_or_a_count_of_itself() -> None:
    bare = {
        column.name
        for table in TABLES.values()
        for column in table.columns
        if column.dtype.is_integer() and column.unit is None
    }
    known = {
        *PLACES,
        "attempts",
        "max_attempts",
        "open_attempt",
        "tripped_attempt",
        "anyway_attempt",
        "broken_attempts",
        "lost_calls",
        "tries",
        "calls",
        "ancestry_depth",
        "commit_seq",
        "audit_seq",
        "head_version",
        "revision",
        "gate_version",
    }

    assert bare <= known | {"parent_version"}


def test_every_time_is_an_instant_in_utc() -> None:
    times = {(t.name, c.name): c.dtype for t in TABLES.values() for c in t.columns if c.name.endswith("_at")}

    assert times
    assert set(times.values()) == {INSTANT}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_an_empty_frame_has_the_tables_columns_and_types_and_satisfies_it(table: Table) -> None:
    frame = table.frame([])

    assert dict(frame.schema) == table.dtypes
    table.schema.validate(frame)


def test_a_frame_fills_what_a_row_leaves_out_and_keeps_the_order_of_columns() -> None:
    table = TABLES["heads"]

    frame = table.frame([{"audit_sha256": "0" * 64, "dataset": "tiny", "head_version": 3}])

    assert frame.columns == ["dataset", "head_version", "audit_seq", "audit_sha256"]
    assert frame.rows() == [("tiny", 3, None, "0" * 64)]


def test_a_column_keeps_its_type_when_its_first_hundred_values_are_missing() -> None:
    rows = [{"cost_usd": None}] * 150 + [{"cost_usd": 0.25}]

    frame = TABLES["generations"].frame(rows)

    assert frame["cost_usd"].dtype == pl.Float64
    assert frame["cost_usd"].sum() == 0.25


def test_a_contract_refuses_words_outside_the_closed_lists() -> None:
    row = {
        "dataset": "tiny",
        "batch": "b",
        "sample_id": "s",
        "decision": "accepted",
        "reason": None,
        "quality_score": 0.5,
        "source_type": "CODE",
        "source_id": "rules:1",
        "decided_at": datetime(2026, 11, 1, tzinfo=UTC),
    }
    table = TABLES["decisions"]
    table.schema.validate(table.frame([row]))

    for change in ({"decision": "maybe"}, {"reason": "ugly"}, {"quality_score": 1.5}, {"sample_id": None}):
        with pytest.raises(pandera.errors.SchemaError):
            table.schema.validate(table.frame([row | change]))


def test_the_page_about_the_tables_says_what_the_contract_says() -> None:
    assert (PROJECT / "docs" / "tables.md").read_text(encoding="utf-8") == markdown()
