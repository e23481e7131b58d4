"""The carried tables told by the ledger: whatever commits do to them, its lines tell the same."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.domain.ledger import sealed
from synth_assets.domain.replay import differing, replayed
from synth_assets.domain.transactions import Change, Commit, Swap
from synth_assets.tables import TABLES
from tests.fakes.lake import MemoryLake
from tests.test_auditing import decisions

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

batches = st.sampled_from(["b1", "b2", "b3"])
steps = st.lists(
    st.tuples(st.sampled_from(["append", "replace", "replace any of", "clear", "move"]), batches, st.integers(0, 3)),
    max_size=12,
)


def alias(version: int, micros: int) -> pl.DataFrame:
    row = {"dataset": "tiny", "alias": "latest", "version": version, "moved_by": "ada"}
    return TABLES["dataset_aliases"].frame([{**row, "moved_at": NOON + timedelta(microseconds=micros)}])


def commit_of(number: int, kind: str, batch: str, count: int) -> Commit:
    rows = decisions(batch, count).with_columns(quality_score=pl.lit(0.1) + number)
    changes: dict[str, list[Change]] = {
        "append": [Change("decisions", rows)],
        "replace": [Change("decisions", rows, {"dataset": "tiny", "batch": batch})],
        "replace any of": [Change("decisions", rows, {"dataset": "tiny", "batch": [batch, "b1"]})],
        "clear": [Change("decisions", rows.clear(), {"dataset": "tiny", "batch": batch})],
        "move": [],
    }
    here = {"dataset": "tiny", "alias": "latest"}
    later = NOON + timedelta(seconds=number, microseconds=number % 2)
    swap = Swap("dataset_aliases", here, {}, {"version": count + 1, "moved_at": later})
    return Commit("tiny", f"k{number}", "try", "", {}, changes=changes[kind], swaps=[swap] if kind == "move" else [])


@settings(deadline=None, max_examples=50)
@given(steps=steps)
def test_the_lines_of_any_commits_tell_what_the_tables_hold(steps: list[tuple[str, str, int]]) -> None:
    lake, lines = MemoryLake(Path("nowhere")), []
    first = Commit("tiny", "first", "try", "", {}, changes=[Change("dataset_aliases", alias(1, 5))])
    for commit in [first, *(commit_of(number, *step) for number, step in enumerate(steps))]:
        lake.commit(commit)
        lines += sealed(commit)[1]

    told = replayed(lines)

    for name, frame in told.items():
        assert frame.schema == TABLES[name].dtypes
        assert sorted(frame.rows(), key=str) == sorted(lake.read(name).rows(), key=str)
        assert differing(name, frame, lake.read(name)) == []


def test_rows_that_differ_are_named_by_their_key() -> None:
    rows = decisions("b1", 4)
    other = pl.concat([rows[:2], rows[2:3].with_columns(reason=pl.lit("length")), decisions("b2", 1), rows[:1]])

    assert differing("decisions", rows, rows[::-1]) == []
    assert differing("decisions", rows, other) == ["b1-0", "b1-2", "b1-3", "b2-0"]


def test_an_empty_table_differs_from_one_with_rows_and_not_from_itself() -> None:
    rows: Any = decisions("b1", 1)

    assert differing("decisions", rows.clear(), rows.clear()) == []
    assert differing("decisions", rows.clear(), rows) == ["b1-0"]
