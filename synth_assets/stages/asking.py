"""Asking a model for everything a plan needs: part after part, wave after wave, within the money there is."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
import polars as pl

from synth_assets.checks.evidence import Evidence
from synth_assets.checks.verdict import prepare
from synth_assets.domain.breaker import Breaker, Trip
from synth_assets.domain.conversations import Conversations, Step
from synth_assets.domain.costs import at_most_usd
from synth_assets.domain.drafting import COUNTS_USD, Drafts, draft, ended, joined
from synth_assets.domain.ports import Call, Ending, Endings, Generator, Routing, Stop
from synth_assets.domain.transactions import Lake
from synth_assets.errors import RefusedError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.template import Template
from synth_assets.stages.rehearsal import every_call_recorded
from synth_assets.stages.work import Work
from synth_assets.vocabulary import STOPS_ALL, CallKind, QuarantineReason

AT_ONCE = 16_384
"""Requests whose conversations are held at once, so that memory does not grow with them.

Between two parts nobody is asked for the time of the last answers: once in so many requests.
"""

UNDER_WAY_S = 1.0
"""When the first calls are surely under way, so that what the judgement needs can be loaded without delaying them."""


@dataclass(frozen=True)
class Questions:
    """Planned requests with all it takes to ask them.

    Attributes:
        requests: rows of `requests` in plan order, shape (n, 21).
        prompts: their payload as `planning.PROMPTS_SCHEMA`; may hold that of other requests.
        templates: every template version they were planned with.
        breaker: which of them may be sent.
        quarantined: those that an earlier run quarantined, with the calls they took.
    """

    requests: pl.DataFrame
    prompts: pl.DataFrame
    templates: Mapping[tuple[str, str], Step]
    breaker: Breaker
    quarantined: Mapping[str, int]


@dataclass(frozen=True)
class Asked:
    """What became of the requests of an attempt.

    Attributes:
        drafts: one row of `generations` per request, in plan order.
        stop: the first stop there was, None if everybody answered to the end.
        paid_now: calls answered over the network in this run.
        trip: why the breaker kept requests from being sent, if it did.
    """

    drafts: Drafts
    stop: Stop | None
    paid_now: int
    trip: Trip | None


def ask(
    work: Work,
    questions: Questions,
    generator: Generator,
    *,
    money_usd: float | None,
    progress: Callable[[int, int], None],
    keep: Callable[[Drafts], Drafts] = lambda drafts: drafts,
) -> Asked:
    """Work off planned requests and return what became of each.

    Args:
        work: the bench.
        questions: what to ask.
        generator: whom.
        money_usd: what may be spent; None without a budget.
        progress: called with (ended, total) now and then.
        keep: called with the drafts of each part; what it returns stays in memory.

    Raises:
        StoppedError: this is a replay, and the journal knows nothing of a call.
        RefusedError: the claim on the batch was lost meanwhile; what was answered is in the journal.
    """
    model, requests = work.recipe.model, questions.requests
    # A file of calls may take a day: all of them are handed over together.
    length = AT_ONCE if model.generator.dispatch == "online" else max(1, requests.height)
    loading = threading.Timer(UNDER_WAY_S, prepare)
    loading.daemon = True
    loading.start()
    spent = _Spent(money_usd)
    parts: list[Drafts] = []
    for start in range(0, max(1, requests.height), length):
        part = requests[start : start + length]
        conversations = Conversations(
            part,
            questions.prompts,
            templates=questions.templates,
            task_type=model.task_type,
            routing=generator.routing,
            quarantined=questions.quarantined,
        )
        questions.breaker.enter(part)
        with every_call_recorded(part):
            wave = _Wave(conversations, questions.breaker, _shifted(progress, start, requests.height))
            _work_off(work, wave, generator, spent)
        parts.append(keep(draft(part, conversations.in_plan_order, model=model)))
    return Asked(joined(parts), spent.stop, spent.paid_now, questions.breaker.trip)


@dataclass
class _Spent:
    """What is left and what was met, from part to part.

    Attributes:
        ends_all: the stop after which nobody is asked any more.
    """

    money_usd: float | None
    paid_now: int = 0
    stop: Stop | None = None
    ends_all: Stop | None = None


@dataclass
class _Wave:
    """What may be sent of one part.

    Attributes:
        progress: called with (ended, total) of the part.
        ended: calls of it that ended before.
    """

    conversations: Conversations
    breaker: Breaker
    progress: Callable[[int, int], None]
    ended: int = 0

    def now(self) -> Sequence[Call]:
        """Return the calls to send now; what the breaker stopped is ended here."""
        calls, stopped = self.breaker.sort(self.conversations.wave, self.conversations.kind_of)
        if stopped:
            self.conversations.forgo(stopped, QuarantineReason.BROKEN_PROMPT)
        return calls

    def tell(self, ended: int, of: int) -> None:
        """Say how far it is; what waits counts as well."""
        waiting = len(self.conversations.wave) - of
        self.progress(self.ended + ended, self.ended + of + waiting)

    def take(self, calls: Sequence[Call], endings: Sequence[Ending]) -> None:
        """Take endings, and let the breaker see which requests are done with."""
        self.ended += len(calls)
        self.conversations.take(calls, endings)
        if self.breaker.is_watching:
            goes_on = {call.request_id for call in self.conversations.wave if not self._waits_for_the_breaker(call)}
            done = [call.request_id for call in calls if call.request_id not in goes_on]
            self.breaker.count((each, *ended(self.conversations.conversation(each))) for each in done)

    def _waits_for_the_breaker(self, call: Call) -> bool:
        return not self.breaker.has_room and self.conversations.kind_of(call) is CallKind.REPAIR


def _work_off(work: Work, wave: _Wave, generator: Generator, spent: _Spent) -> None:
    """Ask until nothing follows any more; after a stop of everybody nothing is sent."""
    conversations = wave.conversations
    while conversations.wave:
        if spent.ends_all is not None:
            conversations.leave(conversations.wave, spent.ends_all.reason)
            continue
        calls = wave.now()
        if not calls:
            continue
        endings = generator.generate(
            calls,
            dataset=work.recipe.dataset,
            batch=work.batch,
            spend_limit_usd=spent.money_usd,
            progress=wave.tell,
            is_ours=work.is_ours,
        )
        if endings.stop is not None:
            work.refuse_lost()
        spent.paid_now += endings.paid_now
        if spent.money_usd is not None:
            spent.money_usd -= _cost_usd(calls, endings)
        wave.take(calls, endings.endings)
        spent.stop = spent.stop or endings.stop
        if endings.stop is not None and _ends_all(endings.stop, generator.routing):
            spent.stop = spent.ends_all = endings.stop


def _shifted(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int, int], None]:
    """Count the calls of one part among those of all; calls that follow from answers come on top."""
    return lambda ended, of: progress(start + ended, max(total, start + of))


def _ends_all(stop: Stop, routing: Routing) -> bool:
    """Whether nobody is left to ask: what stopped one provider of several leaves the others at work."""
    return stop.reason in STOPS_ALL or len({each.name for each in routing.providers}) == 1


def _cost_usd(calls: Sequence[Call], endings: Endings) -> float:
    """Return what calls cost; what nobody knows counts at what it can be at most."""
    return math.fsum(
        at_most_usd(call, ending, call.asks.price if call.asks else None)
        for call, ending in zip(calls, endings.endings, strict=True)
    )


def planned_templates(
    lake: Lake, recipe: Recipe, registered: pl.DataFrame, requests: pl.DataFrame, prompts: pl.DataFrame
) -> dict[tuple[str, str], Step]:
    """Return every template version that was planned with, whatever the recipe says now.

    Raises:
        RefusedError: one was never registered, so its samples would have no provenance; nothing was sent.
    """
    wanted = set(requests.select("prompt_name", "prompt_version").iter_rows())
    for then in prompts["then"].drop_nulls().unique():
        wanted |= {(name, version) for name, version, _ in orjson.loads(then)}
    known = {(row["prompt_name"], row["prompt_version"]): row for row in registered.iter_rows(named=True)}
    found = {}
    for name, version in sorted(wanted):
        row = known.get((name, version))
        if row is None:
            raise RefusedError(
                f"template '{name}' version '{version}' was planned with but never registered",
                where=f"{recipe.dataset}/prompt_templates",
                fix="materialize prompt_templates, then this again",
            )
        stored = orjson.loads(lake.get(row["object_sha256"], ".json"))
        template = Template.model_validate({**stored, "file": recipe.folder / "prompts" / f"{name}.md"})
        found[name, version] = Step(template, row["template_sha256"])
    return found


def money_left(work: Work, evidence: Evidence, attempt: int) -> float | None:
    """Return the budget minus what other attempts cost; what this one already paid is counted by the journal."""
    budget = work.recipe.model.batch.budget_usd
    if budget is None:
        return None
    earlier = evidence.generations.filter(pl.col("attempt") != attempt).select(COUNTS_USD)
    return max(0.0, budget - math.fsum(earlier.to_series()))
