"""A DuckDB connection with DuckLake attached, loaded from wheels: nothing fetched, nothing written home."""

import importlib.util
from pathlib import Path

import duckdb
import polars as pl

from resources.home import CATALOG, has_room, is_home, is_writable, no_home
from resources.lake.copies import copied
from resources.lake.damage import is_broken, is_disk_full
from resources.lake.place import place
from resources.objects import disk_full
from resources.postgres import Server
from synth_assets.errors import IntegrityError, StoppedError, SynthError, UsageError
from synth_assets.tables import TABLES, Table

SQL_TYPES = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
    pl.Datetime: "TIMESTAMPTZ",
}
ANY_VALUE = {
    pl.String: "''",
    pl.Int64: "0",
    pl.Float64: "0.0",
    pl.Boolean: "false",
    pl.Datetime: "TIMESTAMPTZ '1970-01-01 00:00:00+00'",
}
NOT_THERE = "creating a new DuckLake is explicitly disabled"
"""How DuckLake says that a server's database holds no catalog."""


def connect(server: Server | None, home: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Return a connection whose default database is the lake, with every table of the contract.

    Args:
        server: where the catalog is; None for SQLite under ``home``.
        home: SYNTH_HOME; the lake's data files live in ``home/lake``.
        read_only: attach without the right to write.

    Raises:
        StoppedError: the catalog cannot be reached.
        IntegrityError: its file is damaged.
        UsageError: there is none yet, and it may only be read.
    """
    if server is None and _was_emptied(home):
        raise _broken("it is empty or gone, and the ledger is not", home)
    if read_only and server is None and not (home / CATALOG).is_file():
        raise nothing_yet(server, home)
    if not read_only:
        home.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for name in ("postgres_scanner" if server else "sqlite_scanner", "ducklake"):
        connection.execute(f"LOAD '{_extension(name)}'")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    # What the lake is asked is small: with more threads a read costs twice the CPU, most of it spent waiting in turns.
    connection.execute("SET threads = 1")
    try:
        is_copied = read_only and server is None and not (is_writable(home) and has_room(home))
        catalog = copied(home, connection) if is_copied else home / CATALOG
        connection.execute(_attach(server, home, catalog, read_only=read_only))
        connection.execute("USE lake")
        if not read_only:
            _create_missing(connection)
    except duckdb.Error as error:
        if read_only and NOT_THERE in str(error):
            raise nothing_yet(server, home) from None
        raise _unopened(error, server, home) from None
    return connection


def _was_emptied(home: Path) -> bool:
    """Whether the catalog holds nothing though something was committed; SQLite would take it for a new one."""
    catalog = home / CATALOG
    size = catalog.stat().st_size if catalog.is_file() else 0
    is_empty = size == 0 and not (home / f"{CATALOG}-wal").is_file()
    return is_empty and next((home / "ledger").glob("*/*.jsonl"), None) is not None


def _unopened(error: duckdb.Error, server: Server | None, home: Path) -> SynthError:
    if server is None and (is_disk_full(error) or not has_room(home)):
        return disk_full(home)
    is_operational = type(error) is duckdb.Error or isinstance(error, duckdb.OperationalError)
    if server is None and (not is_operational or is_broken(home / CATALOG)):
        return _broken(type(error).__name__, home)
    # DuckDB's own message would show the password of a server.
    return StoppedError(
        f"the lake's catalog cannot be opened ({type(error).__name__})",
        where=place(server, home),
        fix="check that the database runs and that the address is right"
        if server
        else "check that the disk there has room and answers, then run the same command again",
    )


def _broken(how: str, home: Path) -> IntegrityError:
    return IntegrityError(
        f"the lake's catalog is damaged ({how})",
        where=str(home / CATALOG),
        fix="restore it from a backup",
    )


def nothing_yet(server: Server | None, home: Path) -> UsageError:
    """Return what is said of a home in which nothing was made, or of a folder that is none."""
    if not is_home(home):
        return no_home(home)
    return UsageError(
        "there is nothing to query yet",
        where=place(server, home) if server else str(home),
        fix="`synth run DATASET` makes a first batch",
    )


def _extension(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = list(spec.submodule_search_locations or []) if spec else []
    file = Path(folders[0] if folders else ".") / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.is_file():
        raise IntegrityError(
            f"DuckDB's extension {name} for version {duckdb.__version__} is not installed",
            where=str(file),
            fix="run `make demo`",
        )
    return file


def _attach(server: Server | None, home: Path, catalog: Path, *, read_only: bool) -> str:
    data = home / "lake"
    options = [f"DATA_PATH '{quoted(data)}/'", "OVERRIDE_DATA_PATH true"]
    if read_only:
        options.append("READ_ONLY")
    if server:
        return f"ATTACH 'ducklake:postgres:{quoted(server.dsn)}' AS lake ({', '.join(options)})"
    options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000"]
    return f"ATTACH 'ducklake:sqlite:{quoted(catalog)}' AS lake ({', '.join(options)})"


def quoted(value: object) -> str:
    """Return a value as it stands between the quotes of a SQL string."""
    return str(value).replace("'", "''")


def missing_tables(connection: duckdb.DuckDBPyConnection) -> tuple[list[Table], list[str]]:
    """Return the tables a lake lacks, and the statements that make them and add the columns its tables lack."""
    rows = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'"
    ).fetchall()
    present: dict[str, set[str]] = {}
    for table, column in rows:
        present.setdefault(table, set()).add(column)
    new = [table for table in TABLES.values() if table.name not in present]
    missing = [ddl(table) for table in new]
    missing += [
        statement
        for table in TABLES.values()
        if table.name in present
        for statement in _added(table, present[table.name])
    ]
    return new, missing


def _create_missing(connection: duckdb.DuckDBPyConnection) -> None:
    new, missing = missing_tables(connection)
    if not missing:
        return
    connection.execute("BEGIN")
    for statement in missing:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    for table in new:
        _touch(connection, table)
    connection.execute("COMMIT")


def _touch(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Give a new table statistics, by a row that comes and goes in one transaction.

    As long as there are none, DuckLake asks its catalog for them anew for every column at every look: a table of 21
    columns took 85 ms to read while it was empty and 10 ms with rows in it.
    """
    values = ", ".join(
        f'{"NULL" if column.nullable else ANY_VALUE[column.dtype.base_type()]} AS "{column.name}"'
        for column in table.columns
    )
    connection.execute(f"INSERT INTO {table.name} BY NAME SELECT {values}")
    connection.execute(f"DELETE FROM {table.name}")


def _added(table: Table, present: set[str]) -> list[str]:
    """Return the statements that add the columns a lake of an earlier version of the project lacks."""
    return [
        f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {SQL_TYPES[column.dtype.base_type()]}'
        + (f" DEFAULT '{quoted(column.before)}'" if column.before is not None else "")
        for column in table.columns
        if column.name not in present
    ]


def ddl(table: Table) -> str:
    """Return the CREATE statement of a table; the contract is the only source of its columns."""
    columns = ", ".join(
        f'"{column.name}" {SQL_TYPES[column.dtype.base_type()]}{"" if column.nullable else " NOT NULL"}'
        for column in table.columns
    )
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})"
