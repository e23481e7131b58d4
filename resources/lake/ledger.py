"""The ledger: the audit chain once more, as append-only files beside the catalog, with the rows a rebuild needs.

``<root>/<dataset>/entries.jsonl`` is written inside the commit section, after the commit. What its lines say is decided
in `synth_assets.domain.ledger`.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from resources.objects import sync_folder
from synth_assets.domain.ledger import CARRIED, ENTRY, entry_line, lines_sha256, row_lines
from synth_assets.errors import SynthError

TAIL_BYTES = 16_384
"""How much of the end is read first; the last entry line nearly always is in it."""

Read = Callable[..., pl.DataFrame]

_log = logging.getLogger(__name__)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Ledger:
    """The ledgers of all datasets of a home."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, dataset: str) -> Path:
        """Return where a dataset's ledger is."""
        return self.root / dataset / "entries.jsonl"

    def datasets(self) -> list[str]:
        """Return every dataset that has a ledger, sorted."""
        return sorted(file.parent.name for file in self.root.glob("*/entries.jsonl"))

    def size(self, dataset: str) -> int:
        """Return how many bytes a ledger has; what is written once stays as it is."""
        file = self.file(dataset)
        return file.stat().st_size if file.is_file() else 0

    def lines(self, dataset: str, size: int) -> Iterator[bytes]:
        """Yield the lines of the first ``size`` bytes of a ledger."""
        if not size:
            return
        with self.file(dataset).open("rb") as file:
            while size > 0 and (line := file.readline(size)):
                size -= len(line)
                yield line

    def append(self, entry: Mapping[str, Any], lines: Sequence[bytes], read: Read) -> None:
        """Append a committed entry and its rows, and sync; entries that are missing before it come first.

        Call it inside the commit section. A commit stays committed if its ledger cannot be written: that is logged,
        `synth audit verify` tells it, and the next commit makes up for it.

        Args:
            entry: its row of `audit_log`.
            lines: its rows, as `sealed` returned them.
            read: the lake's `read`, for what is missing.
        """
        file = self.file(entry["dataset"])
        try:
            with _opened(file) as handle:
                end, last = last_entry(handle)
                if last.get("commit_key") == entry["commit_key"]:
                    return
                missing = range(last.get("seq", 0) + 1, entry["seq"])
                _append(handle, end, _data(entry, lines, missing, read))
        except (OSError, SynthError) as error:
            _log.warning("entry %s is committed, but not in %s (%s)", entry["seq"], file, type(error).__name__)


def _data(entry: Mapping[str, Any], lines: Sequence[bytes], missing: range, read: Read) -> bytes:
    """Return the lines of an entry, after those of the entries that are missing.

    What these carried is known no more, so the newest entry carries the tables as they are now instead.
    """
    if not missing:
        return b"".join([*lines, entry_line(entry, lines_sha256(lines), is_recovered=False)])
    here = {"dataset": entry["dataset"]}
    lost = read("audit_log", **here, seq=list(missing)).sort("seq")
    tables = [line for name in CARRIED for line in row_lines(name, read(name, **here), here)]
    return b"".join(
        [
            *(entry_line(row, lines_sha256([]), is_recovered=True) for row in lost.iter_rows(named=True)),
            *tables,
            entry_line(entry, lines_sha256(tables), is_recovered=True),
        ]
    )


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    is_new = not file.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)  # the umask decides, as for the catalog
    try:
        yield handle
    finally:
        os.close(handle)
    if is_new:
        for folder in (file.parent, *file.parents[1:3]):  # the dataset's, the root and the home: any may be new
            sync_folder(folder)


def last_entry(handle: int) -> tuple[int, dict[str, Any]]:
    """Return where the last entry line ends, and its seq and commit_key; (0, {}) without one.

    Reads the end of the file only: a line break inside a value is escaped, so an entry line is known by how it begins.
    """
    size, wanted = os.fstat(handle).st_size, TAIL_BYTES
    while True:
        start = max(0, size - wanted)
        tail = os.pread(handle, size - start, start)
        end, entry = _last_entry_in(tail, is_whole=start == 0)
        if entry or start == 0:
            return (start + end if end else 0), entry
        wanted *= 16


def _last_entry_in(tail: bytes, *, is_whole: bool) -> tuple[int, dict[str, Any]]:
    """Find the last entry that can be read; the end is that of the last entry line, whether it can be or not."""
    *lines, torn = tail.split(b"\n")
    end, stop = 0, len(tail) - len(torn)
    for line in reversed(lines if is_whole else lines[1:]):
        if line.startswith(ENTRY):
            end = end or stop
            with suppress(orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                entry = orjson.loads(line)["entry"]
                return end, {"seq": max(0, int(entry["seq"])), "commit_key": entry["commit_key"]}
        stop -= len(line) + 1
    return end, {}


def _append(handle: int, end: int, data: bytes) -> None:
    """Cut what a crash left behind the last entry, then write and sync; a failed write is cut back."""
    if os.fstat(handle).st_size > end:
        os.ftruncate(handle, end)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        _sync(handle)
    except OSError:
        with suppress(OSError):  # if even that fails, the next commit cuts it
            os.ftruncate(handle, end)
        raise
