"""A language model without a model: every answer is a pure function of its call, and what was paid is remembered."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from synth_assets.canonical import stored_json
from synth_assets.domain.ports import Answer, Call, Ending, Endings, Provider, Route, Routing, Stop
from synth_assets.recipe import Recipe
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.film_talk import answer_for
from tests.fakes.recipes import COMPLETIONS

CANARY = "quokka"
"""A word in every text that must never be found where text does not belong."""

REFUSAL = " cannot be judged: as an AI language model, I am unable to write a review."
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
OUT_OF_MONEY = Stop(QuarantineReason.QUOTA_EXHAUSTED, where="the fake endpoint", fix="top up the account")


class FakeGenerator:
    """The `Generator` port; a call that was answered before is read from memory, as from a journal.

    Attributes:
        quarantines: how many calls, first in plan order, end without an answer.
        routes: the models it asks, instead of `provider` alone.
        declines: why the answer to a call is of no use although it is paid, None if it is of use.
        fails: why a call gets no answer, None if it gets one.
        stop_after: calls that are answered before the money runs out; None never stops.
        refuses: whether every answer declines.
        tail: said at the end of every answer.
        say: what is answered to a call, instead of talk about films; None leaves it at that.
        paid: how often each call was answered over the "network".
        asked: the calls of every `generate`, in order.
        allowed_usd: what each of them might spend.
    """

    def __init__(self, provider: Provider = COMPLETIONS) -> None:
        self.provider = provider
        self.quarantines = 0
        self.routes: tuple[Route, ...] = ()
        self.declines: Callable[[Call], QuarantineReason | None] = lambda call: None
        self.fails: Callable[[Call], QuarantineReason | None] = lambda call: None
        self.stop_after: int | None = None
        self.refuses = False
        self.tail = ""
        self.say: Callable[[Call], str] | None = None
        self.paid: Counter[str] = Counter()
        self.asked: list[list[Call]] = []
        self.allowed_usd: list[float | None] = []
        self._journal: dict[str, Answer] = {}

    @property
    def routing(self) -> Routing:
        """Which models it asks; `provider` alone unless `routes` says otherwise."""
        return Routing(self.routes) if self.routes else Routing.to(self.provider)

    def generate(
        self,
        calls: Sequence[Call],
        *,
        dataset: str,
        batch: str,
        spend_limit_usd: float | None,
        progress: Callable[[int, int], None],
        is_ours: Callable[[], bool],
    ) -> Endings:
        """End every call; see `Generator.generate`."""
        self.asked.append(list(calls))
        self.allowed_usd.append(spend_limit_usd)
        before = self.paid.total()
        if not is_ours():
            why = QuarantineReason.STOPPED
            unsent = [Ending(each.request_id, each.call_id, Outcome.NOT_SENT, why, None, 0) for each in calls]
            return Endings(unsent, Stop(why, where="the fake endpoint", fix="let go"), 0)
        endings = []
        for place, call in enumerate(calls):
            endings.append(self._ending(call, is_good=place >= self.quarantines, paid_now=self.paid.total() - before))
            progress(len(endings), len(calls))
        stopped = any(ending.outcome == Outcome.NOT_SENT for ending in endings)
        return Endings(endings, OUT_OF_MONEY if stopped else None, self.paid.total() - before)

    def _ending(self, call: Call, *, is_good: bool, paid_now: int) -> Ending:
        known = call.call_id in self._journal
        if not known and self.stop_after is not None and paid_now >= self.stop_after:
            return Ending(call.request_id, call.call_id, Outcome.NOT_SENT, OUT_OF_MONEY.reason, None, 0)
        reason = self.fails(call) if is_good else QuarantineReason.SERVER_ERROR
        if reason is not None:
            return Ending(call.request_id, call.call_id, Outcome.QUARANTINED, reason, None, 3)
        if not known:
            self.paid[call.call_id] += 1
            self._journal[call.call_id] = self._answer(call)
        declined = self.declines(call)
        outcome = Outcome.ANSWERED if declined is None else Outcome.QUARANTINED
        return Ending(call.request_id, call.call_id, outcome, declined, self._journal[call.call_id], 1)

    def _answer(self, call: Call) -> Answer:
        prompt = call.prompt if isinstance(call.prompt, str) else stored_json(call.prompt)
        said = answer_for(prompt, call.seed, schema=None, is_continuation=isinstance(call.prompt, str))
        said = f"{said.removesuffix('.')}, says {CANARY}.{self.tail}" if self.say is None else self.say(call)
        return Answer(
            call_id=call.call_id,
            text=REFUSAL if self.refuses else said,
            refusal=False,
            finish_reason="stop",
            model=(call.asks or self.provider).model,
            input_tokens=len(prompt.split()),
            output_tokens=len(said.split()),
            mean_logprob=-0.5,
            latency_s=0.25,
            generated_at=NOON,
            tries=1,
        )


class FakeGenerators:
    """Opens the one generator, whatever the recipe asks for."""

    def __init__(self, generator: FakeGenerator) -> None:
        self.generator = generator

    @contextmanager
    def open(self, recipe: Recipe) -> Iterator[FakeGenerator]:
        yield self.generator
