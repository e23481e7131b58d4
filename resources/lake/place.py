"""Where the catalog of a home is, for a person."""

from pathlib import Path

from resources.home import CATALOG
from resources.postgres import Server


def place(server: Server | None, home: Path) -> str:
    """Return where the catalog is; a password is never shown."""
    return f"{server.variable}, {server.shown}" if server else str(home / CATALOG)
