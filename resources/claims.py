"""The claim on a batch: taken before anything is paid, freed by its holder's death, counted by a fence.

The file lock keeps two processes of one host apart; the fence keeps a process that lost its claim without noticing from
committing.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from synth_assets.domain.transactions import Change, Commit, Lake, Swap
from synth_assets.errors import RefusedError
from synth_assets.recipe.model import RecipeModel
from synth_assets.tables import TABLES

_held: dict[Path, "_Held"] = {}
_mutex = threading.RLock()


@dataclass
class _Held:
    """A lock of this process: `synth run` keeps it while Dagster's runs inside take it again."""

    lock: filelock.FileLock
    fence: int
    holders: int


@dataclass(frozen=True)
class Claim:
    """The right to work on a batch; `guard` goes into every commit made under it."""

    dataset: str
    batch: str
    fence: int

    def guard(self) -> Swap:
        """Return the condition that refuses a commit once somebody else has claimed the batch."""
        return Swap(
            table="batches",
            where={"dataset": self.dataset, "batch": self.batch},
            expect={"fence": self.fence},
            otherwise=f"batch {self.dataset} {self.batch} was claimed by another process in the meantime",
        )


class Claims:
    """Claims held by one run; `release` gives them back."""

    def __init__(self, lake: Lake, home: Path, *, on_claim: Callable[[str, str], object] | None = None) -> None:
        """Prepare to claim.

        Args:
            lake: where the fence is counted.
            home: SYNTH_HOME; the locks live in ``home/claims``.
            on_claim: called with (dataset, batch) once a claim is held, e.g. to end what its last holder left behind.
        """
        self._lake = lake
        self._on_claim = on_claim
        self._folder = home / "claims"
        self._mine: list[Path] = []

    def hold(self, model: RecipeModel, batch: str) -> Claim:
        """Claim a batch for the life of this object; claiming it again is free.

        Raises:
            RefusedError: another process works on it; nothing was sent and nothing paid.
        """
        file = self._folder / model.dataset / f"{batch.replace(':', '-')}.lock"
        with _mutex:
            if file in self._mine:
                return Claim(model.dataset, batch, _held[file].fence)
            if file in _held:
                _held[file].holders += 1
            else:
                _held[file] = _Held(self._lock(file, model.dataset, batch), 0, 1)
                try:
                    _held[file].fence = self._raise_fence(model, batch)
                except BaseException:
                    _held.pop(file).lock.release()
                    raise
            self._mine.append(file)
            if self._on_claim is not None:
                self._on_claim(model.dataset, batch)
            return Claim(model.dataset, batch, _held[file].fence)

    def release(self) -> None:
        """Give back every claim of this object."""
        with _mutex:
            for file in self._mine:
                held = _held[file]
                held.holders -= 1
                if held.holders == 0:
                    _held.pop(file)
                    held.lock.release()
            self._mine.clear()

    def _lock(self, file: Path, dataset: str, batch: str) -> filelock.FileLock:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(file, timeout=0, thread_local=False)
        holder = file.with_suffix(".holder")
        try:
            lock.acquire()
        except filelock.Timeout:
            who = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
            raise RefusedError(
                f"{dataset} {batch} is being worked on by {who}; nothing was sent",
                where=str(file),
                fix="wait until it has finished, then run the same command again",
            ) from None
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        return lock

    def _raise_fence(self, model: RecipeModel, batch: str) -> int:
        where = {"dataset": model.dataset, "batch": batch}
        known = self._lake.read("batches", **where)
        if known.is_empty():
            row = {
                **where,
                "promised": model.batch.accept,
                "max_attempts": model.batch.max_attempts,
                "attempts": 0,
                "open_attempt": None,
                "current_from": 0,
                "fence": 1,
                "short_accepted_by": None,
                "opened_at": datetime.now(UTC),
            }
            changes, swaps, fence = [Change("batches", TABLES["batches"].frame([row]))], [], 1
        else:
            fence = int(known["fence"][0]) + 1
            changes, swaps = [], [Swap("batches", where, {"fence": fence - 1}, {"fence": fence})]
        receipt = self._lake.commit(
            Commit(
                dataset=model.dataset,
                key=f"claim:{model.dataset}:{batch}:{fence}",
                action="claim",
                run_id="",
                details={"batch": batch, "fence": fence, "host": socket.gethostname(), "pid": os.getpid()},
                changes=changes,
                swaps=swaps,
            )
        )
        if receipt.was_replayed:  # on another host, where our lock file means nothing
            raise RefusedError(
                f"{model.dataset} {batch} was claimed by another process at the same moment; nothing was sent",
                where=f"batches {where}",
                fix="wait until it has finished, then run the same command again",
            )
        return fence


@contextmanager
def cutting(home: Path, dataset: str) -> Iterator[None]:
    """Hold the right to cut or verify a version of a dataset: two who cut the same number write the same folder.

    Raises:
        RefusedError: another process does so right now; nothing was changed.
    """
    file = home / "claims" / dataset / "version.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(file, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RefusedError(
            f"another process is cutting or verifying a version of {dataset}; nothing was changed",
            where=str(file),
            fix="wait until it has finished, then run the same command again",
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_free(home: Path, dataset: str, batch: str) -> bool:
    """Whether nobody holds the claim on a batch right now."""
    file = home / "claims" / dataset / f"{batch.replace(':', '-')}.lock"
    if not file.exists():
        return True
    lock = filelock.FileLock(file, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return False
    lock.release()
    return True
