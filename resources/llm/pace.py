"""How fast requests may be sent: a provider's rate limit, found from what it refuses and then kept.

A state machine without clock, loop or timer: the time is an argument. Nothing is slowed down until refusals are
sustained. Then no request of any row is sent until the Retry-After is over, and from there on requests are paced at the
rate that was admitted between two exhaustions. The pace grows, ever more slowly, and a refusal at the pace corrects it.
"""

import math
from collections import deque

SEEN, SUSTAINED = 16, 8
"""A limit is recognised when so many of so many requests sent one after the other were refused.

They are counted in the order of sending: a refusal comes back in a millisecond, an answer takes its time, so in the
order of completion a few stray refusals look like a wall.
"""

SHORTEST_GATE_S = 0.05
LONGEST_GATE_S = 60.0
"""Bounds of the wait after an exhaustion when the provider names none, or names one and still admits nothing."""

FEW = 8
"""Requests admitted between two exhaustions below which they say nothing about the rate."""

CAUTION = 0.97
"""What is kept of the pace at which a limit was met: meeting it again costs a whole Retry-After."""

CUT = 0.7
"""What is kept of the pace when hardly anything was admitted."""

STRAY = 0.8
"""A refusal at less than this share of a rate that was admitted before says nothing about the rate."""

DOUBT = 0.9
"""What is kept of the belief in that rate when such a refusal comes."""

FLOOR = 0.6
"""Share of such a rate below which the pace is not lowered: below `STRAY`, so that strays cannot push it to nothing."""

LOST = 0.1
"""A pace that fell to this share of the first one has found no limit: refusals do not follow it. Begin anew."""

GROWTH = 0.03
GROWTH_SLOWDOWN = 4
SLOWEST = 256
"""The pace grows by the factor ``exp(GROWTH * (t / gate / stretch) ** 2)``; the stretch grows at every exhaustion.

A first rate is a lower bound that may be far off, so growth begins fast. Later ones are close, and a try for more that
fails costs a whole gate.
"""

BURST = 2
"""Requests a late timer may make up for at once."""

REMEMBERED = 1024
"""Sends from which the latest rate is read."""


class Pace:
    """Says when the next request may be sent; one per run.

    Attributes:
        rate: requests per second it paces at, growth apart; None while no limit is known.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self._gate_at = self._next_at = -math.inf
        self._gate_s = SHORTEST_GATE_S
        self._sent = self._closed_by = 0
        self._refused: deque[int] = deque(maxlen=REMEMBERED)
        self._open_since: float | None = None
        self._admitted = 0
        self._times: deque[float] = deque(maxlen=REMEMBERED)
        self._first = self._proven = 0.0
        self._stretch = 1
        self._believed = 0

    def opens_at(self) -> float:
        """Return the time before which nothing may be sent."""
        return max(self._gate_at, self._next_at)

    def sent(self, now: float) -> int:
        """Note that a request is sent; return its number."""
        if self._open_since is None:
            self._open_since = now
        self._sent += 1
        self._admitted += 1  # until it is refused
        if self.rate is not None:
            self._times.append(now)
            pace = self._pace(now)
            self._next_at = max(self._next_at, now - BURST / pace) + 1 / pace
        return self._sent

    def refused(self, number: int, now: float, wait_s: float) -> bool:
        """Note a refusal; return whether a limit on all requests is the cause, not this row.

        Args:
            number: of the request, as `sent` returned it.
            now: the time.
            wait_s: what the provider asks for before the next request, in seconds; 0 if it does not say.
        """
        self._refused.append(number)
        if number <= self._closed_by:  # it was under way when the gate was shut
            self._shut(now + wait_s)
            self._recount()
            return True
        self._admitted -= 1
        oldest = max(number - SEEN, self._closed_by)
        is_sustained = sum(oldest < each <= number for each in self._refused) >= SUSTAINED
        is_at_pace = self._admitted <= 0 or self._pace(now) >= STRAY * self._proven
        if is_sustained or (self.rate is not None and is_at_pace):
            self._exhausted(now, wait_s, is_sustained=is_sustained)
        elif self.rate is not None:
            self._shut(now + wait_s)
            self._proven *= DOUBT
        return self.rate is not None

    def _exhausted(self, now: float, wait_s: float, *, is_sustained: bool) -> None:
        """Shut the gate and learn from what was admitted since it opened."""
        opened = now if self._open_since is None else self._open_since
        span = max(0.0, now - opened)
        gate_s = max(wait_s, SHORTEST_GATE_S)
        if self._admitted <= 0:
            gate_s = wait_s = max(gate_s, min(LONGEST_GATE_S, 2 * self._gate_s))
        least = max(1, self._admitted) / (span + gate_s)  # all that was admitted, the coming wait included
        self._believed = self._admitted if self.rate is None else 0
        if self.rate is None:
            self.rate = self._first = self._proven = least
        else:
            self.rate = self._corrected(now, span, gate_s, least, is_sustained=is_sustained)
        self._shut(now + wait_s)
        self._gate_s, self._open_since, self._admitted, self._closed_by = gate_s, self._gate_at, 0, self._sent
        self._times.clear()

    def _recount(self) -> None:
        """Correct the first rate, which took what was still under way for admitted."""
        if self._believed > 1 and self.rate is not None:
            self.rate *= (self._believed - 1) / self._believed
            self._first = self._proven = self.rate
            self._believed -= 1

    def _corrected(self, now: float, span: float, gate_s: float, least: float, *, is_sustained: bool) -> float | None:
        """Return the rate to go on with; ``least`` is a lower bound unless a rested provider let a burst through."""
        assert self.rate is not None  # noqa: S101 - the caller has looked
        if is_sustained or span >= 2 * gate_s:
            self._proven = least
        if self._admitted < FEW:
            rate = max(least, CUT * self.rate)
        else:
            rate = max(least, CAUTION * self._latest(now, span, gate_s, least))
            self._stretch = min(SLOWEST, self._stretch * GROWTH_SLOWDOWN)
        rate = max(rate, FLOOR * self._proven)
        if self._admitted > 0 and rate < LOST * self._first:
            self._stretch, self._proven = 1, 0.0
            return None
        return rate

    def _latest(self, now: float, span: float, gate_s: float, least: float) -> float:
        """Return the rate at which the limit was met: over the last gate's length, which is as long as it can be."""
        length = max(gate_s, FEW / self._pace(now))
        if span >= length:
            late = [at for at in self._times if at > now - length]
            return len(late) / (length if len(late) < REMEMBERED else now - late[0])
        return self._admitted / span if span > length / 2 else least

    def _pace(self, now: float) -> float:
        rested = max(0.0, now - self._gate_at) / (self._gate_s * self._stretch)
        return (self.rate or math.inf) * math.exp(min(5.0, GROWTH * rested**2))

    def _shut(self, until: float) -> None:
        self._gate_at = self._next_at = max(self._gate_at, until)
