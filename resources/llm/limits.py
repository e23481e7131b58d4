"""What bounds a run: how often and how long a call is tried, what may be spent, and what a person does after a stop."""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from resources.journal import Record
from resources.llm.answers import Fault
from synth_assets.domain.costs import bound_usd
from synth_assets.domain.ports import Answer, Call, Provider
from synth_assets.vocabulary import MAY_BE_PAID, QuarantineReason

STOPS = {
    QuarantineReason.UNAUTHORIZED: "check SYNTH_LLM_API_KEY and what it may use, then run the same command again",
    QuarantineReason.QUOTA_EXHAUSTED: "top up the account or wait for its next period, then run the same command again",
    QuarantineReason.UNREACHABLE: "check SYNTH_LLM_BASE_URL and the network, then run the same command again",
    QuarantineReason.BAD_REQUEST: "name what the model takes in providers.yaml, then run the same command again",
    QuarantineReason.BUDGET_SPENT: "raise `budget_usd` in the recipe, then run the same command again",
    QuarantineReason.STOPPED: "run the same command again: it goes on where it stopped",
}


LINE_BYTES = 2048
"""What a line of the journal holds beside the model's words: ids, numbers, and a name that may be long."""

BYTES_PER_TOKEN = 16
"""Of an answer as it is journaled: high on purpose, four times what a token of English takes."""

MOST_TOKENS = 32_768
"""What a recipe may ask for at most; stands in where a call names no limit."""


@dataclass(frozen=True)
class Patience:
    """How long and how often a call is tried.

    Attributes:
        concurrency: tries on the wire at once.
        deadline_s: total time of one call from its first try, waiting included, in seconds.
        max_tries: HTTP requests per call.
        backoff_s: first wait when the provider names none, in seconds; doubled with every try.
        grace_s: how long tries on the wire are waited for once a person wants to stop, in seconds.
    """

    concurrency: int
    deadline_s: float
    max_tries: int
    backoff_s: float = 0.5
    grace_s: float = 20.0


@dataclass(slots=True)
class Row:
    """A call on its way.

    Attributes:
        places: indices of the plan that share it.
        tries: HTTP requests made for it.
        excused: those of them that a limit on all requests refused.
        lost: those of them that were abandoned.
        deadline_at: when its time is up; None before its first try, and after an excused one.
        fault: what its last try met.
    """

    call: Call
    places: list[int]
    tries: int = 0
    excused: int = 0
    lost: int = 0
    first_try_at: float = 0.0
    deadline_at: float | None = None
    fault: Fault | None = None

    def jitter(self) -> float:
        """Return a number from 0 to 1 that is its own for each try, and the same in every run."""
        return random.Random(self.call.seed + self.tries).random()  # noqa: S311 - spreads waits, keeps no secret


def most_bytes(call: Call) -> int:
    """Return the room in the journal that is kept for what a call may bring, in bytes.

    Example:
        >>> most_bytes(Call("c", "r", "a prompt", {"max_tokens": 100}, seed=0))
        3648
    """
    most = call.params.get("max_tokens")
    return LINE_BYTES + BYTES_PER_TOKEN * (most if isinstance(most, int) else MOST_TOKENS)


class Purse:
    """What may still be spent, whoever is asked; without a limit everything may.

    A try is let go only if what was spent, what is on the wire and itself stay within the limit. What has not come back
    yet counts at what it can cost at most: its prompt, all the tokens it may answer with, and no less than the dearest
    answer of its model so far. So does for good what nobody can tell the cost of.

    Args:
        limit_usd: None for no limit.
        provider: whom calls address that name nobody.
    """

    def __init__(self, limit_usd: float | None, provider: Provider) -> None:
        self._limit_usd, self._provider = limit_usd, provider
        self._spent_usd = 0.0
        self._dearest_usd: dict[Provider, float] = {}
        self._held: dict[str, tuple[Provider, float]] = {}
        self._committed_usd = 0.0
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_idle(self) -> bool:
        """Whether no money is on any wire."""
        return not self._held

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever money comes back that somebody may have waited for."""
        self._wakers.append(wake)

    def allows(self, call: Call) -> bool:
        """Whether one more try keeps within the limit; it is held until it is released."""
        if self._limit_usd is None:
            return True
        asked = self._asked(call)
        bound = bound_usd(call, asked.price)
        most = self._at_most(asked, bound)
        if self._spent_usd + self._committed_usd + most > self._limit_usd:
            return False
        self._held[call.call_id] = asked, bound
        self._committed_usd += most
        return True

    def release(self, call: Call) -> None:
        """Let go of what was held for a try."""
        held = self._held.pop(call.call_id, None)
        if held is not None:
            # What floats is not summed up for ever: with nothing on the wire, nothing is committed.
            self._committed_usd = self._committed_usd - self._at_most(*held) if self._held else 0.0
            for wake in self._wakers:
                wake()

    def pay(self, call: Call, answer: Answer) -> None:
        """Book an answer; one without token counts is booked at what it can cost at most."""
        price = self._asked(call).price
        cost = price.of(answer.input_tokens, answer.output_tokens) if price else None
        self._book(call, bound_usd(call, price) if cost is None else cost)

    def pay_unread(self, call: Call) -> None:
        """Book a try that may be paid, and of whose cost nothing is known, at what it can cost at most."""
        self._book(call, bound_usd(call, self._asked(call).price))

    def pay_known(self, known: Iterable[tuple[Row, Record]]) -> None:
        """Book what the journal says was paid before, or may have been."""
        for row, record in known:
            if isinstance(record, Answer):
                self.pay(row.call, record)
            elif record.reason in MAY_BE_PAID:
                self.pay_unread(row.call)

    def pay_lost(self, lost: Iterable[tuple[Row, int]]) -> None:
        """Book tries that were abandoned before."""
        for row, tries in lost:
            for _ in range(tries):
                self.pay_unread(row.call)

    def _book(self, call: Call, cost_usd: float) -> None:
        self._spent_usd += cost_usd
        asked = self._asked(call)
        if cost_usd > self._dearest_usd.get(asked, 0.0):
            self._dearest_usd[asked] = cost_usd
            self._committed_usd = math.fsum(self._at_most(*each) for each in self._held.values())

    def _asked(self, call: Call) -> Provider:
        return call.asks or self._provider

    def _at_most(self, asked: Provider, bound_usd: float) -> float:
        return max(bound_usd, self._dearest_usd.get(asked, 0.0))


def rows_of(calls: Iterable[Call]) -> list[Row]:
    """Return one row per distinct call, in plan order: two requests that send the same thing send it once."""
    rows: dict[str, Row] = {}
    for place, call in enumerate(calls):
        if call.call_id in rows:
            rows[call.call_id].places.append(place)
        else:
            rows[call.call_id] = Row(call, [place])
    return list(rows.values())
