"""Damage to the files of a finished home, and what can be read of it: for the test that tries some of every kind.

A damage is told by the file, by what is done and by where; the same seed gives the same damages. A worker does one,
looks at everything, verifies, and puts the file back.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from resources.journal import prefixes_of
from resources.lake import DuckLake, open_lake
from synth_assets.errors import SynthError
from synth_assets.reports.audit import verify
from synth_assets.tables import TABLES

KINDS = ("flip", "truncate", "delete")
HARMLESS = ("claims/", "dagster/", "catalog.lock", "marts/", "verified.json")
"""Places whose files say nothing of the data: locks, Dagster's own history, marts, and when somebody verified."""


@dataclass(frozen=True)
class Damage:
    """One thing that happened to one file; ``place`` is a share of its length."""

    file: str
    kind: str
    place: float

    def done_to(self, data: bytes) -> bytes | None:
        """Return what is left of the file; None if it is gone."""
        at = min(len(data) - 1, int(self.place * len(data)))
        if self.kind == "delete" or not data:
            return None
        return data[:at] if self.kind == "truncate" else data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


@dataclass(frozen=True)
class Seen:
    """What became of whoever looked.

    Attributes:
        is_same: whether everything that could be read before reads the same.
        named: what verification named; None if it found nothing.
        fault: what must never happen: an exception that is no refusal of ours.
    """

    is_same: bool
    named: str | None
    fault: str | None


def damages(home: Path, number: int, seed: int) -> Iterator[Damage]:
    """Yield damages in turn over every kind of file there is: by folder and suffix, so that none is rare."""
    groups: dict[tuple[str, str], list[str]] = {}
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        name = file.relative_to(home).as_posix()
        if not name.startswith(HARMLESS):
            groups.setdefault((name.split("/")[0], file.suffix), []).append(name)
    draw = random.Random(seed)
    order = sorted(groups)
    for turn in range(number):
        kind = KINDS[turn // len(order) % len(KINDS)]
        yield Damage(draw.choice(groups[order[turn % len(order)]]), kind, draw.random())


def look(home: Path, dataset: str, damage: Damage, before: str) -> Seen:
    """Do a damage, look at the home as commands do, and put the file back."""
    file = home / damage.file
    kept = file.read_bytes()
    left = damage.done_to(kept)
    others = {path: path.read_bytes() for path in home.glob("catalog.sqlite*")}
    try:
        if left is None:
            file.unlink()
        else:
            file.write_bytes(left)
        return _looked(home, dataset, before)
    finally:
        for path in home.glob("catalog.sqlite*"):
            path.unlink()
        for path, data in {**others, file: kept}.items():
            path.write_bytes(data)


def _looked(home: Path, dataset: str, before: str) -> Seen:
    try:
        lake = open_lake(home, {})
    except SynthError as error:
        return Seen(is_same=False, named=error.what, fault=None)
    except BaseException as error:  # noqa: BLE001 - a panic of a library is no Exception
        return Seen(is_same=False, named=None, fault=f"open: {type(error).__name__}: {error}"[:300])
    try:
        found = verify(lake, dataset, None).findings
        named = found[0].what if found else None
        if named is None:  # a last entry that is not in the ledger is a death's trace, which the next commit completes
            lake._complete_ledger(lake.chain(dataset))
        return Seen(is_same=named is None and everything(lake, dataset) == before, named=named, fault=None)
    except SynthError as error:
        return Seen(is_same=False, named=error.what if error.exit_code == 4 else None, fault=None)
    except BaseException as error:  # noqa: BLE001 - a panic of a library is no Exception
        return Seen(is_same=False, named=None, fault=f"verify: {type(error).__name__}: {error}"[:300])
    finally:
        lake.close()


def everything(lake: DuckLake, dataset: str) -> str:
    """Return one hash of all that can be read of a home: rows, payload, releases, ledger, and the journal as bound."""
    hashed = sha256()
    for name in TABLES:
        hashed.update(str(sorted(lake.read(name).rows(), key=str)).encode())
    for folder in ("objects", "releases", "ledger"):
        for file in sorted(path for path in (lake.home / folder).rglob("*") if path.is_file()):
            hashed.update(file.relative_to(lake.home).as_posix().encode() + file.read_bytes())
    hashed.update(str(sorted(prefixes_of(lake.home, dataset, lake.chain(dataset).journal).items())).encode())
    return hashed.hexdigest()
