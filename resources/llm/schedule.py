"""The scheduler: which call is sent when, how often, and when the whole run stops.

One dispatcher starts one task per try. A slot is held while a try is on the wire and no longer: a row that waits
for its Retry-After or for the journal leaves it to another.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from resources.journal import Failure, Journal
from resources.llm.answers import Choice, Fault, ending_of
from resources.llm.limits import STOPS, Patience, Purse, Row
from synth_assets.domain.ports import Answer, Call, Ending, Stop
from synth_assets.errors import StoppedError
from synth_assets.vocabulary import Outcome, QuarantineReason

MAX_BACKOFF_S = 60.0


class Sender(Protocol):
    """Makes one try."""

    async def send(self, call: Call) -> Choice | Fault:
        """Return the paid choice or the fault.

        Raises:
            StoppedError: nobody can be reached any more.
        """


class Schedule:
    """Works off the rows of one run; single use, bound to one event loop.

    Args:
        rows: what to send, in plan order.
        sender: makes a try.
        journal: where a paid answer goes before it becomes an ending.
        patience: limits of tries and time.
        purse: limit of money.
        where: names the provider in a stop.
        ended: called with every row that ended and its ending.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        sender: Sender,
        journal: Journal,
        patience: Patience,
        purse: Purse,
        where: str,
        ended: Callable[[Row, Ending], None],
    ) -> None:
        self._fresh = deque(rows)
        self._waiting: list[tuple[float, int, Row]] = []
        self._sender, self._journal, self._patience, self._purse = sender, journal, patience, purse
        self._where, self._ended = where, ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_wire: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._heard_at = float("-inf")
        self._crash: BaseException | None = None
        self.stop: Stop | None = None
        self.paid_now = 0

    async def run(self) -> None:
        """Return when every row ended, or when a stop came and what was on the wire is settled."""
        try:
            while self.stop is None and self._crash is None and (self._fresh or self._waiting or self._tasks):
                self._wake.clear()
                is_held = self._fill()
                if self.stop is None:
                    await self._next_event(is_held=is_held)
            while self._tasks and self._crash is None:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
        if self._crash is not None:
            raise self._crash

    def interrupt(self, stop: Stop) -> None:
        """Stop now: tries on the wire are abandoned, answers on their way to the journal are kept."""
        self.halt(stop)
        for task in self._on_wire:
            task.cancel()

    def halt(self, stop: Stop) -> None:
        """Send nothing more; tries on the wire are waited for, because they may be paid."""
        self.stop = self.stop or stop
        self._wake.set()

    def _halt_for(self, reason: QuarantineReason) -> None:
        self.halt(Stop(reason, self._where, STOPS[reason]))

    def _fill(self) -> bool:
        """Start tries while there are slots and rows; return whether money on the wire holds the next one back."""
        while self.stop is None and len(self._on_wire) < self._patience.concurrency:
            row = self._next_row()
            if row is None:
                return False
            if row.fault is not None and time.monotonic() >= row.deadline_at:
                self._give_up(row, row.fault)  # no slot was free in time
                continue
            if not self._purse.allows(row.call, len(self._on_wire)):
                self._fresh.appendleft(row)
                if not self._on_wire:
                    self._halt_for(QuarantineReason.BUDGET_SPENT)
                return True
            task = asyncio.create_task(self._try(row))
            self._tasks.add(task)
            self._on_wire.add(task)
            task.add_done_callback(self._finished)
        return False

    def _next_row(self) -> Row | None:
        """Rows whose wait is over go first: their deadline runs."""
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            return heapq.heappop(self._waiting)[2]
        return self._fresh.popleft() if self._fresh else None

    async def _next_event(self, *, is_held: bool) -> None:
        """Wait until a try ended, a wait is over or somebody interrupts; one timer, however many rows wait."""
        timer = None
        if self._waiting and not is_held and len(self._on_wire) < self._patience.concurrency:
            delay = max(0.0, self._waiting[0][0] - time.monotonic())
            timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        await self._wake.wait()
        if timer is not None:
            timer.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._on_wire.discard(task)
        self._wake.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StoppedError):  # the journal cannot write: every further answer would be paid and lost
            self.interrupt(Stop(QuarantineReason.STOPPED, error.where, error.fix))
        elif error is not None:
            self._crash = error

    async def _try(self, row: Row) -> None:
        task = asyncio.current_task()
        started = time.monotonic()
        if row.tries == 0:
            row.first_try_at, row.deadline_at = started, started + self._patience.deadline_s
        row.tries += 1
        try:
            async with asyncio.timeout(max(0.0, row.deadline_at - started)):
                found = await self._sender.send(row.call)
        except TimeoutError:
            found = Fault(QuarantineReason.DEADLINE_EXCEEDED)
        except StoppedError as error:
            self.halt(Stop(QuarantineReason.UNREACHABLE, error.where, error.fix))
            return
        finally:
            self._on_wire.discard(task)
            self._wake.set()
        if isinstance(found, Fault):
            if found.is_paid:
                await self._keep_unread(row, found)
            self._fail(row, found)
        else:
            await self._keep(row, found, latency_s=time.monotonic() - started)

    async def _keep(self, row: Row, choice: Choice, *, latency_s: float) -> None:
        """Make a paid answer durable, then an ending."""
        answer = Answer(
            call_id=row.call.call_id,
            text=choice.text,
            refusal=choice.refusal,
            finish_reason=choice.finish_reason,
            model=choice.model,
            input_tokens=choice.input_tokens,
            output_tokens=choice.output_tokens,
            mean_logprob=choice.mean_logprob,
            latency_s=latency_s,
            generated_at=datetime.now(UTC),
            tries=row.tries,
        )
        self._heard_at = time.monotonic()
        self._purse.pay(row.call, answer)
        await self._journal.append(row.call.request_id, answer)
        self.paid_now += 1
        self._ended(row, ending_of(row.call.request_id, answer))

    async def _keep_unread(self, row: Row, fault: Fault) -> None:
        """Make durable that an answer of no use was paid: the call is not sent again, not even after a crash."""
        self._purse.pay_unread(row.call)
        failure = Failure(row.call.call_id, fault.reason, row.tries)
        await self._journal.append(row.call.request_id, failure)

    def _fail(self, row: Row, fault: Fault) -> None:
        """Stop the run, try the row again later, or give it up."""
        if fault.reason not in (QuarantineReason.CONNECTION_FAILED, QuarantineReason.DEADLINE_EXCEEDED):
            self._heard_at = time.monotonic()
        if fault.is_stop:
            self._halt_for(fault.reason)
        if self.stop is not None and (fault.is_passing or fault.is_stop):
            return  # not sent again: its outcome stays open
        row.fault = fault
        due = time.monotonic() + self._wait_s(row, fault)
        if fault.is_passing and row.tries < self._patience.max_tries and due < row.deadline_at:
            heapq.heappush(self._waiting, (due, row.places[0], row))
        else:
            self._give_up(row, fault)

    def _give_up(self, row: Row, fault: Fault) -> None:
        """Quarantine the row, unless nobody answered anybody since its first try: then it is not this row's fault."""
        if not fault.is_sent and self._heard_at < row.first_try_at:
            self._halt_for(QuarantineReason.UNREACHABLE)
            return
        call = row.call
        self._ended(row, Ending(call.request_id, call.call_id, Outcome.QUARANTINED, fault.reason, None, row.tries))

    def _wait_s(self, row: Row, fault: Fault) -> float:
        """What the provider asks for, else a doubling wait; both spread so that rows do not come back together."""
        backoff: float = min(MAX_BACKOFF_S, self._patience.backoff_s * 2 ** (row.tries - 1))
        if fault.wait_s is None:
            return backoff * row.rng.uniform(0.5, 1.0)
        return fault.wait_s + min(backoff, 0.1 * fault.wait_s + self._patience.backoff_s) * row.rng.random()
