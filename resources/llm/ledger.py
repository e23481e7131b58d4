"""The endings of a plan as they come in: from the journal, from the network, or not at all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from resources.journal import Journal
from resources.llm.answers import ending_of
from resources.llm.limits import Row, rows_of
from synth_assets.domain.ports import Call, Ending, Endings, Stop
from synth_assets.vocabulary import Outcome, QuarantineReason

PROGRESS_S = 0.5
"""Shortest time between two calls of ``progress``, in seconds."""


class Ledger:
    """The endings of a plan as they come in, whatever their order."""

    def __init__(self, calls: Sequence[Call], journal: Journal, progress: Callable[[int, int], None]) -> None:
        self._calls, self._journal, self._progress = calls, journal, progress
        self._found: list[Ending | None] = [None] * len(calls)
        self._ended, self._told_at = 0, float("-inf")
        rows = rows_of(calls)
        self.open_rows = [row for row in rows if not self._settle_from_journal(row)]
        self._tell()

    def settle(self, row: Row, ending: Ending) -> None:
        """Record the ending of a row for every request that shares its call."""
        for place in row.places:
            self._found[place] = replace(ending, request_id=self._calls[place].request_id)
        self._ended += len(row.places)
        if time.monotonic() - self._told_at >= PROGRESS_S:
            self._tell()

    def endings(self, stop: Stop | None, *, paid_now: int) -> Endings:
        """Return all endings in plan order; what has none was not sent, for the reason of the stop."""
        for row in self.open_rows:
            if self._found[row.places[0]] is None:
                self._settle_from_journal(row)  # it became durable while we were stopping
            if self._found[row.places[0]] is None:
                self._mark_not_sent(row, stop)
        self._tell()
        return Endings([ending for ending in self._found if ending is not None], stop, paid_now)

    def _mark_not_sent(self, row: Row, stop: Stop | None) -> None:
        reason = stop.reason if stop else QuarantineReason.STOPPED
        self.settle(row, Ending(row.call.request_id, row.call.call_id, Outcome.NOT_SENT, reason, None, row.tries))

    def _settle_from_journal(self, row: Row) -> bool:
        answer = self._journal.get(row.call.call_id)
        if answer is not None:
            self.settle(row, ending_of(row.call.request_id, answer))
        return answer is not None

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        self._progress(self._ended, len(self._calls))
