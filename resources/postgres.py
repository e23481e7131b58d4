"""The team's Postgres server: its address, taken apart by libpq itself, and sessions on it.

The password stays inside `Server`: it is no part of what is shown, of an error or of a repr.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synth_assets.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812 - psycopg2's class has a small letter

CATALOG, INSTANCE = "SYNTH_CATALOG", "SYNTH_INSTANCE"
_SCHEME = re.compile(r"postgres(ql)?(\+\w+)?://")
_APPLICATION = "synth-assets, "
_CONNECT_TIMEOUT_S = 10

_LASTING = """
    SELECT set_config(known.name, wanted.value, false)
    FROM pg_settings AS known
    JOIN (VALUES
        ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'),
        ('idle_session_timeout', '0')
    ) AS wanted (name, value) USING (name)
"""
"""The server notices within a minute that a host lost its power, and never ends a session for being quiet."""


@dataclass(frozen=True)
class Server:
    """A database on a Postgres server.

    Attributes:
        variable: the environment variable that names it.
        url: the address for SQLAlchemy, with the one driver that dagster-postgres works with.
        parameters: the address as libpq's keywords, connect_timeout included.
    """

    variable: str
    url: str = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)

    @property
    def dsn(self) -> str:
        """The address as libpq's keyword string, for DuckDB; holds the password."""
        from psycopg2.extensions import make_dsn

        return str(make_dsn(**self.parameters))

    @property
    def shown(self) -> str:
        """The address without the password."""
        user, host, port = (self.parameters.get(name, "") for name in ("user", "host", "port"))
        at, colon = f"{user}@" if user else "", f":{port}" if port else ""
        return f"postgresql://{at}{host}{colon}/{self.parameters.get('dbname', user)}"

    def session(self) -> "Session":
        """Open a session outside any transaction; what it locks is free again when it ends.

        Raises:
            StoppedError: the server does not let us in.
        """
        import psycopg2

        try:
            session = psycopg2.connect(**{**self.parameters, "application_name": _APPLICATION + this_process()})
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(_LASTING)
        except psycopg2.Error as error:
            raise self.lost(error) from None
        return session

    def lost(self, error: Exception) -> StoppedError:
        """Return a failure to talk to the server as a stop a person can act on."""
        reason = str(error).partition("failed: ")[2].partition("\n")[0].strip()
        password = self.parameters.get("password")
        if not reason or (password and password in reason):
            reason = type(error).__name__
        return StoppedError(
            f"the Postgres server does not answer ({reason}); everything finished is kept",
            where=f"{self.variable}, {self.shown}",
            fix="start the server or correct the address, then run the same command again",
        )


def this_process() -> str:
    """Return how this process is named to others."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def process_of(application: str) -> str:
    """Return the process behind a session, from the session's application name."""
    return application.removeprefix(_APPLICATION) or "another process"


def catalog_server(environ: Mapping[str, str]) -> Server | None:
    """Return the server of the lake's catalog; None when the catalog is a file in SYNTH_HOME.

    Raises:
        UsageError: ``SYNTH_CATALOG`` is no address of a Postgres server.
    """
    named = environ.get(CATALOG, "")
    return _server(CATALOG, named) if named else None


def instance_server(environ: Mapping[str, str]) -> Server | None:
    """Return the server of Dagster's runs and events; None when they are files.

    ``SYNTH_INSTANCE`` decides; without it, the server of the lake's catalog is shared.

    Raises:
        UsageError: the address is none of a Postgres server.
    """
    named = environ.get(INSTANCE, "")
    if not named:
        return catalog_server(environ)
    return _server(INSTANCE, named) if "://" in named else None


def _server(variable: str, address: str) -> Server:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    if not _SCHEME.match(address):
        folder = "a folder or " if variable == INSTANCE else ""
        fix = f"set it to {folder}postgresql+psycopg2://user:password@host/database, or unset it"
        raise UsageError(f"{variable} is no address of a Postgres server", where=variable, fix=fix)
    try:
        parameters = parse_dsn(_SCHEME.sub("postgresql://", address, count=1))
    except ProgrammingError:
        raise UsageError(
            f"{variable} cannot be read as an address of a Postgres server",
            where=variable,
            fix="write postgresql+psycopg2://user:password@host/database, with any of @ : / ? # % in the user or the "
            "password percent-encoded, as in %40 for @",
        ) from None
    return Server(
        variable=variable,
        url=_SCHEME.sub("postgresql+psycopg2://", address, count=1),
        parameters={"connect_timeout": str(_CONNECT_TIMEOUT_S), **parameters},
    )
