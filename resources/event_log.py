"""Dagster's event log in SQLite, with its files kept open.

Dagster opens and closes a connection for every event, and every close folds the write-ahead log back into the file and
waits for the disk. A batch leaves more than a hundred events, most of them check results, so that alone took longer
than judging it. Here the connections of the latest files stay open, and the disk is waited for at checkpoints: a crash
of the process loses nothing, a loss of power may lose the last events, never the file. What a batch made is in the
lake, whose commits do wait for the disk; the next run reports the verdicts Dagster did not record.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

MAX_OPEN = 8
"""Files kept open at a time: the index and the latest runs."""

BUSY_TIMEOUT_S = 60
"""How long another writer of the same file is waited for."""


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


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with that event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data=inst_data)
        self._event_log_storage = OpenEventLog(str(Path(base_dir) / "history" / "runs"))
