"""Rate limits as providers have them, and a client that obeys a `Pace`, both on a clock that only tests move."""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from resources.llm.pace import Pace

REFUSAL_S = 0.001
LATENCY_S = 0.2


class Limit(Protocol):
    """Decides whether a request is admitted."""

    rate: float

    def admits(self, now: float) -> bool: ...


@dataclass
class Bucket:
    """Admits `burst` at once when rested, and `rate` per second in the long run."""

    rate: float
    burst: float
    filled_at: float = 0.0
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.burst

    def admits(self, now: float) -> bool:
        self.left = min(self.burst, self.left + (now - self.filled_at) * self.rate)
        self.filled_at = now
        is_admitted = self.left >= 1
        self.left -= is_admitted
        return is_admitted


@dataclass
class Window:
    """Admits so many in any stretch of so many seconds."""

    most: int
    length_s: float
    admitted: deque[float] = field(default_factory=deque)

    @property
    def rate(self) -> float:
        return self.most / self.length_s

    def admits(self, now: float) -> bool:
        while self.admitted and self.admitted[0] <= now - self.length_s:
            self.admitted.popleft()
        is_admitted = len(self.admitted) < self.most
        if is_admitted:
            self.admitted.append(now)
        return is_admitted


@dataclass
class NoLimit:
    """Admits everything."""

    rate: float = math.inf

    def admits(self, now: float) -> bool:
        return True


@dataclass
class Worked:
    """What became of a run.

    Attributes:
        took_s: until the last answer.
        refused: requests refused.
        early: requests sent inside a wait that the pace had recognised as everybody's.
        most_tries: of one row.
    """

    took_s: float = 0.0
    refused: int = 0
    early: int = 0
    most_tries: int = 0


class Client:
    """Keeps `concurrency` requests under way, refused rows first once their wait is over."""

    def __init__(
        self, pace: Pace, limit: Limit, *, wait_s: float, concurrency: int = 64, stray: float = 0.0, seed: int = 0
    ) -> None:
        self._pace, self._limit, self._wait_s, self._concurrency = pace, limit, wait_s, concurrency
        self._stray, self._dice = stray, random.Random(seed)
        self._now, self._shut_until = 0.0, -math.inf
        self._on_wire: list[tuple[float, int, int, bool]] = []
        self._waiting: list[tuple[float, int]] = []
        self.found = Worked()

    def work_off(self, rows: int) -> Worked:
        fresh, tries = deque(range(rows)), [0] * rows
        done = 0
        while done < rows:
            self._fill(fresh, tries)
            self._now = max(self._now, self._next_event(bool(fresh)))
            while self._on_wire and self._on_wire[0][0] <= self._now:
                _, number, row, is_admitted = heapq.heappop(self._on_wire)
                done += is_admitted
                if not is_admitted:
                    self._refused(number, row)
        self.found.took_s, self.found.most_tries = self._now, max(tries)
        return self.found

    def _fill(self, fresh: deque[int], tries: list[int]) -> None:
        while len(self._on_wire) < self._concurrency and self._pace.opens_at() <= self._now:
            if self._waiting and self._waiting[0][0] <= self._now:
                row = heapq.heappop(self._waiting)[1]
            elif fresh:
                row = fresh.popleft()
            else:
                return
            tries[row] += 1
            self.found.early += self._now < self._shut_until
            number = self._pace.sent(self._now)
            is_admitted = self._dice.random() >= self._stray and self._limit.admits(self._now)
            back_at = self._now + (LATENCY_S if is_admitted else REFUSAL_S)
            heapq.heappush(self._on_wire, (back_at, number, row, is_admitted))

    def _next_event(self, has_fresh: bool) -> float:
        back_at = self._on_wire[0][0] if self._on_wire else math.inf
        if len(self._on_wire) == self._concurrency:
            return back_at
        due = -math.inf if has_fresh else min((at for at, _ in self._waiting), default=math.inf)
        return min(back_at, max(due, self._pace.opens_at()))

    def _refused(self, number: int, row: int) -> None:
        self.found.refused += 1
        if self._pace.refused(number, self._now, self._wait_s):
            self._shut_until = self._now + self._wait_s
        heapq.heappush(self._waiting, (self._now + self._wait_s, row))


def work_off(rows: int, limit: Limit, *, pace: Callable[[], Pace] = Pace, **client: float) -> Worked:
    """Work off so many rows under a limit."""
    return Client(pace(), limit, **client).work_off(rows)
