"""Whether a catalog belongs to the home it is opened for."""

from datetime import datetime
from typing import TYPE_CHECKING

from resources.home import MARKER, Identity, identity_of, made, strangers
from resources.lake.place import place
from synth_assets.errors import IntegrityError
from synth_assets.tables import TABLES

if TYPE_CHECKING:
    from resources.lake.store import DuckLake

NAMED_IN = "homes"
"""The table that says whose catalog it is; a home of an earlier time has none."""


def recognised(lake: "DuckLake", *, is_making: bool) -> Identity | None:
    """Return which home a lake is of, by its marker and its catalog.

    Args:
        lake: just opened.
        is_making: write marker and row where neither is there yet: the home is new, or of an earlier time.

    Returns:
        None where neither is there and nothing may be made.

    Raises:
        IntegrityError: they disagree, or one of them is gone.
    """
    where = place(lake.server, lake.home)
    rows = lake.read(NAMED_IN).rows()
    known = Identity(rows[0][0], rows[0][1].isoformat(timespec="seconds")) if rows else None
    home = identity_of(lake.home)
    if known is not None and home is None:
        raise IntegrityError(
            f"SYNTH_HOME has no marker, and its catalog belongs to the home {known}; nothing was paid",
            where=f"{lake.home / MARKER}; {where}",
            fix=f"mount the home's volume, or restore {MARKER} from a backup",
        )
    if known is not None and home is not None and known != home:
        raise strangers(home, known, which="the catalog", where=where)
    if known is None and home is not None and lake.read("heads").is_empty() and lake.ledger.datasets():
        raise IntegrityError(
            "the catalog holds nothing, and the home's ledger does; nothing was paid",
            where=where,
            fix="restore the catalog from a backup, or correct SYNTH_CATALOG",
        )
    if known is None and is_making:
        known = made(lake.home)
        row = {"home_id": known.home_id, "made_at": datetime.fromisoformat(known.made_at)}
        lake.introduce(TABLES[NAMED_IN].frame([row]))
    return known
