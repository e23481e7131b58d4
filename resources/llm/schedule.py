"""The scheduler: which call is sent when, how often, and when the whole run stops.

One dispatcher starts one task per try. A slot is held while a try is on the wire and no longer: a row that waits
for its Retry-After or for the journal leaves it to another. A refusal is the row's own until `pace` finds a limit on
all requests behind it; then it costs the row neither a try nor its time, because no other row would have fared better.

Nobody waits for a Retry-After that is longer than a call may take. A row that would have to is left unsent, and the run
goes on without it; if the limit is everybody's, or nothing was answered for that long, the run stops. Nothing is
quarantined for it: the next run of the same command goes on.
"""

import asyncio
import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from resources.journal import Failure, Journal, NoRoomError, Record
from resources.llm.answers import Choice, Fault, answer_of, ending_of
from resources.llm.limits import STOPS, Purse, Row, most_bytes
from resources.llm.line import Line, without
from resources.llm.lookout import Lookout
from resources.progress import ENDING, LIMITED, announce
from synth_assets.domain.ports import Call, Ending, Stop
from synth_assets.errors import StoppedError
from synth_assets.vocabulary import MAY_BE_PAID, Outcome, QuarantineReason

MAX_BACKOFF_S = 60.0

SPREAD = 0.1
"""Share of a Retry-After by which rows are spread that got it at the same time."""


class Sender(Protocol):
    """Makes one try."""

    @property
    def where(self) -> str:
        """Names the provider in a stop."""

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
        line: limits of tries, time, requests and tokens.
        purse: limit of money, shared with the schedules of other providers.
        lookout: whether the batch is still ours, likewise.
        ended: called with every row that ended and its ending.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        sender: Sender,
        journal: Journal,
        line: Line,
        purse: Purse,
        lookout: Lookout,
        ended: Callable[[Row, Ending], None],
    ) -> None:
        self._fresh, self._line = deque(rows), line
        self._waiting: list[tuple[float, int, Row]] = []
        self._sender, self._journal, self._purse = sender, journal, purse
        self._patience, self._rate, self._pace, self._ended = line.patience, line.rate, line.pace, ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_wire: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        purse.watch(self._wake.set)
        self._lookout = lookout
        self._postponed: tuple[QuarantineReason, float] | None = None
        self._heard_at = self._answered_at = -math.inf
        self._crash: BaseException | None = None
        self.stop: Stop | None = None
        self.paid_now = 0

    async def run(self) -> None:
        """Return when every row ended, or when a stop came and what was on the wire is settled."""
        self._answered_at = time.monotonic()
        try:
            while self.stop is None and self._crash is None and (self._fresh or self._waiting or self._tasks):
                self._wake.clear()
                await self._look()
                is_held = self._fill()
                if self.stop is None:
                    await self._next_event(is_held=is_held)
            while self._tasks and self._crash is None:
                await asyncio.wait(self._tasks)
            if self._postponed is not None:
                self._halt_until(*self._postponed)
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

    def drain(self, stop: Stop) -> None:
        """Send nothing more, and wait for what is on the wire, but not for ever."""
        self.halt(stop)
        self._count_down(stop, time.monotonic() + self._patience.grace_s)

    def _count_down(self, stop: Stop, end: float) -> None:
        """Say every second how much of the grace is left."""
        left_s = end - time.monotonic()
        if left_s <= 0:
            self.interrupt(stop)
        elif self._on_wire:
            grace_s = math.ceil(self._patience.grace_s)
            announce(ENDING, grace_s - math.ceil(left_s), grace_s)
            asyncio.get_running_loop().call_later(min(1.0, left_s), self._count_down, stop, end)

    def halt(self, stop: Stop) -> None:
        """Send nothing more; tries on the wire are waited for, because they may be paid."""
        self.stop = self.stop or stop
        self._wake.set()

    def _halt_for(self, reason: QuarantineReason) -> None:
        self.halt(Stop(reason, self._sender.where, STOPS[reason]))

    def _halt_until(self, reason: QuarantineReason, due: float) -> None:
        wait_s = max(1, math.ceil(due - time.monotonic()))
        fix = f"the provider asks to wait for {wait_s:,} s; run the same command again then"
        self.halt(Stop(reason, self._sender.where, fix))

    def _fill(self) -> bool:
        """Start tries while there are slots and rows; return whether money on the wire holds the next one back."""
        while self.stop is None and len(self._on_wire) < self._patience.concurrency:
            if self._opens_at() > time.monotonic():
                return False
            row = self._next_row()
            if row is None:
                return False
            if row.fault is not None and row.deadline_at is not None and time.monotonic() >= row.deadline_at:
                self._give_up(row, row.fault)  # no slot was free in time
                continue
            if not self._purse.allows(row.call):
                self._fresh.appendleft(row)
                if self._purse.is_idle:
                    self._halt_for(QuarantineReason.BUDGET_SPENT)
                return True
            if not self._has_room(row.call):
                self._purse.release(row.call)
                self._fresh.appendleft(row)
                return False
            self._rate.sent(time.monotonic(), row.call)
            task = asyncio.create_task(self._try(row, self._pace.sent(time.monotonic())))
            self._tasks.add(task)
            self._on_wire.add(task)
            task.add_done_callback(self._finished)
        return False

    async def _look(self) -> None:
        """Stop if the batch is no longer ours: whatever were sent now would be paid for nothing."""
        if self._fresh or self._waiting:
            lost = await self._lookout.look(self._sender.where)
            if lost is not None:
                self.halt(lost)

    def _has_room(self, call: Call) -> bool:
        """Have the journal keep room for what a call brings; without it nothing more is sent."""
        try:
            self._journal.reserve(call.call_id, most_bytes(call))
        except StoppedError as error:
            self.halt(Stop(QuarantineReason.STOPPED, error.where, error.fix))
            return False
        return True

    def _opens_at(self) -> float:
        return max(self._pace.opens_at(), self._rate.opens_at())

    def _next_row(self) -> Row | None:
        """Rows whose wait is over go first: their deadline runs."""
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            return heapq.heappop(self._waiting)[2]
        return self._fresh.popleft() if self._fresh else None

    async def _next_event(self, *, is_held: bool) -> None:
        """Wait until a try ended, a wait is over or somebody interrupts; one timer, however many rows wait."""
        timer = None
        if (self._waiting or self._fresh) and not is_held and len(self._on_wire) < self._patience.concurrency:
            due = self._opens_at() if self._fresh else max(self._waiting[0][0], self._opens_at())
            delay = max(0.0, due - time.monotonic())
            timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        await self._wake.wait()
        if timer is not None:
            timer.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._on_wire.discard(task)
        self._wake.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, NoRoomError):  # room was kept for the others
            self.halt(Stop(QuarantineReason.STOPPED, error.where, error.fix))
        elif isinstance(error, StoppedError):  # the journal cannot write: every further answer would be paid and lost
            self.interrupt(Stop(QuarantineReason.STOPPED, error.where, error.fix))
        elif error is not None:
            self._crash = error

    async def _try(self, row: Row, number: int) -> None:
        task = asyncio.current_task()
        started = time.monotonic()
        if row.deadline_at is None:
            row.first_try_at, row.deadline_at = started, started + self._patience.deadline_s
        row.tries += 1
        try:
            async with asyncio.timeout(max(0.0, row.deadline_at - started)):
                found = await self._sender.send(row.call)
        except TimeoutError:
            found = Fault(QuarantineReason.DEADLINE_EXCEEDED)
        except asyncio.CancelledError:
            row.lost += 1
            self._purse.pay_unread(row.call)
            self._journal.lose(row.call.request_id, row.call.call_id)
            raise
        except StoppedError as error:
            self.halt(Stop(QuarantineReason.UNREACHABLE, error.where, error.fix))
            return
        finally:
            self._on_wire.discard(task)
            self._purse.release(row.call)
            self._journal.release(row.call.call_id)  # what came is handed over before anything else is sent
            self._wake.set()
        if isinstance(found, Fault):
            if found.is_paid:
                await self._keep_unread(row, found)
            self._fail(row, found, number)
        else:
            await self._keep(row, found, latency_s=time.monotonic() - started)

    async def _keep(self, row: Row, choice: Choice, *, latency_s: float) -> None:
        """Make a paid answer durable, then an ending."""
        now = datetime.now(UTC)
        answer = answer_of(choice, row.call.call_id, tries=row.tries, latency_s=latency_s, at=now)
        self._heard_at = self._answered_at = time.monotonic()
        self._purse.pay(row.call, answer)
        self._rate.took(row.call, answer)
        await self._write(row, answer)
        self.paid_now += 1
        self._ended(row, ending_of(row.call.request_id, answer))

    async def _keep_unread(self, row: Row, fault: Fault) -> None:
        """Make durable that an answer of no use was paid: the call is not sent again, not even after a crash."""
        self._purse.pay_unread(row.call)
        failure = Failure(row.call.call_id, fault.reason, row.tries)
        await self._write(row, failure)

    async def _write(self, row: Row, record: Record) -> None:
        """Wait until a record is durable; one for which there is no room was paid for nothing, and is counted so."""
        try:
            await self._journal.append(row.call.request_id, record)
        except NoRoomError:
            row.lost += 1
            self._journal.lose(row.call.request_id, row.call.call_id)
            raise

    def _fail(self, row: Row, fault: Fault, number: int) -> None:
        """Stop the run, try the row again later, or give it up."""
        now = time.monotonic()
        if fault.reason not in (QuarantineReason.CONNECTION_FAILED, QuarantineReason.DEADLINE_EXCEEDED):
            self._heard_at = now
        if fault.parameter is not None and row.call.asks is not None:
            fix = without(fault.parameter, self._line, row.call.asks)
            self.halt(Stop(fault.reason, self._sender.where, fix))
        elif fault.is_stop:
            self._halt_for(fault.reason)
        if fault.reason == QuarantineReason.RATE_LIMITED and self._pace.refused(number, now, fault.wait_s or 0.0):
            self._excuse(row, fault, now)
        if self.stop is not None and (fault.is_passing or fault.is_stop):
            return  # not sent again: its outcome stays open
        row.fault = fault if row.deadline_at is not None else None
        due = now + self._wait_s(row, fault)
        if fault.wait_s is not None and fault.wait_s > self._patience.deadline_s:
            self._postponed = (fault.reason, now + fault.wait_s)
        elif self._may_try_again(row, fault, due):
            heapq.heappush(self._waiting, (due, row.places[0], row))
        else:
            self._give_up(row, fault)

    def _excuse(self, row: Row, fault: Fault, now: float) -> None:
        """Forget a refusal that met everybody; stop if the limit outlasts what a call may take."""
        row.excused += 1
        row.deadline_at = None
        patience_s = math.ceil(self._patience.deadline_s)
        announce(LIMITED, min(patience_s, math.floor(now - self._answered_at)), patience_s)
        if max(self._pace.opens_at() - now, now - self._answered_at) > self._patience.deadline_s:
            self._halt_until(fault.reason, self._pace.opens_at())

    def _may_try_again(self, row: Row, fault: Fault, due: float) -> bool:
        is_in_time = row.deadline_at is None or due < row.deadline_at
        return fault.is_passing and row.tries - row.excused < self._patience.max_tries and is_in_time

    def _give_up(self, row: Row, fault: Fault) -> None:
        """Quarantine the row, unless nobody was answered since its first try: silence, or a limit that all met."""
        if not fault.is_sent and self._heard_at < row.first_try_at:
            self._halt_for(QuarantineReason.UNREACHABLE)
            return
        is_everybodys = self._pace.rate is not None and self._answered_at < row.first_try_at
        if fault.reason == QuarantineReason.RATE_LIMITED and is_everybodys:
            self._halt_until(fault.reason, self._pace.opens_at())
            return
        call = row.call
        if fault.reason in MAY_BE_PAID and fault.is_sent and not fault.is_paid:
            self._purse.pay_unread(call)
        self._ended(row, Ending(call.request_id, call.call_id, Outcome.QUARANTINED, fault.reason, None, row.tries))

    def _wait_s(self, row: Row, fault: Fault) -> float:
        """What the provider asks for, else a doubling wait; both spread so that rows do not come back together."""
        backoff: float = min(MAX_BACKOFF_S, self._patience.backoff_s * 2 ** (row.tries - 1))
        if fault.wait_s is None:
            return backoff * (1.0 + row.jitter()) / 2
        return fault.wait_s + (SPREAD * fault.wait_s or backoff) * row.jitter()
