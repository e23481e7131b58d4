"""`run_query`: what a person may ask, and everything that must not get out or in."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from resources.lake import open_lake
from resources.lake import query as module
from resources.lake.connection import connect
from resources.lake.query import checked, contain, fetched, plainly, run_query
from synth_assets.domain.transactions import Change, Commit
from synth_assets.errors import IntegrityError, UsageError
from tests.fakes.lake_rows import DATASET, GREEN, SECRET, sample, small_lake

Ask = Callable[..., pl.DataFrame]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("it's home")  # a quote, as paths may have
    small_lake(home).close()
    return home


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of every kind that a query could try to read."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "a.txt").write_text("a")
    (folder / "a.json").write_text('{"a": 1}')
    pl.DataFrame({"a": [1]}).write_parquet(folder / "a.parquet")
    with sqlite3.connect(folder / "a.db") as database:
        database.execute("CREATE TABLE t (a)")
    database.close()
    return folder


@pytest.fixture(scope="module")
def connection(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """What a query runs on once everything dangerous was taken away."""
    connection = connect("", home, read_only=True)
    contain(connection, home, {"texts", "seed_texts"})
    yield connection
    connection.close()


@pytest.fixture
def ask(connection: duckdb.DuckDBPyConnection) -> Ask:
    """`run_query` without opening the lake anew for every question."""

    def ask(sql: str, limit: int | None = None) -> pl.DataFrame:
        with plainly():
            return fetched(connection.sql(checked(connection, sql)[0]), limit)

    return ask


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file and its bytes, but for the two SQLite keeps beside a catalog while somebody reads it."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(("-shm", "-wal"))]
    return {str(file): file.read_bytes() for file in files}


def test_tables_of_the_contract_are_known_by_their_bare_names(home: Path) -> None:
    frame = run_query(
        home, {}, "SELECT outcome, count(*) AS n FROM generations WHERE batch = '2026-11-01' GROUP BY 1 ORDER BY 1"
    )

    assert frame.rows() == [("answered", 5), ("quarantined", 1)]


def test_texts_are_found_through_their_view(home: Path) -> None:
    frame = run_query(
        home, {}, f"SELECT field, text FROM texts JOIN samples USING (sample_id) WHERE sample_id = '{sample(2)}'"
    )

    assert frame.rows() == [("text", f"{SECRET} 2")]
    assert run_query(home, {}, "SELECT count(*) FROM texts").item() == 7


def test_seed_rows_are_found_field_by_field(ask: Ask) -> None:
    frame = ask("SELECT * FROM seed_texts ORDER BY field")

    assert frame.columns == ["seed_id", "field", "text"]
    assert frame.rows() == [("5eed", "label", "pos"), ("5eed", "text", "a shot")]


def test_marts_are_computed_when_they_are_asked_for(home: Path) -> None:
    frame = run_query(home, {}, "SELECT batch, accepted_count FROM marts.funnel JOIN batches USING (dataset, batch)")

    assert sorted(frame.rows()) == [("2026-11-01", 4), ("2026-11-02", 0)]


@pytest.mark.parametrize("mart", ["cost_per_accepted_sample", "Sample_Lineage", '"usage"'])
def test_a_mart_is_found_under_its_name(home: Path, mart: str) -> None:
    assert run_query(home, {}, f"SELECT * FROM marts.{mart}").columns[0] == "dataset"


def test_the_steps_of_a_mart_are_its_own(home: Path) -> None:
    """A step of the query hides neither a table nor a step a mart is built on."""
    sql = "WITH stg_samples AS (SELECT 1), samples AS (SELECT 1), funnel AS (SELECT 7 AS n)"

    assert run_query(home, {}, f"{sql} SELECT n, sum(sample_count) FROM funnel, marts.funnel GROUP BY 1").rows() == [
        (7, 7)
    ]
    with pytest.raises(UsageError, match="no table 'stg_samples'"):
        run_query(home, {}, "SELECT * FROM marts.funnel, stg_samples")


def test_text_views_of_a_lake_without_text_are_empty(new_home: Path) -> None:
    assert run_query(new_home, {}, "SELECT * FROM texts").height == 0
    assert run_query(new_home, {}, "SELECT * FROM seed_texts").columns == ["seed_id", "field", "text"]


def test_a_text_no_sample_points_at_any_more_is_not_found(home: Path, copy_of: Callable[[Path], Path]) -> None:
    own = copy_of(home)
    lake = open_lake(own, {})
    gone = Change("samples", lake.read("samples").clear(), {"dataset": DATASET, "batch": GREEN, "attempt": 1})
    lake.commit(Commit("films", "gone", "by hand", "", {}, changes=[gone]))
    lake.close()

    assert run_query(own, {}, "SELECT count(*) FROM texts").item() == 2


def test_a_payload_file_that_is_gone_is_an_integrity_error_of_text_queries_only(
    home: Path, copy_of: Callable[[Path], Path]
) -> None:
    own = copy_of(home)
    for file in (own / "objects").rglob("*.parquet"):
        file.unlink()

    assert run_query(own, {}, "SELECT count(*) FROM samples").item() == 7
    with pytest.raises(IntegrityError, match="payload file is gone"):
        run_query(own, {}, "SELECT * FROM texts")


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("WITH samples AS (SELECT 1 AS a) SELECT * FROM samples", (1,)),
        ("WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 FROM a) SELECT * FROM b", (2,)),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT max(n) FROM r", (3,)),
        ("FROM range(3) ORDER BY 1 DESC LIMIT 1;", (2,)),
        ("SELECT sum(attempt) FROM lake.main.samples -- a comment", (7,)),
        ("SELECT 1 AS a, 2 AS a", (1, 2)),
        ("SELECT INTERVAL 1 DAY, MAP {1: 2}, 'x'::BLOB, 340282366920938463463374607431768211455::UHUGEINT", None),
        ("SELECT count(*) > 100 FROM information_schema.columns", (True,)),
    ],
)
def test_ordinary_selects_work(ask: Ask, sql: str, row: tuple[object, ...] | None) -> None:
    frame = ask(sql)

    assert frame.rows()[0] == (row or ("1 day", "{1=2}", "x", "340282366920938463463374607431768211455"))


def test_a_limit_cuts_the_rows_and_keeps_their_order(ask: Ask) -> None:
    assert ask("SELECT range FROM range(1000000) ORDER BY 1 DESC", limit=2)["range"].to_list() == [
        999999,
        999998,
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE samples",
        "INSERT INTO samples SELECT * FROM samples",
        "UPDATE samples SET batch = 'x'",
        "DELETE FROM samples",
        "CREATE TABLE x AS SELECT 1",
        "CREATE TEMP VIEW x AS SELECT 1",
        "DROP TABLE samples",
        "COPY samples TO 'stolen.csv'",
        "COPY (SELECT 1) TO '/dev/null'",
        "EXPORT DATABASE 'stolen'",
        "ATTACH 'x.db' AS x",
        "DETACH lake",
        "USE temp",
        "PRAGMA database_list",
        "SET memory_limit = '100GB'",
        "RESET memory_limit",
        "CALL pragma_version()",
        "INSTALL httpfs",
        "LOAD httpfs",
        "BEGIN",
        "CHECKPOINT",
        "VACUUM",
        "EXPLAIN ANALYZE SELECT 1",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DESCRIBE samples",
        "SHOW TABLES",
        "SUMMARIZE samples",
        "SELECT * FROM (DESCRIBE samples)",
        "PIVOT samples ON label USING count(*)",
        "SELEC 1",
        "SELECT " + "NOT " * 5000 + "true",
    ],
)
def test_anything_but_one_select_is_refused_before_it_runs(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises((UsageError, duckdb.ParserException)):
        checked(connection, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY samples TO 'stolen.csv'",
        "DROP TABLE samples",
        "SELECT * FROM sqlite_scan('catalog.sqlite', 'ducklake_snapshot')",
        "SELEC 1",
    ],
)
def test_a_refused_query_leaves_every_file_as_it_was(
    home: Path, tmp_path: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files_in(home)

    with pytest.raises(UsageError):
        run_query(home, {}, sql)

    assert files_in(home) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ?",
        "SELECT nothing FROM samples",
        "SELECT * FROM (WITH foo AS (SELECT 1) SELECT 1), foo",
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
        "WITH frame AS (SELECT * FROM frame) SELECT * FROM frame",
        "SELECT * FROM (WITH frame AS (SELECT 1) SELECT 1), frame",
    ],
)
def test_a_name_that_passes_the_check_still_finds_nothing_else(ask: Ask, sql: str) -> None:
    frame = pl.DataFrame({"a": [1]})  # Python's own variables are out of reach too

    with pytest.raises(UsageError):
        ask(sql)

    assert frame.height == 1


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{outside}/new.csv'",
        "COPY (SELECT 1) TO '{home}/new.csv'",
        "EXPORT DATABASE '{outside}/new'",
        "SELECT * FROM read_text('{outside}/a.txt')",
        "SELECT * FROM '{outside}/a.csv'",
        "SELECT * FROM read_blob('{outside}/a.parquet')",
        "ATTACH '{outside}/new.duckdb' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET memory_limit = '100GB'",
        "INSERT INTO samples SELECT * FROM samples",
        "UPDATE samples SET batch = 'x'",
        "DROP TABLE samples",
    ],
)
def test_the_engine_itself_would_refuse_too(
    connection: duckdb.DuckDBPyConnection, home: Path, outside: Path, sql: str
) -> None:
    before = files_in(outside)

    with pytest.raises(duckdb.Error):
        connection.execute(sql.format(outside=outside, home=str(home).replace("'", "''")))

    assert files_in(outside) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{outside}/a.csv'",
        "SELECT * FROM '{outside}/a.parquet'",
        "SELECT * FROM '{outside}/a.json'",
        'SELECT * FROM "{outside}/a.csv"',
        "SELECT * FROM read_csv('{outside}/a.csv')",
        "SELECT * FROM read_text('{outside}/a.txt')",
        "SELECT * FROM read_blob('{outside}/a.txt')",
        "SELECT * FROM read_parquet('{outside}/a.parquet')",
        "SELECT * FROM parquet_metadata('{outside}/a.parquet')",
        "SELECT * FROM glob('{outside}/*')",
        "SELECT * FROM sqlite_scan('{outside}/a.db', 't')",
        "SELECT * FROM sqlite_attach('{outside}/a.db')",
        "SELECT * FROM sqlite_query('lake', 'SELECT 1')",
        "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')",
        "SELECT * FROM postgres_query('lake', 'SELECT 1')",
        "SELECT * FROM read_blob('{home}/catalog.sqlite')",
        "SELECT * FROM ducklake_cleanup_old_files('lake', cleanup_all => true)",
        "SELECT * FROM ducklake_expire_snapshots('lake', older_than => now())",
        "SELECT * FROM ducklake_merge_adjacent_files('lake')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('samples')",
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_databases",
        "SELECT * FROM pg_catalog.pg_settings",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM __ducklake_metadata_lake.ducklake_snapshot",
        "SELECT * FROM marts.stg_samples",
        "SELECT * FROM marts.samples",
        "SELECT * FROM funnel",
        "SELECT (SELECT max(content) FROM read_text('{outside}/a.txt'))",
        "WITH x AS (SELECT * FROM read_text('{outside}/a.txt')) SELECT * FROM x",
        "SELECT 1 FROM samples WHERE EXISTS (SELECT 1 FROM glob('/*'))",
        "SELECT 1 UNION ALL SELECT a FROM '{outside}/a.csv'",
        "SELECT * FROM samples JOIN '{outside}/a.csv' ON true",
        'WITH "{outside}/a.csv" AS (SELECT 1) SELECT * FROM "{outside}/a.csv"',
        "SELECT * FROM (WITH duckdb_databases AS (SELECT 1) SELECT 1), duckdb_databases",
        "SELECT * FROM frame",
    ],
)
def test_nothing_outside_the_contract_can_be_named(
    connection: duckdb.DuckDBPyConnection, home: Path, outside: Path, sql: str
) -> None:
    with pytest.raises(UsageError):
        checked(connection, sql.format(outside=outside, home=str(home).replace("'", "''")))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(text AS INTEGER) FROM texts",
        "SELECT * FROM texts WHERE text::DATE > '2020-01-01'",
        "SELECT error(text) FROM texts",
        "SELECT text::JSON FROM texts",
        "SELECT nothing FROM texts",
    ],
)
def test_no_error_holds_a_value_of_a_row(ask: Ask, sql: str) -> None:
    with pytest.raises(UsageError) as refused:
        ask(sql)

    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert len(str(refused.value).splitlines()) == 3


def test_an_error_is_one_paragraph_without_commands_for_the_terminal(ask: Ask) -> None:
    with pytest.raises(UsageError) as refused:
        ask('SELECT "\x1b[31m[red]\n" FROM samples')

    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 3


def test_a_query_that_takes_too_long_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIME_LIMIT_S", 1.0)
    started = time.monotonic()

    with pytest.raises(UsageError, match="took longer than 1 s"):
        run_query(home, {}, "SELECT count(*) FROM range(100000000000) a, range(1000) b WHERE a.range % 7 = b.range")

    assert time.monotonic() - started < 10


def test_a_query_that_wants_too_much_memory_is_stopped_and_spills_nowhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_LIMIT", "40MB")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match="memory"):
        run_query(home, {}, "SELECT list(range) FROM range(50000000)")

    assert list(tmp_path.iterdir()) == []


def test_a_home_without_a_lake_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SYNTH_HOME is not there"):
        run_query(tmp_path / "new", {}, "SELECT 1")

    assert list(tmp_path.iterdir()) == []
