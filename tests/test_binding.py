"""What an entry binds: every cell of every row, whatever their order, for every table there is."""

import struct
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain.agreement import moved, strays
from synth_assets.domain.binding import LATER, bindings, by_scope, fingerprint
from synth_assets.domain.chain import GATE_SET, PERMANENT, Chain, Entry, has_passed
from synth_assets.domain.transactions import Change, Swap
from synth_assets.tables import FORMAT, TABLES, Bound, Table
from synth_assets.vocabulary import BATCH_STAGES, Stage

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def value(dtype: pl.DataType, number: int) -> Any:
    """One of many values of a type."""
    if dtype == pl.String:
        return f"text \u00e9 {number}"
    if dtype == pl.Float64:
        return number / 7
    if dtype == pl.Boolean:
        return number % 2 == 0
    return NOON + timedelta(minutes=number) if dtype.is_temporal() else number + 1


def rows_of(table: Table, count: int = 3) -> pl.DataFrame:
    return table.frame([{name: value(dtype, row * 2) for name, dtype in table.dtypes.items()} for row in range(count)])


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_table_says_what_vouches_for_its_rows(table: Table) -> None:
    assert (table.bound is Bound.ROWS) == bool(table.scope)
    assert set(table.scope) <= set(table.dtypes)
    assert not any(column.nullable for column in table.columns if column.name in table.scope)
    assert all(column.since <= FORMAT for column in table.columns)


@pytest.mark.parametrize(
    "table", [each for each in TABLES.values() if each.bound is Bound.ROWS], ids=lambda each: each.name
)
def test_another_value_in_any_column_of_any_row_is_another_fingerprint(table: Table) -> None:
    rows = rows_of(table)
    before = fingerprint(table.name, rows)

    assert fingerprint(table.name, rows.sample(fraction=1.0, shuffle=True, seed=1)) == before
    assert fingerprint(table.name, rows.head(2)) != before
    assert fingerprint(table.name, pl.concat([rows, rows.head(1)])) != before
    for column in table.columns:
        other = rows.with_columns(
            pl.when(pl.int_range(pl.len()) == 1)
            .then(pl.lit(value(column.dtype, 3), column.dtype))
            .otherwise(pl.col(column.name))
            .alias(column.name)
        )
        none = rows.with_columns(pl.lit(None, column.dtype).alias(column.name))
        is_covered = column.name not in LATER
        assert (fingerprint(table.name, other) != before) == is_covered, column.name
        assert (fingerprint(table.name, none) != before) == is_covered, column.name


def test_a_fingerprint_can_be_computed_by_hand() -> None:
    rows = TABLES["batch_labels"].frame(
        [{"dataset": "d", "batch": "b", "label": label, "owed": owed} for label, owed in (("no", 2), ("ja", 10))]
    )

    def texts(name: str, *values: str) -> bytes:
        data = [each.encode() for each in values]
        lengths = b"".join(struct.pack("<Q", len(each)) for each in data)
        return f"{name}\n".encode() + b"\0" + lengths + b"".join(data)

    told = b"batch_labels\n2\n" + texts("dataset", "d", "d") + texts("batch", "b", "b") + texts("label", "ja", "no")
    told += b"owed\n\0" + struct.pack("<qq", 10, 2)
    assert fingerprint("batch_labels", rows) == sha256(told).hexdigest()


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=2, max_size=2, unique=True))
def test_texts_that_join_alike_are_told_apart(pairs: list[tuple[str, str]]) -> None:
    def one(pair: tuple[str, str]) -> str:
        row = {"dataset": "d", "batch": pair[0], "label": pair[1], "owed": 1}
        return fingerprint("batch_labels", TABLES["batch_labels"].frame([row]))

    assert one(pairs[0]) != one(pairs[1])


def entry(seq: int = 1, **details: Any) -> Entry:
    return Entry(seq, "s" * 64, f"key {seq}", details.pop("action", "try"), "", NOON, {"form": FORMAT, **details})


def chain_of(*changes: Change, swaps: tuple[Swap, ...] = ()) -> Chain:
    chain = Chain("d")
    chain._take(entry(**bindings(changes, swaps)))
    return chain


def test_rows_agree_with_what_was_bound_and_a_scope_more_or_less_does_not() -> None:
    table = TABLES["samples"]
    rows = rows_of(table, 4).with_columns(
        dataset=pl.lit("d"), batch=pl.lit("b"), attempt=pl.Series([1, 1, 2, 2], dtype=pl.Int64)
    )
    chain = chain_of(
        *(
            Change("samples", part, {"dataset": "d", "batch": "b", "attempt": key[2]})
            for key, part in by_scope("samples", rows).items()
        )
    )

    assert strays(chain, "samples", rows, {"dataset": "d", "batch": "b"}) == []
    assert strays(chain, "samples", rows.head(2), {"dataset": "d", "batch": "b"}) == ["b, 2: 0 rows, 2 bound"]
    more = rows.head(1).with_columns(attempt=pl.lit(3, pl.Int64))
    assert strays(chain, "samples", pl.concat([rows, more]), {"dataset": "d"}) == ["b, 3: 1 rows, 0 bound"]
    assert strays(chain, "samples", rows.clear(), {"dataset": "d", "batch": "another"}) == []


def test_what_is_replaced_by_nothing_is_bound_as_nothing() -> None:
    rows = rows_of(TABLES["tags"], 1).with_columns(dataset=pl.lit("d"), batch=pl.lit("b"))
    chain = chain_of(Change("tags", rows.clear(), {"dataset": "d", "batch": "b"}))

    assert strays(chain, "tags", rows.clear(), {"dataset": "d"}) == []
    assert strays(chain, "tags", rows, {"dataset": "d"}) == ["b: 1 rows, 0 bound"]


def test_a_change_that_does_not_say_whose_rows_go_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="must name what it replaces: dataset, batch"):
        bindings([Change("tags", rows_of(TABLES["tags"]), {"batch": "b"})], [])


def test_a_row_of_state_is_what_its_entries_add_up_to() -> None:
    row = rows_of(TABLES["batches"], 1).with_columns(dataset=pl.lit("d"), batch=pl.lit("b"))
    swap = Swap("batches", {"dataset": "d", "batch": "b"}, {}, {"fence": 9, "open_attempt": None})
    chain = chain_of(Change("batches", row), swaps=(swap,))
    now = row.with_columns(fence=pl.lit(9, pl.Int64), open_attempt=pl.lit(None, pl.Int64))

    assert moved(chain, "batches", now.to_dicts(), {"dataset": "d"}) == []
    assert moved(chain, "batches", row.to_dicts(), {"dataset": "d"}) == ["b: fence"]
    assert moved(chain, "batches", [], {"dataset": "d"}) == [f"b: {min(row.columns)}"]


@pytest.mark.parametrize("stage", BATCH_STAGES)
def test_a_stage_has_passed_if_its_entry_says_so_of_every_gate_that_must_be_there(stage: Stage) -> None:
    needed = sorted(PERMANENT[GATE_SET][stage])
    binds = {"rows": [["verdicts", ["key 1"], len(needed), "f" * 64]]}
    good = {"action": str(stage), "passed": True, "gate_set": GATE_SET, "gates": dict.fromkeys(needed, True)}
    good |= {"binds": binds}

    assert has_passed(entry(**good))
    assert not has_passed(entry(**good | {"passed": False}))
    assert not has_passed(entry(**good | {"gates": {}}))
    assert not has_passed(entry(**good | {"binds": {}})), "a verdict nobody stored is none"
    assert not has_passed(entry(**good | {"binds": {"rows": [["verdicts", ["another"], len(needed), "f" * 64]]}}))
    assert not has_passed(entry(**good | {"gates": dict.fromkeys(needed[1:], True)}))
    assert not has_passed(entry(**good | {"gates": good["gates"] | {needed[0]: False}}))
    assert not has_passed(entry(**good | {"gates": good["gates"] | {"another": False}}))
    assert not has_passed(entry(**good | {"gate_set": GATE_SET + 1}))
