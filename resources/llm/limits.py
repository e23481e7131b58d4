"""What bounds a run: how often and how long a call is tried, what may be spent, and what a person does after a stop."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from resources.llm.answers import Fault
from synth_assets.domain.ports import Answer, Call, Provider
from synth_assets.vocabulary import QuarantineReason

BYTES_PER_TOKEN = 2
"""Low on purpose: until a first answer came, the cost of a call is estimated from above."""

STOPS = {
    QuarantineReason.UNAUTHORIZED: "check SYNTH_LLM_API_KEY and what it may use, then run the same command again",
    QuarantineReason.QUOTA_EXHAUSTED: "top up the account or wait for its next period, then run the same command again",
    QuarantineReason.UNREACHABLE: "check SYNTH_LLM_BASE_URL and the network, then run the same command again",
    QuarantineReason.BUDGET_SPENT: "raise `budget_usd` in the recipe, then run the same command again",
    QuarantineReason.STOPPED: "run the same command again: it goes on where it stopped",
}


@dataclass(frozen=True)
class Patience:
    """How long and how often a call is tried.

    Attributes:
        concurrency: tries on the wire at once.
        deadline_s: total time of one call from its first try, waiting included, in seconds.
        max_tries: HTTP requests per call.
        backoff_s: first wait when the provider names none, in seconds; doubled with every try.
    """

    concurrency: int
    deadline_s: float
    max_tries: int
    backoff_s: float = 0.5


@dataclass(slots=True)
class Row:
    """A call on its way.

    Attributes:
        places: indices of the plan that share it.
        tries: HTTP requests made for it.
        excused: those of them that a limit on all requests refused.
        deadline_at: when its time is up; None before its first try, and after an excused one.
        fault: what its last try met.
    """

    call: Call
    places: list[int]
    tries: int = 0
    excused: int = 0
    first_try_at: float = 0.0
    deadline_at: float | None = None
    fault: Fault | None = None

    def jitter(self) -> float:
        """Return a number from 0 to 1 that is its own for each try, and the same in every run."""
        return random.Random(self.call.seed + self.tries).random()  # noqa: S311 - spreads waits, keeps no secret


@dataclass
class Purse:
    """What may still be spent; without a limit everything may.

    A try is let go only if what was spent, what is on the wire (at the mean cost so far) and itself stay within it.
    """

    provider: Provider
    limit_usd: float | None
    spent_usd: float = 0.0
    answers: int = 0

    def allows(self, call: Call, on_the_wire: int) -> bool:
        """Whether one more try keeps within the limit."""
        if self.limit_usd is None:
            return True
        mean = self.spent_usd / self.answers if self.answers else self._ceiling(call)
        return self.spent_usd + (on_the_wire + 1) * mean <= self.limit_usd

    def pay(self, call: Call, answer: Answer) -> None:
        """Book an answer; one without token counts is booked at what it can cost at most."""
        price = self.provider.price
        cost = price.of(answer.input_tokens, answer.output_tokens) if price else None
        self.spent_usd += self._ceiling(call) if cost is None else cost
        self.answers += 1

    def pay_unread(self, call: Call) -> None:
        """Book an answer nothing could be read from at what it can cost at most."""
        self.spent_usd += self._ceiling(call)
        self.answers += 1

    def _ceiling(self, call: Call) -> float:
        text = call.prompt if isinstance(call.prompt, str) else "".join(str(part) for part in call.prompt)
        most = call.params.get("max_tokens")
        tokens = len(text.encode()) // BYTES_PER_TOKEN + 1
        cost = self.provider.price.of(tokens, most if isinstance(most, int) else 0) if self.provider.price else None
        return cost or 0.0


def rows_of(calls: Iterable[Call]) -> list[Row]:
    """Return one row per distinct call, in plan order: two requests that send the same thing send it once."""
    rows: dict[str, Row] = {}
    for place, call in enumerate(calls):
        if call.call_id in rows:
            rows[call.call_id].places.append(place)
        else:
            rows[call.call_id] = Row(call, [place])
    return list(rows.values())
