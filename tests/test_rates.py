"""A provider's own limits per minute: kept from the first request on, and corrected by what answers took."""

import contextlib
from pathlib import Path

import pytest

from resources.llm.client import Remote, Router
from resources.llm.line import Line
from resources.llm.provider import Address
from resources.llm.rates import LATE_S, Meter, Rate
from synth_assets.domain.ports import Answer, Call, Route, Routing
from tests.fakes.openai_server import FakeOpenAI
from tests.test_router import NEAR, PATIENT, call


def passed(meter: Meter, *, until: float, asked_every: float = 0.0, amount: float = 1) -> list[float]:
    """Return the times at which units passed for somebody who asks as soon as it is open, but not more often."""
    now, times = 0.0, []
    while now <= until:
        meter.take(amount, now)
        times.append(now)
        now = max(meter.opens_at(), now + asked_every)
    return times


@pytest.mark.parametrize("per_minute", [1, 60, 600, 90_000])
def test_no_minute_ever_has_more_than_the_limit_and_the_second_a_late_timer_may_make_up_for(per_minute: int) -> None:
    times = passed(Meter(per_minute), until=180)

    at_most = per_minute + per_minute * LATE_S / 60 + 1
    assert per_minute <= sum(60 < at <= 120 for at in times) <= at_most
    assert sum(at < 60 for at in times) <= at_most


def test_what_was_idle_is_not_saved_up() -> None:
    meter = Meter(600)
    meter.take(1, 0.0)

    now, times = 3600.0, []
    while now < 3660:
        meter.take(1, now)
        times.append(now)
        now = max(now, meter.opens_at())

    assert len(times) <= 600 * (1 + LATE_S / 60) + 1


def test_without_a_limit_it_is_always_open() -> None:
    meter = Meter(None)
    meter.take(1e9, 5.0)

    assert meter.opens_at() < 0


def test_a_large_request_holds_the_next_one_back_for_as_long_as_its_tokens_take_until_its_answer_says_less() -> None:
    rate, asked = Rate(tokens_per_minute=6000), _call(max_tokens=1000)
    rate.sent(100.0, asked)

    held = rate.opens_at()
    rate.took(asked, _answer(40, 60))

    assert held > 100.0 + 1000 / 100 - LATE_S
    assert rate.opens_at() == pytest.approx(100.0 - LATE_S + 100 / 100)


def test_an_answer_that_does_not_count_its_tokens_corrects_nothing() -> None:
    rate, asked = Rate(tokens_per_minute=6000), _call(max_tokens=1000)
    rate.sent(100.0, asked)
    held = rate.opens_at()

    rate.took(asked, _answer(None, 60))

    assert rate.opens_at() == held


def test_requests_leave_no_faster_than_the_profile_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.llm.ledger.PROGRESS_S", 0.0)

    def interrupt_after_the_first(ended: int, total: int) -> None:
        if ended == 1:
            raise KeyboardInterrupt

    with FakeOpenAI() as server:
        line = Line(Remote(Address(server.base_url, "sk")), PATIENT, Rate(requests_per_minute=6))
        generator = Router(Routing((Route(NEAR),)), {"near": line}, home=tmp_path)
        planned = [call(number, NEAR) for number in range(5)]
        with contextlib.suppress(KeyboardInterrupt):
            generator.generate(
                planned,
                dataset="reviews",
                batch="b1",
                spend_limit_usd=None,
                progress=interrupt_after_the_first,
                is_ours=lambda: True,
            )

    assert len(server.requests) == 1, "the next one was due ten seconds later, though four could be in flight"


def _call(*, max_tokens: int) -> Call:
    return Call("c", "r", "word", {"max_tokens": max_tokens}, 0)


def _answer(given: int | None, said: int | None) -> Answer:
    return Answer("c", "x", False, "stop", "m", given, said, None, 0.1, None, 1)
