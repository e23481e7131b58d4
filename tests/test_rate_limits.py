"""The generator at a provider's rate limit: everything is delivered, no wait is broken, nothing is given up for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.mock_provider import mock_provider
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, Fault
from tests.test_generator import PATIENT, calls, generate, generator_at, outcomes, reasons

EAGER = replace(PATIENT, concurrency=64, max_tries=2)
LONG = "3600"


def test_at_a_cap_every_row_is_delivered_and_no_wait_is_broken(tmp_path: Path) -> None:
    # Beside other work a refusal may lie unread for a while; half of the wait is left to see what is sent after it.
    with mock_provider(cap=150.0, burst=20.0, retry_after="0.5", latency_s=0.01, on_the_wire_s=0.25) as provider:
        found = generate(generator_at(provider.base_url, tmp_path, patience=EAGER), calls(200))
        books = provider.stats()

    assert outcomes(found.endings) == {Outcome.ANSWERED: 200}
    assert books["paid"] == {"1": 200}
    assert books["refused"] >= 8
    assert books.get("same row in its window", 0) == 0
    assert books.get("any row in a window", 0) == 0


def test_a_row_is_not_given_up_for_a_limit_that_met_everybody(tmp_path: Path) -> None:
    twice = replace(PATIENT, max_tries=2)
    with FakeOpenAI(Fault("rate_limited", at=set(range(1, 11)), retry_after="0.01")) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=twice), calls(8))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 8}
    assert max(ending.tries for ending in found.endings) > twice.max_tries
    assert len(server.requests) == 18


def test_a_row_that_may_only_be_sent_after_its_time_is_left_unsent_and_the_others_go_on(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("rate_limited", at={2}, retry_after=LONG)) as server:
        stopped = generate(generator_at(server.base_url, tmp_path), calls(20))
        resumed = generate(generator_at(server.base_url, tmp_path), calls(20))

    assert outcomes(stopped.endings) == {Outcome.ANSWERED: 19, Outcome.NOT_SENT: 1}
    assert stopped.stop.reason == QuarantineReason.RATE_LIMITED
    assert stopped.stop.fix == "the provider asks to wait for 3,600 s; run the same command again then"
    assert outcomes(resumed.endings) == {Outcome.ANSWERED: 20}
    assert set(server.paid.values()) == {1}


def test_a_limit_that_outlasts_what_a_call_may_take_stops_the_run_before_all_rows_have_met_it(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("rate_limited", retry_after=LONG)) as server:
        found = generate(generator_at(server.base_url, tmp_path), calls(200))

    assert reasons(found) == {(Outcome.NOT_SENT, QuarantineReason.RATE_LIMITED)}
    assert "3,600 s" in found.stop.fix
    assert len(server.requests) < 20


def test_a_provider_that_answers_nothing_but_refusals_stops_the_run(tmp_path: Path) -> None:
    impatient = replace(PATIENT, deadline_s=0.5)
    with FakeOpenAI(Fault("rate_limited", retry_after="0.1")) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=impatient), calls(50))

    assert found.stop.reason == QuarantineReason.RATE_LIMITED
    assert {ending.reason for ending in found.endings} == {QuarantineReason.RATE_LIMITED}
    assert len(server.requests) < 40


@pytest.mark.parametrize("concurrency", [1, 1024])
def test_any_concurrency_works(tmp_path: Path, concurrency: int) -> None:
    patience = replace(PATIENT, concurrency=concurrency, deadline_s=120.0)
    with FakeOpenAI(Fault("latency", seconds=0.001)) as server:
        found = generate(
            generator_at(server.base_url, tmp_path, patience=patience), calls(40 if concurrency == 1 else 1_100)
        )

    assert set(outcomes(found.endings)) == {Outcome.ANSWERED}
    assert server.most_in_flight <= concurrency


def test_a_limit_found_for_one_wave_of_calls_is_known_for_the_next(tmp_path: Path) -> None:
    with mock_provider(cap=100.0, burst=20.0, retry_after="0.2", latency_s=0.01) as provider:
        generator = generator_at(provider.base_url, tmp_path, patience=EAGER)
        generate(generator, calls(60))
        first = provider.stats()["refused"]
        generate(generator, calls(120))
        second = provider.stats()["refused"] - first

    assert first >= 8
    assert second < 8
