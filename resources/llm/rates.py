"""How fast a provider may be asked at most, as its profile says; kept from the first request on.

A state machine without clock, loop or timer: the time is an argument. What a provider refuses although it is asked no
faster is found and kept by `pace`.
"""

import math

from synth_assets.domain.costs import most_tokens
from synth_assets.domain.ports import Answer, Call

LATE_S = 1.0
"""A late timer may make up for so much time at once; what is idle for longer is not saved up."""


class Meter:
    """An even flow of so many units per minute: after ``n`` units nothing passes for the time that ``n`` units take.

    Source:
        The generic cell rate algorithm, ITU-T I.371: a token bucket without its counter.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._unit_s = 60 / per_minute if per_minute else 0.0
        self._next_at = -math.inf

    def opens_at(self) -> float:
        """Return the time before which nothing may pass."""
        return self._next_at

    def take(self, amount: float, now: float) -> None:
        """Let ``amount`` units pass now; the time must have come."""
        if self._unit_s:
            self._next_at = max(self._next_at, now - LATE_S) + amount * self._unit_s

    def give_back(self, amount: float) -> None:
        """Take back units that were counted but not used; a negative amount counts more."""
        self._next_at -= amount * self._unit_s


class Rate:
    """The limits of one provider on requests and tokens; all its runs in this process share it.

    Args:
        requests_per_minute: None for no limit.
        tokens_per_minute: of prompts and answers together; None for no limit.
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self._requests = Meter(requests_per_minute)
        self._tokens = Meter(tokens_per_minute) if tokens_per_minute else None

    def opens_at(self) -> float:
        """Return the time before which nothing may be sent."""
        opens_at = self._requests.opens_at()
        return opens_at if self._tokens is None else max(opens_at, self._tokens.opens_at())

    def sent(self, now: float, call: Call) -> None:
        """Note a request; until its answer says what it took, the most it can take is counted."""
        self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(_most(call), now)

    def took(self, call: Call, answer: Answer) -> None:
        """Correct the count of a request by what its answer took, if it says so."""
        if self._tokens is not None and answer.input_tokens is not None and answer.output_tokens is not None:
            self._tokens.give_back(_most(call) - answer.input_tokens - answer.output_tokens)


def _most(call: Call) -> int:
    asked = call.params.get("max_tokens")
    return most_tokens(call) + (asked if isinstance(asked, int) else 0)
