"""The endings of a plan as they come in: from the journal, from the network, or not at all."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from resources.journal import Failure, Journal, Record
from resources.llm.answers import ending_of
from resources.llm.limits import Row, rows_of
from synth_assets.domain.ports import Call, Ending, Endings, Stop
from synth_assets.vocabulary import Outcome, QuarantineReason

PROGRESS_S = 0.5
"""Shortest time between two calls of ``progress``, in seconds."""

OUTAGE = {
    QuarantineReason.RATE_LIMITED,
    QuarantineReason.SERVER_ERROR,
    QuarantineReason.CONNECTION_FAILED,
    QuarantineReason.DEADLINE_EXCEEDED,
}
"""Faults that may be the provider's alone; the same call may fare better another day."""


BAD_LUCK = 10
"""Calls that fail one and all and are no outage, if others were answered shortly before: it may be their prompts."""


class Ledger:
    """The endings of a plan as they come in, whatever their order.

    Attributes:
        open_rows: what the journal knows nothing of.
        known: what it knows.
        lost: tries of earlier runs that were abandoned.
    """

    def __init__(
        self, calls: Sequence[Call], journal: Journal, progress: Callable[[int, int], None], *, has_answered: bool
    ) -> None:
        """Read what the journal knows.

        Args:
            calls: of the plan.
            journal: of their batch.
            progress: called with (ended, total) now and then.
            has_answered: whether the provider answered calls before these in this run.
        """
        self._bad_luck = BAD_LUCK if has_answered else 1
        self._calls, self._journal, self._progress = calls, journal, progress
        self._found: list[Ending | None] = [None] * len(calls)
        self._ended, self._told_at = 0, float("-inf")
        self.open_rows: list[Row] = []
        self.known: list[tuple[Row, Record]] = []
        self.lost: list[tuple[Row, int]] = []
        for row in rows_of(calls):
            if row.call.call_id in journal.lost:
                self.lost.append((row, journal.lost[row.call.call_id]))
            record = journal.get(row.call.call_id)
            if record is None:
                self.open_rows.append(row)
            else:
                self.known.append((row, record))
                self.settle(row, _ending(row, record))
        self._tell()

    def settle(self, row: Row, ending: Ending) -> None:
        """Record the ending of a row for every request that shares its call."""
        self._place(row, ending)
        self._ended += len(row.places)
        if time.monotonic() - self._told_at >= PROGRESS_S:
            self._tell()

    def conclude(self, stop: Stop | None, *, where: str) -> Stop | None:
        """Make final what failed, unless the provider answered nobody: then no call is to blame and all are open again.

        Args:
            stop: why the run ended early, if it did.
            where: names the provider.

        Returns:
            The stop, or that of an outage.
        """
        failed = [row for row in self.open_rows if self._reason(row) is not None]
        if self._is_outage(failed):
            reasons = Counter(str(self._reason(row)) for row in failed)
            for row in failed:
                self._reopen(row)
            told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
            fix = f"not one call was answered ({told}): see whether the provider is up, then run the same command again"
            return stop or Stop(QuarantineReason.UNREACHABLE, where, fix)
        for row in failed:
            reason = self._reason(row)
            if reason is not None and self._journal.get(row.call.call_id) is None:
                self._journal.note(row.call.request_id, Failure(row.call.call_id, reason, row.tries))
        return stop

    def give_up(self, reason: QuarantineReason) -> None:
        """End for good the unsent calls in whose place another model may be asked, because of what stopped this one."""
        for row in self.open_rows:
            call = row.call
            is_open = self._found[row.places[0]] is None and self._journal.get(call.call_id) is None
            if is_open and call.may_fall_back:
                self._journal.note(call.request_id, Failure(call.call_id, reason, row.tries))
                self.settle(row, Ending(call.request_id, call.call_id, Outcome.QUARANTINED, reason, None, row.tries))

    def endings(self, stop: Stop | None, *, paid_now: int) -> Endings:
        """Return all endings in plan order; what has none was not sent, for the reason of the stop."""
        for row in self.open_rows:
            if self._found[row.places[0]] is not None:
                continue
            record = self._journal.get(row.call.call_id)  # it may have become durable while we were stopping
            if record is None:
                self._place(row, _not_sent(row, stop))  # it has not ended: nobody is told that it has
            else:
                self.settle(row, _ending(row, record))
        self._tell()
        return Endings([ending for ending in self._found if ending is not None], stop, paid_now)

    def _place(self, row: Row, ending: Ending) -> None:
        for place in row.places:
            asked = self._calls[place].request_id
            self._found[place] = ending if asked == ending.request_id else replace(ending, request_id=asked)
        lost = self._journal.lost.get(row.call.call_id, 0)
        if lost:  # it was one try, whoever shares the call
            self._found[row.places[0]] = replace(ending, request_id=self._calls[row.places[0]].request_id, lost=lost)

    def _is_outage(self, failed: Sequence[Row]) -> bool:
        """Whether several calls failed, none was answered, and each failure may be the provider's alone."""
        ended = sum(ending is not None for ending in self._found)
        is_all = ended == sum(len(row.places) for row in failed)
        return is_all and len(failed) > self._bad_luck and all(self._reason(row) in OUTAGE for row in failed)

    def _reason(self, row: Row) -> QuarantineReason | None:
        """Return why a row has no answer, None if it has one or has not ended."""
        ending = self._found[row.places[0]]
        return ending.reason if ending is not None and ending.answer is None else None

    def _reopen(self, row: Row) -> None:
        for place in row.places:
            self._found[place] = None
        self._ended -= len(row.places)

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        self._progress(self._ended, len(self._calls))


def _ending(row: Row, record: Record) -> Ending:
    if isinstance(record, Failure):
        call = row.call
        return Ending(call.request_id, call.call_id, Outcome.QUARANTINED, record.reason, None, record.tries)
    return ending_of(row.call.request_id, record)


def _not_sent(row: Row, stop: Stop | None) -> Ending:
    reason = stop.reason if stop else QuarantineReason.STOPPED
    tries = row.tries - row.lost  # those are counted apart
    return Ending(row.call.request_id, row.call.call_id, Outcome.NOT_SENT, reason, None, tries)
