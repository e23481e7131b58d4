"""The breaker: the first requests of an attempt say whether the others are worth their money.

The first requests of an attempt, and the first ones of each prompt and model, end before others of theirs are sent,
and get no second chance meanwhile. If hardly any of their answers can be used, the attempt, or that prompt and model,
stops there. What was held back of a prompt that turns out well is asked afterwards, so that an attempt which does not
stop makes the same calls as one that is not looked at.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from synth_assets.domain.ports import Call
from synth_assets.vocabulary import CallKind, Outcome, QuarantineReason

ATTEMPT_PROBE = 40
"""Calls that an attempt makes at most before it is looked at."""

PAIR_PROBE = 20
"""Likewise those of one prompt and model."""

WORST_USELESS_SHARE = 0.9
"""A larger share of useless answers stops what they are the first of."""

FEWEST = 10
"""Answers below which a share like that says nothing; where faults of the provider leave fewer, more are asked."""

FEWEST_OF_ALL = 5
"""Likewise for an attempt that has no more requests, of prompts and models that never answered well."""

USELESS = frozenset(
    {
        QuarantineReason.WRONG_SCHEMA,
        QuarantineReason.REFUSED,
        QuarantineReason.CONTENT_FILTER,
        QuarantineReason.EMPTY_ANSWER,
        QuarantineReason.THOUGHTS_ONLY,
        QuarantineReason.CONTROL_TOKENS,
        QuarantineReason.TRUNCATED,
        QuarantineReason.TOOL_CALL,
        QuarantineReason.MALFORMED_ANSWER,
        QuarantineReason.UNRENDERABLE,
        QuarantineReason.BAD_REQUEST,
        QuarantineReason.NOT_FOUND,
    }
)
"""Ends that the next request of the same prompt would meet as well; a provider that fails for a while is another."""

PAIR = ("prompt_name", "prompt_version", "provider", "model")


class Pair(NamedTuple):
    """A version of a template and the model it is sent to."""

    prompt_name: str
    prompt_version: str
    provider: str
    model: str

    def __str__(self) -> str:
        """Name both to a person."""
        return f"prompt '{self.prompt_name}' version '{self.prompt_version}' with {self.provider}/{self.model}"


@dataclass
class Probe:
    """The first requests of an attempt or a pair, and what came of them.

    Attributes:
        step: how many are asked at first, and how many more if too few of them were answered.
        total: requests there are.
        enough: answers from which it may stop.
        size: how many are asked.
        useful: requests that were answered well.
        useless: requests whose answer cannot be used, by reason.
        ended: requests that ended, however they did.
        is_settled: whether the others may be sent.
        is_tripped: whether they must not.
    """

    step: int
    total: int
    enough: int
    size: int = 0
    useful: int = 0
    useless: Counter[QuarantineReason] = field(default_factory=Counter)
    ended: int = 0
    is_settled: bool = False
    is_tripped: bool = False

    def __post_init__(self) -> None:
        self.size = self.step

    @property
    def is_open(self) -> bool:
        """Whether it has not been decided yet."""
        return not (self.is_settled or self.is_tripped)

    @property
    def judged(self) -> int:
        """Requests that say something about the prompt."""
        return self.useful + self.useless.total()

    def count(self, outcome: Outcome, reason: QuarantineReason | None) -> None:
        """Take the end of one of its requests."""
        self.ended += 1
        self.useful += outcome == Outcome.ANSWERED
        if outcome == Outcome.QUARANTINED and reason in USELESS:
            self.useless[QuarantineReason(reason)] += 1

    def decide(self) -> bool:
        """Settle it, stop it, or ask for more once all it asked for has ended; return whether it asks for more."""
        if not self.is_open or self.ended < min(self.size, self.total):
            return False
        if self.judged >= self.enough and self.useless.total() > WORST_USELESS_SHARE * self.judged:
            self.is_tripped = True
        elif self.judged < FEWEST and self.size < self.total:
            self.size += self.step
            return True
        else:
            self.is_settled = True
        return False


@dataclass(frozen=True, slots=True)
class _End:
    """How a request ended, and its place among all of the attempt and among those of its pair."""

    place: int
    rank: int
    pair: Pair
    outcome: Outcome
    reason: QuarantineReason | None


@dataclass(frozen=True)
class Trip:
    """Why the breaker stopped an attempt, or pairs of it.

    Attributes:
        pairs: which; none where the attempt as a whole stopped.
        judged: requests that were looked at.
        reasons: why their answers cannot be used.
    """

    pairs: tuple[Pair, ...]
    judged: int
    reasons: Mapping[QuarantineReason, int]


class Breaker:
    """Decides which calls of an attempt may be sent.

    Args:
        requests: rows of `requests` of the attempt, in plan order.
        models_each: most models that one of them may be sent to, one after the other.
        proven: pairs that answered well before.
        is_off: whether everything may be sent, whatever comes back.

    Attributes:
        has_room: whether the attempt is so small that second chances may be given at once.
    """

    def __init__(
        self, requests: pl.DataFrame, *, models_each: int, proven: frozenset[Pair], is_off: bool = False
    ) -> None:
        counts = requests.group_by(*PAIR).len().iter_rows()
        self._pairs = {Pair(*pair): _probe_of_pair(total, models_each) for *pair, total in counts}
        for pair, probe in self._pairs.items():
            probe.is_settled = pair in proven or probe.total <= probe.size  # nothing is left to stop
        size = max(FEWEST, ATTEMPT_PROBE // models_each)
        is_small = requests.height <= size and not proven.issuperset(self._pairs)
        self._attempt = Probe(size, requests.height, FEWEST_OF_ALL if is_small else FEWEST)
        self.has_room = 2 * requests.height <= size
        self._seen: Counter[Pair] = Counter()
        self._before = 0
        self._places: dict[str, tuple[int, int, Pair]] = {}
        self._ends: dict[str, _End] = {}
        self._is_off = is_off

    @property
    def is_watching(self) -> bool:
        """Whether anything may still be held back; once nothing is, calls are not looked at any more."""
        if self._is_off:
            return False
        return not self._attempt.is_settled or not all(probe.is_settled for probe in self._pairs.values())

    @property
    def trip(self) -> Trip | None:
        """What stopped; None if nothing did."""
        if self._attempt.is_tripped:
            return Trip((), self._attempt.judged, self._attempt.useless)
        stopped = {pair: probe for pair, probe in self._pairs.items() if probe.is_tripped}
        if not stopped:
            return None
        reasons = sum((probe.useless for probe in stopped.values()), Counter[QuarantineReason]())
        return Trip(tuple(stopped), sum(probe.judged for probe in stopped.values()), reasons)

    def enter(self, part: pl.DataFrame) -> None:
        """Take the next part of the attempt's requests, in plan order."""
        self._places = {}
        if self.is_watching:
            for place, (request, *names) in enumerate(part.select("request_id", *PAIR).iter_rows()):
                pair = Pair(*names)
                self._places[request] = (self._before + place, self._seen[pair], pair)
                self._seen[pair] += 1
        self._before += part.height

    def sort(self, wave: Sequence[Call], kind_of: Callable[[Call], CallKind]) -> tuple[Sequence[Call], Sequence[Call]]:
        """Return the calls that may be sent now, and those that never will; the others wait.

        Where all wait for requests of a later part, they may be sent.
        """
        if not self.is_watching:
            return wave, []
        stopped = [call for call in wave if self._is_stopped(call.request_id)]
        others = [call for call in wave if not self._is_stopped(call.request_id)] if stopped else wave
        now = [call for call in others if not self._waits(call.request_id, kind_of(call))]
        return (now, stopped) if now or stopped else (others, [])

    def count(self, ended: Iterable[tuple[str, Outcome, QuarantineReason | None]]) -> None:
        """Take the ends of requests: request_id, outcome and reason; each counts once."""
        for request, outcome, reason in ended:
            if request not in self._ends and request in self._places:
                end = self._ends[request] = _End(*self._places[request], outcome, reason)
                self._count(self._attempt, end.place, end, first=0)
                self._count(self._pairs[end.pair], end.rank, end, first=0)
        for pair, probe in (None, self._attempt), *self._pairs.items():
            first = probe.size
            if probe.decide():
                for end in [each for each in self._ends.values() if pair in (None, each.pair)]:
                    self._count(probe, end.place if pair is None else end.rank, end, first=first)

    def _count(self, probe: Probe, place: int, end: _End, *, first: int) -> None:
        if first <= place < probe.size:
            probe.count(end.outcome, end.reason)

    def _is_stopped(self, request: str) -> bool:
        return self._attempt.is_tripped or self._pairs[self._places[request][2]].is_tripped

    def _waits(self, request: str, kind: CallKind) -> bool:
        place, rank, pair = self._places[request]
        probe = self._pairs[pair]
        if kind is CallKind.PROMPT:
            return (self._attempt.is_open and place >= self._attempt.size) or (probe.is_open and rank >= probe.size)
        is_probed = (self._attempt.is_open and place < self._attempt.size) or (probe.is_open and rank < probe.size)
        return kind is CallKind.REPAIR and is_probed and not self.has_room


def _probe_of_pair(total: int, models_each: int) -> Probe:
    return Probe(max(FEWEST, PAIR_PROBE // models_each), total, FEWEST)


def _without(wave: Sequence[Call], some: Sequence[Call]) -> list[Call]:
    left_out = {(call.call_id, call.request_id) for call in some}
    return [call for call in wave if (call.call_id, call.request_id) not in left_out]
