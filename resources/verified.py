"""When each dataset was last verified, for a person to see; nothing is decided by it, so nothing vouches for it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from resources.home import has_room, is_writable

FILE = "verified.json"


@dataclass(frozen=True)
class Verified:
    """The last verification of a dataset that found nothing.

    Attributes:
        seq: entries of its chain at that time.
        at: when, UTC, as ISO 8601.
    """

    seq: int
    at: str


def last_verified(home: Path) -> dict[str, Verified]:
    """Return the last verification by dataset; what cannot be read is unknown."""
    with suppress(OSError, ValueError, TypeError):
        return {name: Verified(**each) for name, each in orjson.loads((home / FILE).read_bytes()).items()}
    return {}


def write_down(home: Path, found: Mapping[str, Verified]) -> None:
    """Keep verifications that found nothing, where a file may be written and has room; reading leaves nothing else."""
    if not found or not (is_writable(home) and has_room(home)):
        return
    known = last_verified(home) | found
    draft = home / f".{FILE}"
    try:
        draft.write_bytes(orjson.dumps({name: asdict(each) for name, each in known.items()}))
        draft.replace(home / FILE)
    except OSError:
        with suppress(OSError):
            draft.unlink()
