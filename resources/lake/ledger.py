"""The ledger: the audit chain once more, as append-only files beside the catalog, with the rows a rebuild needs.

``<root>/<dataset>/entries.jsonl`` is written inside the commit section: intent and rows before the commit, the entry
after it.
What its lines say is decided in `synth_assets.domain.ledger`.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from resources.objects import sync_folder
from synth_assets.domain.ledger import (
    ENTRY,
    FIRST_HEAD,
    INTENT,
    entry_line,
    intended_by,
    intent_line,
    lines_sha256,
    recorded,
)
from synth_assets.errors import IntegrityError
from synth_assets.tables import FORMAT

TAIL_BYTES = 16_384
"""How much of the end is read first; the last entry line nearly always is in it."""

INTENT_BYTES = 1_024
"""More than a line with an intent has."""

_log = logging.getLogger(__name__)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(frozen=True)
class End:
    """The end of a ledger.

    Attributes:
        seq: place of its last entry; 0 if it has none.
        sha256: hash of that entry.
        intended: hash of the entry that the lines behind it intend; None if there are none.
        is_clean: whether nothing stands behind it but what a commit leaves that never happened: an intent and rows,
            or a line that was being written.
    """

    seq: int
    sha256: str
    intended: str | None
    is_clean: bool = True


NOTHING = End(0, FIRST_HEAD, None)


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

    def end(self, dataset: str) -> End:
        """Return the last entry of a dataset's ledger, and what was about to follow it."""
        file = self.file(dataset)
        if not file.is_file():
            return NOTHING
        handle = os.open(file, os.O_RDONLY)
        try:
            end, last = last_entry(handle)
            left = os.pread(handle, INTENT_BYTES, end)
            is_clean = left.startswith(INTENT) or b"\n" not in os.pread(handle, os.fstat(handle).st_size - end, end)
            is_clean &= last.get("is_last", end == 0)
        finally:
            os.close(handle)
        place, sha = last.get("seq", 0), str(last.get("entry_sha256", FIRST_HEAD))
        return End(place, sha, intended_by(_split(left)[0]), is_clean=is_clean)

    def sha256_of(self, dataset: str, seq: int) -> str | None:
        """Return the hash of an entry; None if the ledger has none of that number."""
        found = recorded(self.lines(dataset, self.size(dataset)))
        told = (record.told["entry"] for record in found if record.seq == seq)
        return next((str(entry.get("entry_sha256")) for entry in told), FIRST_HEAD if not seq else None)

    def prepare(self, entry: Mapping[str, Any], lines: Sequence[bytes]) -> None:
        """Write the intent and the rows of a commit that is about to happen, and sync; inside the commit section.

        Until the entry follows they count for nothing, and the next commit cuts them off. But should the process die
        right after its commit, they are there to complete it.

        Args:
            entry: the row of `audit_log` it will make.
            lines: its rows.
        """
        with _opened(self.file(entry["dataset"])) as handle:
            end, _ = last_entry(handle)
            _append(handle, end, b"".join([intent_line(entry), *lines]))

    def append(self, entry: Mapping[str, Any], lines: Sequence[bytes]) -> None:
        """Append a committed entry behind its rows, and sync; call it inside the commit section.

        A commit stays committed if its entry cannot be written: that is logged, and the next commit makes up for it.

        Args:
            entry: its row of `audit_log`.
            lines: its rows, as they were prepared.
        """
        file = self.file(entry["dataset"])
        try:
            with _opened(file) as handle:
                _, last = last_entry(handle)
                if last.get("seq") != entry["seq"]:
                    size = os.fstat(handle).st_size
                    _append(handle, size, entry_line(entry, lines_sha256(lines), is_recovered=False))
        except OSError as error:
            _log.warning("entry %s is committed, but not in %s (%s)", entry["seq"], file, type(error).__name__)

    def repair(self, entry: Mapping[str, Any], promised: str, *, form: int) -> None:
        """Complete a commit whose process died before it could write the entry; inside the commit section.

        Args:
            entry: its row of `audit_log`.
            promised: what the entry says is the hash of its lines.
            form: of the entry; the rows of the first were written after the commit and may be gone, so those entries
                come back without them, marked, and the migration writes what the tables hold.

        Raises:
            IntegrityError: the lines at the end of the ledger do not intend this entry, or are not those it promises.
        """
        file = self.file(entry["dataset"])
        with _opened(file) as handle:
            end, _ = last_entry(handle)
            if form < FORMAT:
                _append(handle, end, entry_line(entry, lines_sha256([]), is_recovered=True))
                return
            left = os.pread(handle, os.fstat(handle).st_size - end, end)
            whole = left[: left.rfind(b"\n") + 1]  # its entry may have been half written
            intent, rows = _split(whole)
            if intended_by(intent) != entry["entry_sha256"] or lines_sha256([rows]) != promised:
                raise IntegrityError(
                    f"entry {entry['seq']} is in the catalog, and its rows are not in the ledger",
                    where=str(file),
                    fix="restore the ledger from a backup that is as new as the catalog",
                )
            _append(handle, end + len(whole), entry_line(entry, promised, is_recovered=False))


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Return the first line and the rest."""
    first = data.find(b"\n") + 1
    return data[:first], data[first:]


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
    """Return where the last entry line ends, and of the last one that can be read seq, entry_sha256 and ``is_last``.

    (0, {}) without one. Reads the end of the file only: a line break inside a value is escaped, so an entry line is
    known by how it begins.
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
                seq = max(0, int(entry["seq"]))
                return end, {"seq": seq, "entry_sha256": entry["entry_sha256"], "is_last": stop == end}
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
