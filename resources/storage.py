"""Dagster's own storages with their connections kept open.

Dagster opens a connection for every event and closes it. A batch leaves about a hundred events, most of them check
results, so that alone took longer than the rest of an empty batch (benchmarks/RESULTS.md).

In SQLite every close folds the write-ahead log back into the file and waits for the disk. Here the connections of the
latest files stay open, and the disk is waited for at checkpoints: a crash of the process loses nothing, a loss of power
may lose the last events, never the file. What a batch made is in the lake, whose commits do wait for the disk; the next
run reports the verdicts Dagster did not record. In Postgres every connection is a log-in; here each is kept, and asked
whether it still lives before it is used, so that a server that was restarted is found again.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import sqlalchemy
from dagster import DagsterEvent, DagsterEventType
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

from resources.owners import Owners
from resources.postgres import Server

if TYPE_CHECKING:
    from dagster_postgres import DagsterPostgresStorage

MAX_OPEN = 8
"""Files kept open at a time: the index and the latest runs."""

MAX_MORE = 20
"""Connections of a part beyond the one that stays; the web server and the daemon ask from several threads."""

BUSY_TIMEOUT_S = 60
"""How long another writer of the same file is waited for."""


def address_of(base_dir: str, db_name: str) -> str:
    """Return the URL of one of Dagster's files; unquoted, a % or ? in the folder's name would mean something else."""
    return f"sqlite:///{quote(str(Path(base_dir).absolute() / f'{db_name}.db'))}"


# Dagster builds the URLs where nobody can hand it one.
sqlite_event_log.create_db_conn_string = address_of
sqlite_run_storage.create_db_conn_string = address_of
sqlite_schedule_storage.create_db_conn_string = address_of


ENDS = frozenset({DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED})


class Owning:
    """What a store of runs adds: whoever says that a run started owns it until everybody can read that it ended."""

    owners: Owners

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Bring a run's status up to an event; its lock is held as long as the status says that it goes on."""
        if event.event_type is DagsterEventType.RUN_START:
            self.owners.own(run_id)
        super().handle_run_event(run_id, event, update_timestamp)  # type: ignore[misc]
        if event.event_type in ENDS:
            self.owners.give_back(run_id)


class OwningRuns(Owning, SqliteRunStorage):
    """Dagster's store of runs in a file, with their owners."""


class OpenEventLog(SqliteEventLogStorage):
    """The event log whose connections stay open; one lock, as in Dagster's own, keeps threads apart."""

    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, sqlalchemy.Engine] = OrderedDict()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        """Return the engine of a file; a file that is gone, because its run was deleted, is opened anew."""
        if shard in self._engines and Path(self.path_for_shard(shard)).exists():
            self._engines.move_to_end(shard)
            return self._engines[shard]
        if shard in self._engines:
            self._engines.pop(shard).dispose()
        engine = sqlalchemy.create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        )
        self._initdb(engine)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("PRAGMA synchronous = NORMAL"))
        self._engines[shard] = engine
        while len(self._engines) > MAX_OPEN:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def dispose(self) -> None:
        """Close every file."""
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()


def postgres_storage(server: Server, inst_data: ConfigurableClassData | None = None) -> "DagsterPostgresStorage":
    """Return Dagster's Postgres storage, its three parts each with a pool of one connection that may grow."""
    from dagster_postgres import DagsterPostgresStorage
    from dagster_postgres.run_storage import PostgresRunStorage

    class OwningServerRuns(Owning, PostgresRunStorage):
        owners = Owners(Path(), server)

    url = server.url
    storage = DagsterPostgresStorage(url, inst_data=inst_data)
    storage._run_storage = OwningServerRuns(url, should_autocreate_tables=False)
    for part in (storage.event_log_storage, storage.run_storage, storage.schedule_storage):
        part._engine = sqlalchemy.create_engine(
            url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=MAX_MORE, pool_pre_ping=True
        )
    return storage


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with that event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data=inst_data)
        self._event_log_storage = OpenEventLog(str(Path(base_dir) / "history" / "runs"))
        self._run_storage = OwningRuns(address_of(str(Path(base_dir) / "history"), "runs"))
        self._run_storage.owners = Owners(Path(base_dir), None)
