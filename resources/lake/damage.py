"""What an error of the engine says about the lake: a server that went away, a full disk, or a file that is damaged.

Whatever reads the lake turns errors into refusals here, so that no command shows a traceback for a damaged file.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl

from resources.home import CATALOG
from resources.lake.place import place
from resources.objects import disk_full, is_full
from resources.postgres import Server
from synth_assets.errors import IntegrityError, StoppedError, SynthError
from synth_assets.tables import TABLES

PANIC = "PanicException"
"""What a panic inside Polars is called; it is no `Exception`, and Python knows it by its name only."""

EARLIEST_US, LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds since 1970."""

PARQUET = re.compile(r"[^\s'\"]*\.parquet")
FROM_BACKUP = "restore it from a backup; `synth audit verify` looks at everything that is stored"


def is_damage(error: BaseException) -> bool:
    """Whether an error comes from reading what is stored, and not from a person's interrupt or a mistake in code."""
    return isinstance(error, duckdb.Error | pl.exceptions.PolarsError) or type(error).__name__ == PANIC


def read_error(error: BaseException, server: Server | None, home: Path, tables: str = "*") -> SynthError:
    """Return the refusal for an error while the lake was read.

    Args:
        error: one that `is_damage` knows.
        server: where the catalog is; None for SQLite under ``home``.
        home: SYNTH_HOME.
        tables: name of the table that was read, or a pattern of several.
    """
    if is_disk_full(error):
        return disk_full(home)
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoppedError(
            "there is not enough memory to read the lake", where="this process", fix="give it more memory"
        )
    said = str(error)
    is_operational = type(error) is duckdb.Error or isinstance(error, duckdb.OperationalError)
    named = PARQUET.search(said)
    damaged = named[0] if named else next(_damaged(home / "lake", tables), None)
    if is_operational and not damaged and (server is not None or not is_broken(home / CATALOG)):
        if is_full(home):  # the engine speaks of a lock or of I/O where its own small files find no room
            return disk_full(home)
        return StoppedError(
            f"the lake could not be read ({type(error).__name__}); nothing was changed",
            where=place(server, home),
            fix="run the same command again; if it persists, check the catalog and the disk",
        )
    return IntegrityError(
        f"what is stored cannot be read: a file is gone or damaged ({type(error).__name__})",
        where=str(damaged or place(server, home)),
        fix=FROM_BACKUP,
    )


def _damaged(lake: Path, tables: str) -> Iterator[Path]:
    """Yield the data files that cannot be read whole, looked at one by one: the engine does not always name one."""
    for file in sorted(lake.glob(f"*/{tables}/**/*.parquet")):
        try:
            pl.read_parquet(file)
        except BaseException as error:
            if not (is_damage(error) or isinstance(error, OSError)):
                raise
            yield file


def sound(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a table in which every value can be: the engine itself keeps neither of the two rules.

    Raises:
        IntegrityError: a value is missing where one must be, or a time lies outside any calendar.
    """
    for column in TABLES[table].columns:
        values = rows[column.name]
        is_missing = not column.nullable and values.null_count() > 0
        is_strange = isinstance(column.dtype, pl.Datetime) and not _are_dates(values)
        if is_missing or is_strange:
            what = "a value is missing" if is_missing else "a time lies outside any calendar"
            raise IntegrityError(f"{what} in {table}", where=f"{table}, column {column.name}", fix=FROM_BACKUP)
    return rows


def _are_dates(values: pl.Series) -> bool:
    """Whether all times can be dates of Python: its years end at 9999."""
    micros = values.to_physical()
    least, most = micros.min(), micros.max()
    return least is None or (int(least) >= EARLIEST_US and int(most) <= LATEST_US)  # type: ignore[arg-type]


def is_broken(catalog: Path) -> bool:
    """Whether SQLite itself finds the file damaged; one that is locked or gone is not."""
    try:
        with closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]
    except sqlite3.OperationalError:
        return False
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return True


def is_disk_full(error: BaseException) -> bool:
    """Whether the engine had no room to write."""
    text = str(error).lower()
    return any(sign in text for sign in ("no space", "disk is full", "file too large", "could not write", "disk full"))
