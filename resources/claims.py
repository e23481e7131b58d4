"""The claim on a batch: taken before anything is paid, freed by its holder's death, counted by a fence.

The lock keeps two processes apart; the fence keeps a process that lost its claim without noticing from committing.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from resources.locks import Lock, claim_lock
from resources.postgres import catalog_server
from synth_assets.domain.transactions import Change, Commit, Lake, Swap
from synth_assets.errors import RefusedError
from synth_assets.recipe.model import RecipeModel
from synth_assets.tables import TABLES

VERSION = "version"
TRAINING = "training"
"""What `cutting` and `training` lock of a dataset; no batch has such a key."""

_held: dict[str, "_Held"] = {}
_mutex = threading.RLock()


@dataclass
class _Held:
    """A lock of this process: `synth run` keeps it while Dagster's runs inside take it again."""

    lock: Lock
    fence: int
    holders: int


@dataclass(frozen=True)
class Claim:
    """The right to work on a batch; `guard` goes into every commit made under it."""

    dataset: str
    batch: str
    fence: int
    lock: Lock = field(repr=False)
    lake: Lake = field(repr=False)

    def is_held(self) -> bool:
        """Whether the batch is still ours: nobody else holds its lock, and nobody was here meanwhile.

        A lock that was only lost - its file removed, its server started anew - is taken again under the same fence.

        Raises:
            StoppedError: the server of the claims does not answer.
        """
        with _mutex:
            if self.lock.is_held():
                return True
            if not self.lock.acquire(wait_s=0):
                return False
            known = self.lake.read("batches", dataset=self.dataset, batch=self.batch)
            if known["fence"].to_list() == [self.fence]:
                return True
            self.lock.release()
            return False

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
            home: SYNTH_HOME; unless the lake's catalog is on a server, the locks are files in ``home/claims``.
            on_claim: called with (dataset, batch) once a claim is held, e.g. to end what its last holder left behind.
        """
        self._lake = lake
        self._on_claim = on_claim
        self._home = home
        self._mine: list[str] = []

    def hold(self, model: RecipeModel, batch: str) -> Claim:
        """Claim a batch for the life of this object; claiming it again is free.

        A lock that its server forgot is taken anew under a higher fence, so what began under the old one cannot commit.

        Raises:
            RefusedError: another process works on it; nothing was sent and nothing paid.
            StoppedError: the server of the claims does not answer.
        """
        lock = _lock(self._home, model.dataset, batch)
        with _mutex:
            held = _held.get(lock.where)
            if held is None:
                held = _Held(lock, self._taken(lock, model, batch), 0)
                _held[lock.where] = held
            elif not held.lock.is_held():
                held.fence = self._taken(held.lock, model, batch)
            if lock.where not in self._mine:
                held.holders += 1
                self._mine.append(lock.where)
                if self._on_claim is not None:
                    self._on_claim(model.dataset, batch)
            return Claim(model.dataset, batch, held.fence, held.lock, self._lake)

    def release(self) -> None:
        """Give back every claim of this object."""
        with _mutex:
            for where in self._mine:
                held = _held[where]
                held.holders -= 1
                if held.holders == 0:
                    _held.pop(where)
                    held.lock.release()
            self._mine.clear()

    def _taken(self, lock: Lock, model: RecipeModel, batch: str) -> int:
        """Take the lock and return the fence it stands for."""
        if not lock.acquire(wait_s=0):
            raise RefusedError(
                f"{model.dataset} {batch} is being worked on by {lock.holder()}; nothing was sent",
                where=lock.where,
                fix="wait until it has finished, then run the same command again",
            )
        try:
            return self._raise_fence(model, batch)
        except BaseException:
            lock.release()
            raise

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
                "broken_attempts": 0,
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
        if receipt.was_replayed:  # by somebody to whom our lock means nothing
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
    with _alone(_lock(home, dataset, VERSION), f"cutting or verifying a version of {dataset}"):
        yield


@contextmanager
def training(home: Path, dataset: str, version: int) -> Iterator[None]:
    """Hold the right to train on a version: of two who begin at once the second would train the same model again.

    Raises:
        RefusedError: another process does so right now; nothing was changed.
    """
    with _alone(_lock(home, dataset, f"{TRAINING}-{version}"), f"training on {dataset} v{version}"):
        yield


@contextmanager
def _alone(lock: Lock, doing: str) -> Iterator[None]:
    if not lock.acquire(wait_s=0):
        raise RefusedError(
            f"another process is {doing}; nothing was changed",
            where=lock.where,
            fix="wait until it has finished, then run the same command again",
        )
    try:
        yield
    finally:
        lock.release()


def is_free(home: Path, dataset: str, batch: str) -> bool:
    """Whether nobody holds the claim on a batch right now; looking never takes it."""
    return not _lock(home, dataset, batch).is_taken()


def _lock(home: Path, dataset: str, batch: str) -> Lock:
    return claim_lock(home, catalog_server(os.environ), dataset, batch)
