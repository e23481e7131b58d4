"""A provider that fails everybody: no call is to blame, the attempt stays open, and the next run asks all again."""

from dataclasses import replace
from pathlib import Path

import pytest

from resources.journal import Failure, Journal
from resources.progress import LIMITED, listening
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, Fault
from tests.test_generator import CHAT, PATIENT, calls, generate, generator_at, outcomes, reasons

SERIAL = replace(PATIENT, concurrency=1)
TRIES = PATIENT.max_tries
OPEN = {(Outcome.NOT_SENT, QuarantineReason.UNREACHABLE)}


def journaled(home: Path, count: int) -> list[Failure]:
    journal = Journal.open(home, "reviews", "b1")
    records = [journal.get(call.call_id) for call in calls(count)]
    return [record for record in records if isinstance(record, Failure)]


@pytest.mark.parametrize(
    "fault",
    [Fault("server_error"), Fault("reset")],
    ids=["500", "reset"],
)
def test_an_outage_leaves_every_call_open_and_says_what_was_met(tmp_path: Path, fault: Fault) -> None:
    with FakeOpenAI(fault) as server:
        found = generate(generator_at(server.base_url, tmp_path), calls(5))
        server.faults.clear()
        again = generate(generator_at(server.base_url, tmp_path), calls(5))

    assert reasons(found) == OPEN
    assert found.stop.reason == QuarantineReason.UNREACHABLE
    assert found.stop.where == f"{CHAT.name}, model {CHAT.model}"
    assert found.stop.fix.startswith("not one call was answered (5 ")
    assert outcomes(again.endings) == {Outcome.ANSWERED: 5}


@pytest.mark.parametrize("retry_after", ["0", "3600"])
def test_a_provider_that_refuses_everybody_leaves_every_call_open(tmp_path: Path, retry_after: str) -> None:
    impatient = replace(PATIENT, deadline_s=3.0, max_tries=10_000)
    told: list[tuple[str, int, int]] = []
    with FakeOpenAI(Fault("rate_limited", retry_after=retry_after)) as server:
        with listening(lambda *news: told.append(news)):
            found = generate(generator_at(server.base_url, tmp_path, patience=impatient), calls(5))
        server.faults.clear()
        again = generate(generator_at(server.base_url, tmp_path), calls(5))

    assert reasons(found) == {(Outcome.NOT_SENT, QuarantineReason.RATE_LIMITED)}
    assert found.stop.where == f"{CHAT.name}, model {CHAT.model}"
    assert "the provider asks to wait" in found.stop.fix
    waited = [done for what, done, total in told if (what, total) == (LIMITED, 3)]
    assert waited == sorted(waited), "a person sees how long it has been"
    assert waited or retry_after == "3600", "a wait beyond all patience is told at once"
    assert outcomes(again.endings) == {Outcome.ANSWERED: 5}


def test_silence_is_an_outage_too(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("hang")) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=replace(PATIENT, deadline_s=0.2)), calls(3))

    assert reasons(found) == OPEN
    assert "3 deadline_exceeded" in found.stop.fix


def test_one_answer_and_the_failed_calls_are_their_own_fault(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("server_error", at=set(range(2, 100)))) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=SERIAL), calls(4))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 1, Outcome.QUARANTINED: 3}
    assert found.stop is None


def test_an_answer_of_an_earlier_run_counts(tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        generate(generator_at(server.base_url, tmp_path), calls(1))
        server.faults.append(Fault("server_error"))
        found = generate(generator_at(server.base_url, tmp_path), calls(4))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 1, Outcome.QUARANTINED: 3}


@pytest.mark.parametrize("kind", ["bad_request", "missing_model", "malformed"])
def test_a_reply_that_would_be_the_same_tomorrow_is_no_outage(tmp_path: Path, kind: str) -> None:
    with FakeOpenAI(Fault(kind, at={1}), Fault("server_error")) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=SERIAL), calls(3))

    assert outcomes(found.endings) == {Outcome.QUARANTINED: 3}
    assert found.stop is None


def test_a_single_call_that_fails_is_no_outage(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("server_error")) as server:
        found = generate(generator_at(server.base_url, tmp_path), calls(1))

    assert reasons(found) == {(Outcome.QUARANTINED, QuarantineReason.SERVER_ERROR)}


def test_a_stop_in_an_outage_keeps_its_own_reason_and_blames_nobody(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("unauthorized", at={2 * TRIES + 1}), Fault("server_error")) as server:
        impatient = replace(SERIAL, backoff_s=0.0)
        found = generate(generator_at(server.base_url, tmp_path, patience=impatient), calls(4))

    assert found.stop.reason == QuarantineReason.UNAUTHORIZED
    assert reasons(found) == {(Outcome.NOT_SENT, QuarantineReason.UNAUTHORIZED)}
    assert journaled(tmp_path, 4) == []


def test_what_failed_for_good_is_journaled_and_not_asked_again_after_a_stop(tmp_path: Path) -> None:
    """`not_sent` is the only outcome that may later change."""
    with FakeOpenAI(Fault("bad_request", at={2}), Fault("malformed", at={3}), Fault("unauthorized", at={4})) as server:
        stopped = generate(generator_at(server.base_url, tmp_path, patience=SERIAL), calls(5))
        resumed = generate(generator_at(server.base_url, tmp_path, patience=SERIAL), calls(5))

    assert resumed.endings[:3] == stopped.endings[:3]
    assert [ending.outcome for ending in resumed.endings[3:]] == [Outcome.ANSWERED] * 2
    assert len(server.requests) == 6
    assert {(failure.reason, failure.tries) for failure in journaled(tmp_path, 5)} == {
        (QuarantineReason.BAD_REQUEST, 1),
        (QuarantineReason.MALFORMED_ANSWER, 1),
    }


def test_a_paid_answer_nobody_can_read_is_on_disk_before_the_next_call_is_sent(tmp_path: Path) -> None:
    """A crash right after it does not pay for it again."""
    seen: list[list[Failure]] = []

    class Watching(FakeOpenAI):
        async def _answer(self, *arguments: object) -> object:
            seen.append(journaled(tmp_path, 2))
            return await super()._answer(*arguments)

    with Watching(Fault("malformed", at={1}), Fault("latency", seconds=0.1)) as server:
        generate(generator_at(server.base_url, tmp_path, patience=SERIAL), calls(3))

    assert [failure.call_id for failure in seen[-1]] == [calls(1)[0].call_id]


@pytest.mark.parametrize(("more", "is_outage"), [(2, False), (11, True)])
def test_a_few_calls_that_fail_after_others_were_answered_are_no_outage(
    tmp_path: Path, more: int, *, is_outage: bool
) -> None:
    """Or two prompts that break a server would keep an attempt open for ever."""
    with FakeOpenAI(Fault("server_error", at=set(range(5, 200)))) as server:
        generator = generator_at(server.base_url, tmp_path, patience=SERIAL)
        generate(generator, calls(4))
        found = generate(generator, calls(4 + more)[4:])

    assert (found.stop is not None) == is_outage
    assert outcomes(found.endings) == {Outcome.NOT_SENT if is_outage else Outcome.QUARANTINED: more}
