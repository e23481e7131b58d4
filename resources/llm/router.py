"""Several providers worked at once: one journal, one purse, one run for each of them.

A call goes to the provider it names. What stops one provider leaves the others at work; its calls stay unsent, except
those another model may be asked in place of: they are quarantined for good, in the journal too, before that is done. So
a resumed batch takes the same way, and no row is paid at two providers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from resources.journal import Journal
from resources.llm.bulk import BulkRun
from resources.llm.descriptors import too_few_descriptors
from resources.llm.interrupts import interruptible, run_async
from resources.llm.ledger import Ledger
from resources.llm.limits import STOPS, Purse
from resources.llm.line import Line, named
from resources.llm.lookout import Lookout
from resources.llm.run import Run
from resources.llm.submissions import Submissions
from synth_assets.domain.ports import Call, Ending, Endings, NotRecordedError, Provider, Routing, Stop
from synth_assets.vocabulary import FALLS_BACK, STOPS_ALL, Outcome, QuarantineReason

Progress = Callable[[int, int], None]


class Router:
    """The `Generator` of the domain: every model a recipe is written by.

    Args:
        routing: the models.
        lines: their providers, by name.
        home: SYNTH_HOME.
        is_replay: whether answers come from the journal alone.
    """

    def __init__(self, routing: Routing, lines: Mapping[str, Line], *, home: Path, is_replay: bool = False) -> None:
        self.is_replay = is_replay
        self._routing = routing
        self._lines = lines
        self._home = home
        self._answered: set[str] = set()

    @property
    def routing(self) -> Routing:
        """Which models it asks."""
        return self._routing

    def generate(
        self,
        calls: Sequence[Call],
        *,
        dataset: str,
        batch: str,
        spend_limit_usd: float | None,
        progress: Progress,
        is_ours: Callable[[], bool],
    ) -> Endings:
        """End every call: from the journal if it was paid before, over the network otherwise.

        Provider faults never raise: they become endings or a `Stop`. A first SIGINT or SIGTERM is a stop as well, after
        which calls on the wire are waited for, at most ``Patience.grace_s``; a second one abandons them; a third one
        has its usual effect.

        Args:
            calls: what to send, in plan order.
            dataset: names the journal's folder.
            batch: names the journal's folder.
            spend_limit_usd: money left for these calls, whoever is asked; None without a budget.
            progress: called with (ended, total) now and then.
            is_ours: see `Generator.generate`.

        Raises:
            IntegrityError: the journal contradicts itself.
            NotRecordedError: this is a replay, and the journal knows nothing of a call.
        """
        self.rehearse(calls, dataset=dataset, batch=batch)
        journal = Journal.open(self._home, dataset, batch, {call.call_id for call in calls})
        work = _Work(
            calls,
            journal,
            Submissions(self._home, dataset, batch),
            self._routing,
            self._lines,
            progress=progress,
            answered=self._answered,
        )
        try:
            work.do(spend_limit_usd, Lookout(is_ours))
        finally:  # what was noted is on disk before anybody else is asked
            journal.close()
            self.close()
        endings = work.endings()
        self._answered |= work.answered(endings)
        return endings

    def rehearse(self, calls: Sequence[Call], *, dataset: str, batch: str) -> None:
        """See to it that a replay can end every call; anything else can, so nothing is looked at.

        Raises:
            IntegrityError: the journal contradicts itself.
            NotRecordedError: the journal knows nothing of a call; it is the first in plan order.
        """
        if not self.is_replay:
            return
        journal = Journal.open(self._home, dataset, batch, {call.call_id for call in calls})
        missing = next((call for call in calls if journal.get(call.call_id) is None), None)
        if missing is not None:
            raise NotRecordedError(missing.request_id)

    def close(self) -> None:
        """Let go of the endpoints; the embedded server ends by itself once nobody needs it."""
        for line in self._lines.values():
            line.endpoint.close()


class _Work:
    """One `generate`: a ledger and a run for each provider that is addressed, in the order of the first call to it."""

    def __init__(
        self,
        calls: Sequence[Call],
        journal: Journal,
        submissions: Submissions,
        routing: Routing,
        lines: Mapping[str, Line],
        *,
        progress: Progress,
        answered: set[str],
    ) -> None:
        self._total, self._routing, self._lines, self._progress = len(calls), routing, lines, progress
        self._ended: Counter[str] = Counter()
        self._stop: Stop | None = None
        self._is_sending = False
        self._runs: dict[str, Run | BulkRun] = {}
        by_name: dict[str, list[int]] = {}
        for place, call in enumerate(calls):
            by_name.setdefault(self._provider(call).name, []).append(place)
        self._places = by_name
        self._ledgers = {
            name: Ledger(
                [calls[place] for place in places],
                journal,
                partial(self._tell, name),
                has_answered=name in answered,
            )
            for name, places in by_name.items()
        }
        for name, ledger in self._ledgers.items():
            provider = self._provider(calls[by_name[name][0]])
            if lines[name].poll_s is None:
                self._runs[name] = Run(ledger, journal, provider=provider, line=lines[name])
            else:
                self._runs[name] = BulkRun(ledger, journal, submissions, provider=provider, line=lines[name])

    def do(self, spend_limit_usd: float | None, lookout: Lookout) -> None:
        """Send what is open, to all providers at once."""
        if any(ledger.open_rows for ledger in self._ledgers.values()):
            self._stop = self._missing_key() or self._missing_price(spend_limit_usd) or self._few_descriptors()
            if self._stop is None:
                with interruptible(self._interrupt):
                    run_async(lambda: self._send(spend_limit_usd, lookout))
        for name, ledger in self._ledgers.items():
            run = self._runs[name]
            stop = run.stop = self._stop or ledger.conclude(run.stop, where=run.where)
            if self._stop is None and stop is not None and stop.reason in FALLS_BACK:
                ledger.give_up(stop.reason)

    def _few_descriptors(self) -> Stop | None:
        wanted = {name: len(ledger.open_rows) for name, ledger in self._ledgers.items()}
        return too_few_descriptors(
            sum(min(rows, self._lines[name].patience.concurrency) for name, rows in wanted.items())
        )

    def endings(self) -> Endings:
        """Return the endings of all providers in plan order; nothing is written to the journal any more."""
        found: list[Ending | None] = [None] * self._total
        stops: list[Stop] = []
        for name, ledger in self._ledgers.items():
            run = self._runs[name]
            part = ledger.endings(run.stop, paid_now=run.paid_now)
            has_unsent = any(ending.outcome == Outcome.NOT_SENT for ending in part.endings)
            if run.stop is not None and (has_unsent or run.stop.reason in STOPS_ALL):
                stops.append(self._advised(name, run.stop))
            for place, ending in zip(self._places[name], part.endings, strict=True):
                found[place] = ending
        stops.sort(key=lambda stop: stop.reason not in STOPS_ALL)
        endings = [ending for ending in found if ending is not None]
        return Endings(endings, next(iter(stops), None), sum(run.paid_now for run in self._runs.values()))

    def answered(self, endings: Endings) -> set[str]:
        """Return the providers that answered one of the calls, now or before."""
        return {
            name
            for name, places in self._places.items()
            if any(endings.endings[place].answer is not None for place in places)
        }

    async def _send(self, spend_limit_usd: float | None, lookout: Lookout) -> None:
        purse = Purse(spend_limit_usd, self._routing.routes[0].provider)
        for ledger in self._ledgers.values():
            purse.pay_known(ledger.known)
            purse.pay_lost(ledger.lost)
        runs = [self._runs[name] for name, ledger in self._ledgers.items() if ledger.open_rows]
        tasks = [asyncio.create_task(run.work(purse, lookout)) for run in runs]
        self._is_sending = True
        try:
            await asyncio.gather(*tasks)
        finally:
            self._is_sending = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _provider(self, call: Call) -> Provider:
        return call.asks or self._routing.routes[0].provider

    def _tell(self, name: str, ended: int, _: int) -> None:
        self._ended[name] = ended
        try:
            self._progress(self._ended.total(), self._total)
        except KeyboardInterrupt:
            if not self._is_sending:
                raise
            self._interrupt()

    def _interrupt(self) -> None:
        for run in self._runs.values():
            run.interrupt()

    def _missing_key(self) -> Stop | None:
        """Nobody is asked while a key is missing: it would look like a provider that fails, and cost its rows."""
        for name in {each.name: None for each in self._routing.providers}:
            key = self._lines[name].key
            if key:
                fix = f"set {key} in the environment, then run the same command again"
                return Stop(QuarantineReason.UNAUTHORIZED, f"{name}, key in {key}", fix)
        return None

    def _missing_price(self, spend_limit_usd: float | None) -> Stop | None:
        for provider in self._routing.providers if spend_limit_usd is not None else ():
            if provider.price is None:
                place = self._lines[provider.name].prices.format(model=provider.model)
                fix = f"a budget needs a price: add {place}, or remove `budget_usd`"
                return Stop(QuarantineReason.BUDGET_SPENT, named(provider), fix)
        return None

    def _advised(self, name: str, stop: Stop) -> Stop:
        line = self._lines[name]
        is_usual = stop.fix == STOPS.get(stop.reason)
        return replace(stop, fix=line.advice.get(stop.reason, stop.fix)) if is_usual else stop
