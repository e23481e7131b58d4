"""The journal: every paid answer on disk before it is used, and every call that ended without one.

One append-only segment per process under ``<home>/journal/<dataset>/<batch>/``; a line is a checksum and the sorted
JSON of one answer, or of how a call ended that brought none. Room for what a call may bring is reserved on disk before
it is sent. What is worth keeping and what it means is decided in `resources.llm`.
"""

import asyncio
import hashlib
import queue
import threading
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from resources.segment import SHORT_OF_ROOM, Segment
from synth_assets.domain.ports import Answer
from synth_assets.errors import OPEN_FILES, TOO_MANY_FILES, IntegrityError, StoppedError, UsageError
from synth_assets.vocabulary import QuarantineReason

GROUP_RECORDS = 32
"""Records that share one fdatasync at most; more gave no gain."""

GROUP_S = 0.015
"""How long the first record of a group waits for company, in seconds."""

CHECKSUM_LENGTH = 16

OF_AVERAGE = 2
"""Room for a line is at least so many times the average of those before, whatever a call was told to keep to."""


class NoRoomError(StoppedError):
    """The disk has no room for a line of the journal; a shorter one may still find it."""


@dataclass(frozen=True)
class Failure:
    """How a call ended for good that brought no answer of use.

    Attributes:
        reason: what it is quarantined with.
        tries: HTTP requests made for it.
    """

    call_id: str
    reason: QuarantineReason
    tries: int


@dataclass(frozen=True)
class Lost:
    """A try that was sent and abandoned: it ends nothing, but it may have to be paid.

    Attributes:
        tries: how many; 1.
    """

    call_id: str
    tries: int = 1


Record = Answer | Failure


@dataclass(frozen=True)
class _Item:
    record: Record | Lost
    line: bytes
    done: asyncio.Future[None] | None


class Journal:
    """How the calls of one batch ended: those of earlier processes to read, those of this one to append.

    A record counts from the moment it is on disk; `get` never returns one that is not. The segment is written by a
    thread of its own, so the event loop never waits for the disk; it wakes once per group, because to wake it for every
    record takes more CPU than to write one.
    """

    def __init__(self, folder: Path, records: dict[str, Record], lost: Counter[str]) -> None:
        self._folder = folder
        self._records = records
        self.lost = lost
        """Tries of each call that were abandoned, by its id."""
        self._group: list[_Item] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: queue.SimpleQueue[list[_Item] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._segment: Segment | None = None
        self._beginning = threading.Lock()
        self._reserved: dict[str, int] = {}
        self._reserved_bytes = self._gathered_bytes = self._gathered_lines = 0
        self._failure: StoppedError | None = None
        self._is_closed = False

    @classmethod
    def open(cls, home: Path, dataset: str, batch: str, calls: Container[str] | None = None) -> "Journal":
        """Read every segment of a batch; nothing is created before the first append.

        Args:
            home: SYNTH_HOME.
            dataset: names the folder.
            batch: names the folder.
            calls: ids of the calls that will be asked for; None keeps every record in memory.

        Raises:
            IntegrityError: a line that is not the torn end of a segment has the wrong checksum.
            UsageError: the dataset or batch is no name of a folder.
        """
        for name in (dataset, batch):
            if not name or name.startswith(".") or Path(name).name != name:
                raise UsageError(
                    f"{name!r} cannot name a folder", where="the journal", fix="use letters, digits, - and _"
                )
        folder = home / "journal" / dataset / batch
        records: dict[str, Record] = {}
        lost: Counter[str] = Counter()
        for segment in sorted(folder.glob("*.jsonl")):
            for record in _read(segment):
                if calls is not None and record.call_id not in calls:
                    continue
                if isinstance(record, Lost):
                    lost[record.call_id] += record.tries
                else:
                    records.setdefault(record.call_id, record)
        return cls(folder, records, lost)

    def get(self, call_id: str) -> Record | None:
        """Return how this call ended, None if nothing about it is on disk."""
        return self._records.get(call_id)

    def reserve(self, call_id: str, size: int) -> None:
        """Keep room on disk for what a call may bring, until it is released; the call may be sent then.

        Args:
            call_id: the call; it is on the wire but once at a time.
            size: bytes its line takes at most.

        Raises:
            StoppedError: there is none; whatever was reserved before stays.
        """
        size = max(size, OF_AVERAGE * self._gathered_bytes // max(1, self._gathered_lines))
        try:
            self._begun().make_room(self._gathered_bytes + self._reserved_bytes + size)
        except OSError as error:
            raise _disk_stop(error, self._folder) from None
        self._reserved[call_id] = size
        self._reserved_bytes += size

    def release(self, call_id: str) -> None:
        """Let go of what was reserved for a call; what it brought has been handed over by then, or never will be."""
        self._reserved_bytes -= self._reserved.pop(call_id, 0)

    async def append(self, request_id: str, record: Record) -> None:
        """Return when the record is on disk; of several records of one call the first stays.

        Raises:
            NoRoomError: the disk has no room for it; another record may be short enough.
            StoppedError: it could not be written; nothing that was on disk is lost.
        """
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._gather(_Item(record, encode(request_id, record), done))
        if self._group and (self._gathering is None or self._loop is not loop):
            self._gathering, self._loop = loop.call_later(GROUP_S, self._hand_over), loop
        await done

    def note(self, request_id: str, failure: Failure) -> None:
        """Append a call that cost nothing; on disk when the journal is closed, unless the disk is full."""
        self._gather(_Item(failure, encode(request_id, failure), None))

    def lose(self, request_id: str, call_id: str) -> None:
        """Append that a try was abandoned; on disk when the journal is closed, unless the disk is full."""
        self.lost[call_id] += 1
        record = Lost(call_id)
        self._gather(_Item(record, encode(request_id, record), None))

    def close(self) -> None:
        """Write what is still gathered and close the segment; may be called twice."""
        self._hand_over()
        self._is_closed = True
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _gather(self, item: _Item) -> None:
        if self._is_closed:
            raise RuntimeError("append to a closed journal")
        self._group.append(item)
        self._gathered_bytes += len(item.line)
        self._gathered_lines += 1
        if len(self._group) == GROUP_RECORDS:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the writer have what was gathered."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        group, self._group = self._group, []
        if not group:
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_groups, name="journal", daemon=True)
            self._writer.start()
        self._queue.put(group)

    def _begun(self) -> Segment:
        with self._beginning:  # the writer begins it where nothing was reserved
            self._segment = self._segment or Segment(self._folder)
            return self._segment

    def _write_groups(self) -> None:
        while group := self._queue.get():
            failure = self._written(group)
            if isinstance(failure, NoRoomError) and len(group) > 1:
                for item in group:  # one that is larger than it was to be leaves room for others
                    _settle([item], self._written([item]))
            else:
                _settle(group, failure)

    def _written(self, group: Sequence[_Item]) -> StoppedError | None:
        """Write lines, all or none; return why they could not be."""
        if self._failure is not None:
            return self._failure
        try:
            self._begun().write(b"".join(item.line for item in group))
        except OSError as error:
            failure = _disk_stop(error, self._folder)
            if not isinstance(failure, NoRoomError):
                self._failure = failure
            return failure
        for item in group:
            if not isinstance(item.record, Lost):
                self._records.setdefault(item.record.call_id, item.record)
        return None


def prefixes(home: Path, dataset: str, batch: str = "*") -> list[tuple[str, str, int, str]]:
    """Return batch, name, bytes and sha256 of every segment with a line, sorted; ``batch`` leaves others out."""
    found = sorted((home / "journal" / dataset).glob(f"{batch}/*.jsonl"))
    return [(file.parent.name, file.name, *_hashed(file)) for file in found if file.stat().st_size]


def prefixes_of(
    home: Path, dataset: str, bound: Mapping[tuple[str, str], tuple[int, str]]
) -> dict[tuple[str, str], tuple[int, str]]:
    """Return bytes and sha256 of the beginning of every bound segment, as long as it was bound; fewer if it is shorter.

    Args:
        home: SYNTH_HOME.
        dataset: whose journal.
        bound: bytes and sha256 by (batch, segment).
    """
    folder = home / "journal" / dataset
    return {
        (batch, name): _hashed(folder / batch / name, size)
        for (batch, name), (size, _) in bound.items()
        if (folder / batch / name).is_file()
    }


def _hashed(file: Path, size: int = -1) -> tuple[int, str]:
    with file.open("rb") as segment:
        data = segment.read(size)
    return len(data), hashlib.sha256(data).hexdigest()


def encode(request_id: str, record: Record | Lost) -> bytes:
    """Return the journal line of a record: checksum, space, sorted JSON, newline."""
    kind = "answer" if isinstance(record, Answer) else "lost" if isinstance(record, Lost) else "failure"
    body = orjson.dumps({"request_id": request_id, kind: vars(record)}, option=orjson.OPT_SORT_KEYS)
    return _checksum(body) + b" " + body + b"\n"


def decode(line: bytes) -> Record | Lost | None:
    """Return the record of a journal line, None if the line is not what was written."""
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or _checksum(body) != checksum:
        return None
    document = orjson.loads(body)
    if "lost" in document:
        return Lost(**document["lost"])
    if "failure" in document:
        failure = document["failure"]
        return Failure(**failure | {"reason": QuarantineReason(failure["reason"])})
    fields: dict[str, Any] = document["answer"]
    logprob = fields["mean_logprob"]  # segments of an earlier time hold numbers as strings
    fields["mean_logprob"] = None if logprob is None else float(logprob)
    fields["latency_s"] = float(fields["latency_s"])
    fields["generated_at"] = datetime.fromisoformat(fields["generated_at"])
    return Answer(**fields)


def _read(segment: Path) -> Iterator[Record | Lost]:
    """Read a segment; broken lines are forgiven only where no whole line follows, as a crash leaves them."""
    broken: int | None = None
    with segment.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            record = decode(line)
            if record is None:
                broken = broken or number
            elif broken is not None:
                raise IntegrityError(
                    "a line of the journal is not what was written",
                    where=f"{segment}, line {broken}",
                    fix="restore the segment from a backup; without one, delete that line and its answer is paid again",
                )
            else:
                yield record


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:CHECKSUM_LENGTH].encode()


def _disk_stop(error: OSError, folder: Path) -> StoppedError:
    cure = OPEN_FILES if error.errno in TOO_MANY_FILES else "free disk space there"
    kind = NoRoomError if error.errno in SHORT_OF_ROOM else StoppedError
    return kind(
        f"an answer could not be journaled: {error.strerror or type(error).__name__}",
        where=str(folder),
        fix=f"{cure}, then run the same command again; what is journaled stays",
    )


def _settle(group: Sequence[_Item], failure: StoppedError | None) -> None:
    """Tell the waiting coroutines, one wake-up per event loop and group."""
    waiting = [item.done for item in group if item.done is not None]
    for loop in {done.get_loop() for done in waiting}:
        with suppress(RuntimeError):  # the loop was closed while the group was written: nobody waits any more
            loop.call_soon_threadsafe(_resolve, [done for done in waiting if done.get_loop() is loop], failure)


def _resolve(futures: list[asyncio.Future[None]], failure: StoppedError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
