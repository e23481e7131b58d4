"""The pace: free until a limit shows, then as fast as it admits, and never a request inside a recognised wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.llm.pace import SEEN, SUSTAINED, Pace
from tests.fakes.limited_provider import Bucket, Client, Limit, NoLimit, Window, Worked


def work_off(rows: int, limit: Limit, *, wait_s: float = 1.0, concurrency: int = 64, stray: float = 0.0) -> Worked:
    return Client(Pace(), limit, wait_s=wait_s, concurrency=concurrency, stray=stray).work_off(rows)


LIMITS = st.one_of(
    st.builds(Bucket, rate=st.floats(20, 300), burst=st.floats(1, 600)),
    st.builds(Window, most=st.integers(20, 300), length_s=st.just(1.0)),
)


@given(limit=LIMITS, wait_s=st.sampled_from([0.1, 1.0, 2.0]), concurrency=st.integers(8, 256))
def test_under_any_limit_everything_is_delivered_and_no_wait_is_broken(
    limit: Limit, wait_s: float, concurrency: int
) -> None:
    found = work_off(1_000, limit, wait_s=wait_s, concurrency=concurrency)

    assert found.early == 0
    assert found.refused <= 3 * concurrency + 300
    assert found.took_s <= 4 * (1_000 / limit.rate + 10 * wait_s) + 1_000 * 0.2 / concurrency


@pytest.mark.parametrize("concurrency", [64, 256, 1024])
@pytest.mark.parametrize("rate", [30.0, 100.0, 240.0])
def test_a_limit_is_used_up_at_next_to_no_cost(rate: float, concurrency: int) -> None:
    rows = int(30 * rate)

    found = work_off(rows, Bucket(rate, burst=rate), concurrency=concurrency)

    assert (rows - rate) / found.took_s >= 0.95 * rate
    assert found.refused <= concurrency + 40
    assert found.most_tries <= 4


def test_a_limit_without_a_reserve_is_found_in_the_long_run() -> None:
    found = work_off(10_000, Bucket(100, burst=5))

    assert 10_000 / found.took_s >= 0.85 * 100


def test_a_limit_that_cannot_be_reached_is_never_found() -> None:
    assert work_off(2_000, Bucket(1_000, burst=1_000)) == Worked(took_s=pytest.approx(6.4, abs=0.2), most_tries=1)


@pytest.mark.parametrize("concurrency", [64, 256])
def test_stray_refusals_slow_nobody_but_their_own_rows(concurrency: int) -> None:
    found = work_off(10_000, NoLimit(), concurrency=concurrency, stray=0.05)

    assert found.took_s <= 10_000 * 0.2 / concurrency * 1.06 + 3.0


def test_a_provider_that_refuses_at_random_does_not_bring_the_pace_to_nothing() -> None:
    assert work_off(1_000, NoLimit(), stray=0.3).took_s < 300


def test_a_limit_with_stray_refusals_beside_it_keeps_a_part_of_its_rate() -> None:
    found = work_off(1_000, Bucket(100, burst=100), stray=0.02)

    assert found.took_s < 60


def test_refusals_are_judged_in_the_order_of_sending() -> None:
    scattered, together = Pace(), Pace()
    for pace in (scattered, together):
        for _ in range(64):
            pace.sent(0.0)

    spread = [scattered.refused(number, 0.001, 1.0) for number in range(1, 64, 3)]
    row = [together.refused(number, 0.001, 1.0) for number in range(20, 20 + SUSTAINED)]

    assert not any(spread)
    assert (scattered.opens_at() <= 0.001, scattered.rate) == (True, None)
    assert row == [False] * (SUSTAINED - 1) + [True]
    assert together.opens_at() == 1.001


def test_a_refusal_that_was_under_way_when_the_gate_was_shut_keeps_it_shut_as_long_as_it_says() -> None:
    pace = Pace()
    for _ in range(SEEN):
        pace.sent(0.0)
    for number in range(1, SUSTAINED + 1):
        pace.refused(number, 0.1, 1.0)

    assert pace.refused(SEEN, 0.2, 5.0)
    assert pace.opens_at() == 5.2
    assert pace.refused(SEEN - 1, 0.3, 1.0)
    assert pace.opens_at() == 5.2


def test_a_provider_that_refuses_everything_and_names_no_wait_is_asked_ever_less_often() -> None:
    pace, now, gates = Pace(), 0.0, []
    for _ in range(30):
        now = max(now, pace.opens_at())
        if pace.refused(pace.sent(now), now, 0.0):
            gates.append(pace.opens_at() - now)

    assert gates[0] >= 0.05
    assert gates[5] >= 8 * gates[0]
    assert gates[-1] == pytest.approx(60.0)
