"""Heads kept outside the home: the only thing that tells an older copy of everything from the newest one."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from resources.objects import sync_folder
from synth_assets.domain.chain import Chain
from synth_assets.errors import IntegrityError, UsageError

VARIABLE = "SYNTH_HEAD_FILE"


class HeadFile:
    """A file of its own, outside the home, with the head of every release, training and verification."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def compare(self, chain: Chain) -> None:
        """Refuse a chain that does not hold the last head written down for its dataset.

        Raises:
            IntegrityError: it is an older or another copy.
            UsageError: the file cannot be read.
        """
        kept = self.last(chain.dataset)
        if kept is None:
            return
        seq, head = kept["seq"], kept["head"]
        if seq > chain.length or chain.entries[seq - 1].sha256 != head:
            what = (
                f"the chain of {chain.dataset} has {chain.length} entries"
                if seq > chain.length
                else (f"entry {seq} of {chain.dataset} is another one")
            )
            raise IntegrityError(
                f"{what}; the head kept outside is entry {seq}, {head[:12]}...",
                where=str(self.path),
                fix="restore catalog, ledger and home from a backup that holds this head; if this is another home with "
                "a dataset of the same name, name a file of its own for it",
            )

    def keep(self, chain: Chain) -> None:
        """Write the present head down, if it is another one than the last; synced before this returns."""
        kept = self.last(chain.dataset)
        if not chain.length or (kept is not None and kept["head"] == chain.head):
            return
        line = {"dataset": chain.dataset, "seq": chain.length, "head": chain.head, "at": datetime.now(UTC).isoformat()}
        is_new = not self.path.exists()
        with self.path.open("ab") as file:
            file.truncate(len(self._written()))
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self.path.parent)

    def _written(self) -> bytes:
        """Return the whole lines; one without an end was being written when its process died."""
        if not self.path.exists():
            return b""
        data = self.path.read_bytes()
        return data[: data.rfind(b"\n") + 1]

    def last(self, dataset: str) -> dict[str, Any] | None:
        """Return seq and head of the last line of a dataset; None if there is none.

        Raises:
            UsageError: the file cannot be read.
        """
        try:
            lines = [orjson.loads(line) for line in self._written().splitlines()]
            mine = [(int(line["seq"]), str(line["head"])) for line in lines if line["dataset"] == dataset]
            if min(mine, default=(1, ""))[0] < 1:
                raise ValueError(mine)
            return {"seq": mine[-1][0], "head": mine[-1][1]} if mine else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OSError):
            raise UsageError(
                "the file of heads cannot be read",
                where=f"{VARIABLE}, {self.path}",
                fix="name the file these commands wrote, or a new one",
            ) from None


def head_file(environ: Mapping[str, str]) -> HeadFile | None:
    """Return the file ``SYNTH_HEAD_FILE`` names; None where it is not set.

    Raises:
        UsageError: there is no folder for it.
    """
    named = environ.get(VARIABLE, "").strip()
    if not named:
        return None
    path = Path(named).expanduser().absolute()
    if not path.parent.is_dir():  # found out after a commit, its head would be kept nowhere
        raise UsageError(
            "the file of heads is to be in a folder that is not there",
            where=f"{VARIABLE}, {path}",
            fix="make the folder, or name another file",
        )
    return HeadFile(path)
