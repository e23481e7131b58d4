"""Where `tests.torture` kills: moments seen from outside and named points inside, dealt to the steps of rounds."""

import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.command import DATASET
from tests.fakes.chat_provider import ChatProvider

LATENCY_S = 0.1
"""How long an answer takes."""
KILLS_PER_ROUND = 10
MOST_ROUNDS = 16
ORDER = ("run", "release", "run", "train", "run")
"""Which step a kill hits: three in five `run`, one each `release` and `train`."""


class Signs:
    """What can be seen of a running command from outside."""

    def __init__(self, home: Path, provider: ChatProvider) -> None:
        self.home, self.provider = home, provider

    def requests(self) -> int:
        return len(self.provider.requests)

    def journal(self) -> int:
        return sum(file.stat().st_size for file in self.home.glob(f"journal/{DATASET}/*/*.jsonl"))

    def objects(self) -> int:
        return sum(1 for _ in self.home.glob("objects/*/*"))

    def files(self) -> int:
        return sum(len(names) for _, _, names in os.walk(self.home))

    def commits(self) -> int:
        """Transactions in the lake."""
        try:
            with closing(sqlite3.connect(f"file:{self.home / 'catalog.sqlite'}?mode=ro", uri=True)) as catalog:
                return int(catalog.execute("SELECT count(*) FROM ducklake_snapshot").fetchone()[0])
        except sqlite3.Error:
            return 0

    def writes(self) -> int:
        """Bytes written to the catalog, committed or not."""
        return sum(_bytes(self.home / name) for name in ("catalog.sqlite", "catalog.sqlite-wal"))

    def events(self) -> int:
        """Lines of Dagster's log of runs."""
        total = 0
        for file in self.home.glob("dagster/history/runs/*.db"):
            try:
                with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as events:
                    total += int(events.execute("SELECT count(*) FROM event_logs").fetchone()[0])
            except sqlite3.Error:
                continue
        return total


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True)
class Moment:
    """When to kill: so long after the start, or after a sign has grown by so much, and then so much later.

    An early one comes with the first request at the latest, or the batch would be done before its answers are killed.
    ``blow`` is the signal.
    """

    sign: str
    growth: int = 1
    after_s: float = 0.0
    is_early: bool = False
    blow: int = signal.SIGKILL


@dataclass(frozen=True)
class Place:
    """Where to kill: at the n-th call of a point of `tests.deadly`."""

    point: str
    number: int


Aim = Moment | Place
Dice = random.Random

AIMS: dict[str, list[Callable[[Dice], Aim]]] = {
    "run": [
        lambda dice: Moment("start", after_s=dice.uniform(0, 3), is_early=True),
        lambda dice: Place("rows written, not committed", dice.randint(1, 4)),
        lambda dice: Moment("commits", 1, dice.uniform(0, 0.3), is_early=True),
        lambda dice: Place("journal written", dice.randint(1, 3)),
        lambda dice: Moment("requests", dice.randint(1, 10), dice.uniform(0, LATENCY_S)),
        lambda dice: Place("journal synced", dice.randint(1, 3)),
        lambda dice: Place("object written", dice.randint(1, 2)),
        lambda dice: Place("committed, not in the ledger", dice.randint(1, 3)),
        lambda dice: Moment("journal", 1, dice.uniform(0, LATENCY_S)),
        lambda dice: Place("object renamed", dice.randint(1, 2)),
        lambda dice: Moment("events", dice.randint(20, 60)),
        lambda dice: Place("in the ledger", dice.randint(2, 4)),
        lambda dice: Moment("commits", dice.randint(2, 4), dice.uniform(0, 0.3)),
        lambda dice: Moment("requests", dice.randint(1, 10), dice.uniform(0, LATENCY_S), blow=signal.SIGINT),
        lambda dice: Moment("requests", dice.randint(1, 10), dice.uniform(0, LATENCY_S), blow=signal.SIGTERM),
    ],
    "release": [
        lambda dice: Place("release staged", 1),
        lambda dice: Place("release renamed", 1),
        lambda dice: Moment("events", dice.randint(1, 12)),
        lambda dice: Place("rows written, not committed", 1),
        lambda dice: Place("committed, not in the ledger", 1),
    ],
    "train": [
        lambda dice: Place("object written", 1),
        lambda dice: Place("rows written, not committed", 1),
        lambda dice: Moment("events", dice.randint(1, 12), dice.uniform(0, 1)),
        lambda dice: Place("committed, not in the ledger", 1),
        lambda dice: Place("object renamed", 1),
    ],
}
"""Where each step is killed, in the order of its life as far as there is one."""


STARTING = Moment("start", after_s=0.5)
"""Comes before anything can be done."""


@dataclass(frozen=True)
class Step:
    """A command of a round, and where it is killed before it may finish."""

    arguments: tuple[str, ...]
    aims: tuple[Aim, ...] = ()


def steps(kills: int, seed: int) -> Iterator[Step]:
    """Yield the commands of all rounds, each with its share of the kills."""
    dice = random.Random(seed)
    rounds = min(MOST_ROUNDS, max(1, -(-kills // KILLS_PER_ROUND)))
    decks: dict[str, Iterator[Aim]] = {name: _dealt(makers, dice) for name, makers in AIMS.items()}
    names = [ORDER[place % len(ORDER)] for place in range(kills)]
    per_round = [Counter(names[place * kills // rounds : (place + 1) * kills // rounds]) for place in range(rounds)]
    for number, hits in enumerate(per_round, start=1):
        commands = {
            "run": ("run", DATASET, "--batch", f"2026-11-{number:02}"),
            "release": ("release", DATASET),
            "train": ("train", f"{DATASET}@v{number}"),
        }
        for name, arguments in commands.items():
            yield Step(arguments, tuple(next(decks[name]) for _ in range(hits[name])))


def _dealt(makers: list[Callable[[Dice], Aim]], dice: Dice) -> Iterator[Aim]:
    """Every kind comes once before any comes again."""
    while True:
        for maker in sorted(makers, key=lambda _: dice.random()):
            yield maker(dice)
