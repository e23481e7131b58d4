"""One SELECT of a person on the lake: read-only, contained, and bounded in memory and time.

Switching external access off is not enough, because the SQLite scanner opens files by itself. So the parsed statement
may only name tables of the contract, the marts, the two text views and a few harmless table functions; the engine's
own locks stand behind that.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import orjson
import polars as pl

from dbt_like_sql.compiler import shipped_models
from resources.lake.connection import connect
from resources.lake.damage import PANIC, is_damage, read_error
from resources.objects import ObjectFiles
from resources.postgres import catalog_server
from synth_assets.errors import IntegrityError, SynthError, UsageError
from synth_assets.tables import TABLES

TIME_LIMIT_S = 30.0
MEMORY_LIMIT = "512MB"
THREADS = 2

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree"})
DESCRIPTIONS = frozenset({"tables", "columns"})
"""Views of `information_schema` that may be read."""

TEXT_VIEWS = {
    "texts": "SELECT sample_id, field, text FROM {files}",
    "seed_texts": """
        SELECT DISTINCT seed_id, entry.key AS field, entry.value AS text
        FROM (
            SELECT seed_id, unnest(map_entries(CAST(CAST("row" AS JSON) AS MAP(VARCHAR, VARCHAR)))) AS entry
            FROM {files}
        )
    """,
}
EMPTY_VIEWS = {
    "texts": "(SELECT '' AS sample_id, '' AS field, '' AS text WHERE false)",
    "seed_texts": "(SELECT '' AS seed_id, '{}' AS \"row\" WHERE false)",
}
PAYLOAD_OF = {
    "texts": "kind = 'texts' AND object_sha256 IN (SELECT object_sha256 FROM samples)",
    "seed_texts": "kind = 'seeds' AND object_sha256 IN (SELECT object_sha256 FROM seeds)",
}
"""Only payload that a row points at: what an attempt replaced or a takedown erased is not found again."""

MARTS = "marts"
"""The database the marts are known by; their figures are computed when they are asked for."""

UNSHOWABLE = re.compile("INTERVAL|BIT|UHUGEINT|UNION|TIME WITH TIME ZONE|MAP|BLOB|VARINT|BIGNUM|GEOMETRY|VARIANT")
"""Types that no frame holds faithfully; they are returned as DuckDB writes them."""

NO_PLAIN_VALUE = re.compile("^(?!(BOOLEAN|VARCHAR|TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|DOUBLE)$)")
"""Every type but the plain ones."""

OF_FILES = (duckdb.IOException, duckdb.InvalidInputException, duckdb.InternalException)
"""Errors that a damaged file raises; a statement may raise some of them too."""

SPEAKS_OF_THE_SQL = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
"""Errors whose messages hold names and the statement itself; any other may hold values of rows."""


def run_query(
    home: Path,
    environ: Mapping[str, str],
    sql: str,
    limit: int | None = None,
    *,
    confine: Callable[[], None] = lambda: None,
) -> pl.DataFrame:
    """Return the result of one SELECT.

    Tables of the contract are known by their names, marts as ``marts.NAME``, texts through
    ``texts(sample_id, field, text)`` and ``seed_texts(seed_id, field, text)``. Columns of the same name are numbered.

    Args:
        home: SYNTH_HOME.
        environ: where SYNTH_CATALOG is looked up.
        sql: the statement.
        limit: rows at most; None returns all.
        confine: called once everything is open and before the statement runs, to take away what it may not use.

    Raises:
        UsageError: it is not exactly one SELECT, names something else, cannot be computed, or takes too long; or there
            is no catalog yet.
        IntegrityError: a payload file is gone.
        StoppedError: the catalog cannot be opened.
    """
    connection = connect(catalog_server(environ), home, read_only=True)
    timer = threading.Timer(TIME_LIMIT_S, _interrupt, [connection])
    timer.daemon = True
    timer.start()
    try:
        with plainly(home):
            statement, views = checked(connection, sql)
            contain(connection, home, views)
            confine()
            return _shown(connection, statement, limit)
    finally:
        timer.cancel()
        connection.close()


def _interrupt(connection: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.Error):  # it may just have been closed
        connection.interrupt()


@contextmanager
def plainly(home: Path | None = None) -> Iterator[None]:
    """Turn the engine's errors into ours, which hold no values of rows."""
    try:
        yield
    except MemoryError:
        raise too_large() from None
    except BaseException as error:
        if not is_damage(error):
            raise
        raise _translated(error, home) from None


def _shown(connection: duckdb.DuckDBPyConnection, statement: str, limit: int | None) -> pl.DataFrame:
    """Return the rows; as text where a frame cannot hold a value, such as a time that is infinite."""
    try:
        frame = fetched(connection.sql(statement), limit)
        for column in frame:
            if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean)):
                column.to_list()  # Polars panics here at a time that Python has no value for
        return frame
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
    return fetched(connection.sql(statement), limit, unshowable=NO_PLAIN_VALUE)


def checked(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[str, set[str]]:
    """Return the only statement and the views it reads, of texts and of marts; nothing is executed.

    Raises:
        UsageError: it is not exactly one SELECT, or names something it may not.
        duckdb.Error: it cannot be parsed.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _refused("a query is exactly one SELECT statement", "write one SELECT; nothing can be changed from here")
    serialized = connection.execute("SELECT json_serialize_sql(?)", [statements[0].query]).fetchone()
    try:
        tree = orjson.loads(serialized[0] if serialized else b"")
    except orjson.JSONDecodeError:
        raise _refused("the statement is nested too deeply", "write it with fewer levels") from None
    if tree.get("error") or len(tree["statements"]) != 1:
        raise _refused("a query is exactly one SELECT statement", "write one SELECT; nothing can be changed from here")
    return statements[0].query, _named_views(connection, list(_parts(tree)))


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a parsed statement, whatever its depth."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _named_views(connection: duckdb.DuckDBPyConnection, parts: list[dict[str, Any]]) -> set[str]:
    """Refuse everything but tables of the contract, marts, text views, own CTEs and harmless functions."""
    steps = _steps(connection, parts)
    views: set[str] = set()
    for part in parts:
        kind = part.get("type") if "class" not in part else None
        if kind == "SHOW_REF":
            raise _refused("DESCRIBE, SHOW and SUMMARIZE are no SELECT", "SELECT * FROM information_schema.columns")
        if kind == "TABLE_FUNCTION":
            name = str(part["function"].get("function_name", "")).lower()
            if name not in TABLE_FUNCTIONS:
                raise _refused(
                    f"the function {name!r} may not be read from", f"allowed: {', '.join(sorted(TABLE_FUNCTIONS))}"
                )
        if kind == "BASE_TABLE":
            name = _table_name(part, steps)
            views |= {name} & {*TEXT_VIEWS, *_marts()}
    return views


def _steps(connection: duckdb.DuckDBPyConnection, parts: list[dict[str, Any]]) -> set[str]:
    """Return the names of the statement's own CTEs, without those that hide something of the engine's.

    A name is known in its own scope only, but counts everywhere here; so it must not mean anything outside.
    """
    names = {str(entry["key"]).lower() for part in parts if "cte_map" in part for entry in part["cte_map"]["map"]}
    rows = connection.execute(
        "SELECT view_name FROM duckdb_views() UNION SELECT table_name FROM duckdb_tables()"
    ).fetchall()
    taken = {row[0].lower() for row in rows} - set(TABLES)
    return {name for name in names if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in taken}


def _marts() -> list[str]:
    return [f"{MARTS}.{model.name}" for model in shipped_models().marts]


def _table_name(part: Mapping[str, Any], steps: set[str]) -> str:
    catalog, schema, name = (str(part.get(key, "")).lower() for key in ("catalog_name", "schema_name", "table_name"))
    is_ours = name in TABLES and (catalog, schema) in {("", ""), ("", "main"), ("", "lake"), ("lake", "main")}
    is_bare = not catalog and not schema and (name in TEXT_VIEWS or name in steps)
    is_description = (catalog, schema) == ("", "information_schema") and name in DESCRIPTIONS
    if not catalog and f"{schema}.{name}" in _marts():
        return f"{schema}.{name}"
    if not (is_ours or is_bare or is_description):
        known = ", ".join(sorted([*TABLES, *TEXT_VIEWS, *_marts()]))
        raise _refused(f"there is no table {name[:80]!r} to read", f"tables: {known}")
    return name


def contain(connection: duckdb.DuckDBPyConnection, home: Path, views: set[str]) -> None:
    """Make the views, then take away files, settings, Python's variables, memory and disk."""
    folders = ", ".join(_literal(folder) for folder in (home / "objects", home / "lake"))
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute(f"ATTACH ':memory:' AS {MARTS}")
    for view in views & set(_marts()):
        connection.execute(f"CREATE VIEW {view} AS {shipped_models().compiled(view.removeprefix(f'{MARTS}.'))}")
    for view in views & set(TEXT_VIEWS):
        files = _payload(connection, home, view)
        source = f"read_parquet([{', '.join(_literal(file) for file in files)}])" if files else EMPTY_VIEWS[view]
        connection.execute(f"CREATE TEMP VIEW {view} AS {TEXT_VIEWS[view].format(files=source)}")
    connection.execute("SET temp_directory = ''")
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"SET threads = {THREADS}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _payload(connection: duckdb.DuckDBPyConnection, home: Path, view: str) -> list[Path]:
    wanted = f"SELECT DISTINCT object_sha256 FROM objects WHERE {PAYLOAD_OF[view]} ORDER BY 1"  # noqa: S608 - a constant
    rows = connection.execute(wanted).fetchall()
    objects = ObjectFiles(home / "objects")
    files = [objects.path(row[0], ".parquet") for row in rows]
    for file in files:
        if not file.is_file():
            raise IntegrityError("a payload file is gone", where=str(file), fix="restore it from a backup")
    return files


def fetched(
    relation: duckdb.DuckDBPyRelation, limit: int | None, *, unshowable: re.Pattern[str] = UNSHOWABLE
) -> pl.DataFrame:
    """Return the rows as a frame; whole numbers wider than 64 bits and values of ``unshowable`` types become text."""
    relation = relation.project("*") if limit is None else relation.limit(limit).project("*")
    columns = [
        f"CAST({_name(name)} AS VARCHAR) AS {_name(name)}" if unshowable.search(str(dtype)) else _name(name)
        for name, dtype in zip(relation.columns, relation.types, strict=True)
    ]
    frame = pl.DataFrame(relation.project(", ".join(columns)))
    return frame.with_columns(_whole(frame[name]) for name, dtype in frame.schema.items() if dtype == pl.Decimal(38, 0))


def _whole(values: pl.Series) -> pl.Series:
    try:
        return values.cast(pl.Int64)
    except pl.exceptions.PolarsError:
        return values.cast(pl.String)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _refused(what: str, fix: str) -> UsageError:
    return UsageError(what, where="the query", fix=fix)


def took_too_long() -> UsageError:
    """Return what is said of a query that was stopped for its time."""
    return _refused(
        f"the query took longer than {TIME_LIMIT_S:.0f} s and was stopped", "ask for less, or filter earlier"
    )


def too_large() -> UsageError:
    """Return what is said of a query that was stopped for its memory."""
    return _refused(f"the query needs more than {MEMORY_LIMIT} of memory", "ask for fewer rows, or aggregate")


def _translated(error: BaseException, home: Path | None) -> SynthError:
    if isinstance(error, duckdb.InterruptException):
        return took_too_long()
    if isinstance(error, duckdb.OutOfMemoryException) or "bad_alloc" in str(error):
        return too_large()
    may_be_damage = type(error) is duckdb.Error or not isinstance(error, duckdb.Error) or isinstance(error, OF_FILES)
    if home is not None and may_be_damage:
        damage = read_error(error, None, home)
        if isinstance(error, duckdb.IOException) or str(home / "lake") in damage.where:
            return damage
    if isinstance(error, SPEAKS_OF_THE_SQL):
        first = " ".join(str(error).partition("\n\nLINE")[0].partition(": ")[2].split())
        plain = "".join(letter if letter.isprintable() else "?" for letter in first)
        return _refused(plain[:400], "correct the statement; information_schema.columns lists what there is")
    kind = type(error).__name__.removesuffix("Exception")
    return _refused(
        f"the query cannot be computed ({kind} error)",
        "check casts, divisions and patterns; TRY_CAST gives null instead",
    )
