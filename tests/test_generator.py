"""The generator: every call ends once, is paid once, and no fault of a provider raises."""

import gzip
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources import journal as journal_module
from resources import segment as segment_module
from resources.llm import make_generator
from resources.llm.answers import MalformedAnswerError, read_choice, retry_after
from resources.llm.client import OpenAIGenerator, Remote
from resources.llm.limits import Patience
from resources.llm.provider import Address
from resources.progress import ENDING
from synth_assets.domain import ids
from synth_assets.domain.ports import Call, Ending, Endings, Price, Provider
from synth_assets.errors import StoppedError, SynthError, UsageError
from synth_assets.recipe.model import Generator as Settings
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, Fault, parse_fault

KEY = "sk-very-secret"
CHAT = Provider(
    "fake", "fake-model", "fake-model", "chat", takes_llama_params=False, price=Price(1.0, 1000.0, "2026-01-01")
)
COMPLETION = replace(CHAT, mode="completion", takes_llama_params=True)
PATIENT = Patience(concurrency=4, deadline_s=20.0, max_tries=3, backoff_s=0.001)

RUN_ALONE = """
import sys
from pathlib import Path
from tests.test_generator import calls, generate, generator_at
generate(generator_at(sys.argv[1], Path(sys.argv[2])), calls(200))
"""


def calls(count: int, provider: Provider = CHAT) -> list[Call]:
    return [call(f"r{number}", f"Write a positive review, number {number}.", provider) for number in range(count)]


def call(request: str, text: str, provider: Provider = CHAT) -> Call:
    prompt = [{"role": "user", "content": text}] if provider.mode == "chat" else text
    params = {"temperature": 1.0, "max_tokens": 64}
    seed = ids.sampling_seed(text)
    call_id = ids.call_id(
        provider=provider.name, model=provider.model_id, params=params, prompt=prompt, schema=None, seed=seed
    )
    return Call(call_id, request, prompt, params, seed)


def generator_at(
    base_url: str, home: Path, *, provider: Provider = CHAT, patience: Patience = PATIENT, is_replay: bool = False
) -> OpenAIGenerator:
    endpoint = Remote(Address(base_url, KEY))
    return OpenAIGenerator(provider, endpoint, patience=patience, home=home, is_replay=is_replay)


def generate(
    generator: OpenAIGenerator,
    planned: Sequence[Call],
    *,
    limit_usd: float | None = None,
    progress: Callable[[int, int], None] = lambda ended, total: None,
    is_ours: Callable[[], bool] = lambda: True,
) -> Endings:
    return generator.generate(
        planned,
        dataset="reviews",
        batch="b1",
        spend_limit_usd=limit_usd,
        progress=progress,
        is_ours=is_ours,
    )


def outcomes(endings: Sequence[Ending]) -> dict[Outcome, int]:
    return dict(Counter(ending.outcome for ending in endings))


def reasons(found: Endings) -> set[tuple[Outcome, QuarantineReason | None]]:
    return {(ending.outcome, ending.reason) for ending in found.endings}


def closed_port_url() -> str:
    with FakeOpenAI() as server:
        return server.base_url


@pytest.mark.parametrize("provider", [CHAT, COMPLETION], ids=["chat", "completion"])
def test_every_call_is_answered_in_plan_order_and_paid_once(tmp_path: Path, provider: Provider) -> None:
    planned = calls(30, provider)
    told: list[tuple[int, int]] = []

    with FakeOpenAI() as server:
        found = generate(
            generator_at(server.base_url, tmp_path, provider=provider),
            planned,
            progress=lambda ended, total: told.append((ended, total)),
        )

    assert [ending.request_id for ending in found.endings] == [one.request_id for one in planned]
    assert outcomes(found.endings) == {Outcome.ANSWERED: 30}
    assert len({ending.answer.text for ending in found.endings}) == 30
    assert found.stop is None
    assert found.paid_now == 30
    assert set(server.paid.values()) == {1}
    assert (told[0], told[-1]) == ((0, 30), (30, 30))


def test_what_was_paid_before_is_not_sent_again_and_ends_the_same(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("truncated", every=3), Fault("refusal", every=4), Fault("empty", every=5)) as server:
        first = generate(generator_at(server.base_url, tmp_path), calls(20))
        paid = len(server.requests)
        second = generate(generator_at(server.base_url, tmp_path), calls(20))

    assert len(server.requests) == paid == 20
    assert second.endings == first.endings
    assert second.paid_now == 0
    assert {ending.reason for ending in second.endings} == {
        None,
        QuarantineReason.TRUNCATED,
        QuarantineReason.REFUSED,
        QuarantineReason.EMPTY_ANSWER,
    }


def test_a_replay_needs_no_endpoint(tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        generate(generator_at(server.base_url, tmp_path), calls(3))

    replayed = generate(generator_at(server.base_url, tmp_path), calls(3))

    assert outcomes(replayed.endings) == {Outcome.ANSWERED: 3}


def test_two_requests_that_send_the_same_thing_send_it_once(tmp_path: Path) -> None:
    planned = [call("r0", "same"), call("r1", "other"), call("r2", "same")]

    with FakeOpenAI() as server:
        found = generate(generator_at(server.base_url, tmp_path), planned)

    assert len(server.requests) == 2
    assert [ending.request_id for ending in found.endings] == ["r0", "r1", "r2"]
    assert found.endings[0].answer == found.endings[2].answer
    assert found.paid_now == 2


@pytest.mark.parametrize(
    ("kind", "reason", "tries"),
    [
        ("malformed", QuarantineReason.MALFORMED_ANSWER, 1),
        ("html", QuarantineReason.MALFORMED_ANSWER, 1),
        ("no_choices", QuarantineReason.MALFORMED_ANSWER, 1),
        ("huge", QuarantineReason.MALFORMED_ANSWER, 1),
        ("empty", QuarantineReason.EMPTY_ANSWER, 1),
        ("truncated", QuarantineReason.TRUNCATED, 1),
        ("refusal", QuarantineReason.REFUSED, 1),
        ("filtered", QuarantineReason.CONTENT_FILTER, 1),
        ("bad_request", QuarantineReason.BAD_REQUEST, 1),
        ("missing_model", QuarantineReason.NOT_FOUND, 1),
        ("redirect", QuarantineReason.NOT_FOUND, 1),
        ("rate_limited", QuarantineReason.RATE_LIMITED, 3),
        ("server_error", QuarantineReason.SERVER_ERROR, 3),
        ("reset", QuarantineReason.CONNECTION_FAILED, 3),
    ],
)
def test_a_faulty_call_is_quarantined_and_the_others_go_on(
    tmp_path: Path, kind: str, reason: QuarantineReason, tries: int
) -> None:
    serial = replace(PATIENT, concurrency=1)
    with FakeOpenAI(Fault(kind, at=set(range(1, tries + 1)))) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=serial), calls(1))
        others = generate(generator_at(server.base_url, tmp_path, patience=serial), calls(4)[1:])

    assert [(e.outcome, e.reason, e.tries) for e in found.endings] == [(Outcome.QUARANTINED, reason, tries)]
    assert found.stop is None
    assert outcomes(others.endings) == {Outcome.ANSWERED: 3}


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "reset"])
def test_a_passing_fault_is_tried_again(tmp_path: Path, kind: str) -> None:
    with FakeOpenAI(Fault(kind, at={1, 3})) as server:
        found = generate(generator_at(server.base_url, tmp_path), calls(6))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 6}
    assert sum(ending.tries for ending in found.endings) == len(server.requests) == 8
    assert set(server.paid.values()) == {1}


def test_a_row_that_waits_leaves_its_slot_to_others(tmp_path: Path) -> None:
    planned = calls(4)
    with FakeOpenAI(Fault("rate_limited", at={1}, retry_after="0.3")) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=replace(PATIENT, concurrency=1)), planned)

    sent = [request.body["messages"][0]["content"] for request in server.requests]
    assert sent == [planned[number].prompt[0]["content"] for number in (0, 1, 2, 3, 0)]
    assert [ending.tries for ending in found.endings] == [2, 1, 1, 1]


def test_a_wait_beyond_the_deadline_is_not_waited_for(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("rate_limited", at={1}, retry_after="3600")) as server:
        found = generate(generator_at(server.base_url, tmp_path), calls(2))

    assert sorted(ending.reason or "" for ending in found.endings) == ["", QuarantineReason.RATE_LIMITED]
    assert outcomes(found.endings) == {Outcome.ANSWERED: 1, Outcome.NOT_SENT: 1}, "whichever came first"
    assert found.stop.reason == QuarantineReason.RATE_LIMITED
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_call_ends_at_its_deadline_even_if_bytes_keep_coming(tmp_path: Path, kind: str) -> None:
    with FakeOpenAI(Fault(kind, at={1})) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=replace(PATIENT, deadline_s=0.25)), calls(1))

    assert reasons(found) == {(Outcome.QUARANTINED, QuarantineReason.DEADLINE_EXCEEDED)}


def test_a_row_that_gets_no_slot_before_its_deadline_keeps_the_reason_of_its_last_try(tmp_path: Path) -> None:
    serial = replace(PATIENT, concurrency=1, deadline_s=0.25)
    with FakeOpenAI(Fault("rate_limited", at={1}, retry_after="0.01"), Fault("hang", at={2})) as server:
        found = generate(generator_at(server.base_url, tmp_path, patience=serial), calls(3))

    assert [(ending.reason, ending.tries) for ending in found.endings] == [
        (QuarantineReason.RATE_LIMITED, 1),
        (QuarantineReason.DEADLINE_EXCEEDED, 1),
        (None, 1),
    ]


def test_no_more_calls_are_in_flight_than_allowed(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("latency", seconds=0.02)) as server:
        generate(generator_at(server.base_url, tmp_path, patience=replace(PATIENT, concurrency=5)), calls(40))

    assert server.most_in_flight == 5


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("unauthorized", QuarantineReason.UNAUTHORIZED), ("quota", QuarantineReason.QUOTA_EXHAUSTED)],
)
def test_what_no_call_would_survive_stops_the_run_and_leaves_the_rest_unsent(
    tmp_path: Path, kind: str, reason: QuarantineReason
) -> None:
    serial = replace(PATIENT, concurrency=1)
    with FakeOpenAI(Fault(kind, at={4})) as server:
        stopped = generate(generator_at(server.base_url, tmp_path, patience=serial), calls(10))
        resumed = generate(generator_at(server.base_url, tmp_path, patience=serial), calls(10))

    assert stopped.stop.reason == reason
    assert [(e.outcome, e.reason) for e in stopped.endings[3:]] == [(Outcome.NOT_SENT, reason)] * 7
    assert outcomes(stopped.endings) == {Outcome.ANSWERED: 3, Outcome.NOT_SENT: 7}
    assert outcomes(resumed.endings) == {Outcome.ANSWERED: 10}
    assert set(server.paid.values()) == {1}


def test_progress_counts_what_ended_and_nothing_that_was_not_sent(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with FakeOpenAI(Fault("unauthorized", at={4})) as server:
        generator = generator_at(server.base_url, tmp_path, patience=replace(PATIENT, concurrency=1))
        generate(generator, calls(10), progress=lambda ended, total: told.append((ended, total)))

    assert told[-1] == (3, 10)


def test_an_endpoint_nobody_answers_at_stops_the_run(tmp_path: Path) -> None:
    found = generate(generator_at(closed_port_url(), tmp_path), calls(8))

    assert found.stop.reason == QuarantineReason.UNREACHABLE
    assert reasons(found) == {(Outcome.NOT_SENT, QuarantineReason.UNREACHABLE)}


def test_a_completion_provider_that_only_chats_quarantines_every_row(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("chat_only")) as server:
        found = generate(generator_at(server.base_url, tmp_path, provider=COMPLETION), calls(3, COMPLETION))

    assert reasons(found) == {(Outcome.QUARANTINED, QuarantineReason.NOT_FOUND)}


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 64_000_000)
    with FakeOpenAI(Fault("body", body=bomb, headers={"Content-Encoding": "gzip"})) as server:
        found = generate(generator_at(server.base_url, tmp_path), calls(1))

    assert reasons(found) == {(Outcome.QUARANTINED, QuarantineReason.MALFORMED_ANSWER)}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"<html>",
        b'{"choices": null}',
        b'{"choices": {}}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": "text"}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b'{"choices": [{"message": {"content": "a\\u0000b"}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
)
def test_a_body_of_another_shape_is_malformed_and_never_raises_anything_else(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        read_choice(body, "chat")


def test_facts_nobody_can_believe_are_unknown() -> None:
    choice = read_choice(
        b'{"choices": [{"text": "a", "logprobs": {"token_logprobs": [null, -1.0, -2, true]}, "finish_reason": 3}],'
        b' "model": ["m"], "usage": {"prompt_tokens": -1, "completion_tokens": true}}',
        "completion",
    )

    assert (choice.text, choice.finish_reason, choice.model) == ("a", None, None)
    assert (choice.input_tokens, choice.output_tokens, choice.mean_logprob) == (None, None, -1.5)


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "99 bottles", "Thu, 99 Foo 2026"])
def test_a_retry_after_that_says_nothing_is_ignored(said: str) -> None:
    assert retry_after({"retry-after": said}, now=datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_a_budget_is_never_exceeded_and_used_up_before_it_stops(tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        whole = generate(generator_at(server.base_url, tmp_path / "a"), calls(20))
        cost = [CHAT.price.of(e.answer.input_tokens, e.answer.output_tokens) for e in whole.endings]
        limit = sum(cost) / 2
        part = generate(generator_at(server.base_url, tmp_path / "b"), calls(20), limit_usd=limit)

    spent = sum(CHAT.price.of(e.answer.input_tokens, e.answer.output_tokens) for e in part.endings if e.answer)
    assert part.stop.reason == QuarantineReason.BUDGET_SPENT
    assert limit - CHAT.price.of(60, 64) < spent <= limit
    assert {e.reason for e in part.endings if e.outcome == Outcome.NOT_SENT} == {QuarantineReason.BUDGET_SPENT}


def test_a_resumed_run_counts_what_was_paid_before(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("malformed", every=5)) as server:
        whole = generate(generator_at(server.base_url, tmp_path / "a"), calls(20))
        cost = [CHAT.price.of(e.answer.input_tokens, e.answer.output_tokens) for e in whole.endings if e.answer]
        first = generate(generator_at(server.base_url, tmp_path / "b"), calls(20), limit_usd=sum(cost) / 2)
        sent = len(server.requests)
        second = generate(generator_at(server.base_url, tmp_path / "b"), calls(20), limit_usd=sum(cost) / 2)

    assert first.stop.reason == second.stop.reason == QuarantineReason.BUDGET_SPENT
    assert len(server.requests) == sent
    assert second.endings == first.endings


def test_a_budget_without_a_price_sends_nothing(tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        generator = generator_at(server.base_url, tmp_path, provider=replace(CHAT, price=None))
        found = generate(generator, calls(3), limit_usd=1.0)

    assert server.requests == []
    assert found.stop.reason == QuarantineReason.BUDGET_SPENT
    assert "generator.prices.fake-model" in found.stop.fix


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_keeps_what_is_paid_and_counts_what_was_dropped_as_sent(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(number)
    with FakeOpenAI(Fault("hang", at=set(range(6, 100)))) as server:

        def again(what: str, _done: int, _total: int) -> None:
            if what == ENDING:
                os.kill(os.getpid(), number)

        monkeypatch.setattr("resources.llm.schedule.announce", again)

        def interrupt_once_all_hang() -> None:
            while len(server.requests) < 9:
                server.arrived.wait(0.01)
            os.kill(os.getpid(), number)

        threading.Thread(target=interrupt_once_all_hang).start()
        patience = replace(PATIENT, deadline_s=60.0)
        stopped = generate(generator_at(server.base_url, tmp_path, patience=patience), calls(20))
        server.faults.clear()
        resumed = generate(generator_at(server.base_url, tmp_path), calls(20))

    assert stopped.stop.reason == QuarantineReason.STOPPED
    assert outcomes(stopped.endings) == {Outcome.ANSWERED: 5, Outcome.NOT_SENT: 15}
    assert sum(ending.lost for ending in stopped.endings) == 4
    assert outcomes(resumed.endings) == {Outcome.ANSWERED: 20}
    assert [each.lost for each in resumed.endings] == [each.lost for each in stopped.endings], "it is not forgotten"
    assert set(server.paid.values()) == {1}
    assert signal.getsignal(number) == handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_what_was_sent_end_and_sends_nothing_more(
    tmp_path: Path, number: signal.Signals
) -> None:
    with FakeOpenAI(Fault("latency", seconds=0.3)) as server:

        def interrupt() -> None:
            server.arrived.wait()
            os.kill(os.getpid(), number)

        threading.Thread(target=interrupt).start()
        stopped = generate(generator_at(server.base_url, tmp_path, patience=replace(PATIENT, deadline_s=60)), calls(20))

    sent = len(server.requests)
    assert 0 < sent < 20
    assert stopped.stop.reason == QuarantineReason.STOPPED
    assert outcomes(stopped.endings) == {Outcome.ANSWERED: sent, Outcome.NOT_SENT: 20 - sent}
    assert sum(ending.lost for ending in stopped.endings) == 0


def test_once_the_batch_is_no_longer_ours_what_was_sent_ends_and_nothing_more_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.llm.lookout.LOOK_EVERY_S", 0.0)
    looks = iter([True, True])
    with FakeOpenAI() as server:
        patience = replace(PATIENT, concurrency=2)
        generator = generator_at(server.base_url, tmp_path, patience=patience)
        lost = generate(generator, calls(20), is_ours=lambda: next(looks, False))

    sent = len(server.requests)
    assert 0 < sent < 20
    assert lost.stop.reason == QuarantineReason.STOPPED
    assert outcomes(lost.endings) == {Outcome.ANSWERED: sent, Outcome.NOT_SENT: 20 - sent}


def test_whose_the_batch_is_is_looked_at_before_anything_is_sent_and_then_once_a_second(tmp_path: Path) -> None:
    looks: list[int] = []
    with FakeOpenAI() as server:

        def look() -> bool:
            looks.append(len(server.requests))
            return True

        generate(generator_at(server.base_url, tmp_path), calls(40), is_ours=look)
        generate(generator_at(server.base_url, tmp_path), calls(40), is_ours=look)

    assert looks[0] == 0
    assert len(looks) < 10
    assert len(server.requests) == 40, "what is in the journal is nobody's to look for"


def test_a_server_that_does_not_say_whose_the_batch_is_is_borne_for_a_while_and_then_stops_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> bool:
        raise StoppedError("the server does not answer", where="its address", fix="start it")

    with FakeOpenAI() as server:
        borne = generate(generator_at(server.base_url, tmp_path), calls(5), is_ours=silent)
        monkeypatch.setattr("resources.llm.lookout.SILENT_S", 0.0)
        stopped = generate(generator_at(server.base_url, tmp_path), calls(10), is_ours=silent)

    assert (borne.stop, len(server.requests)) == (None, 5)
    assert (stopped.stop.where, stopped.stop.fix) == ("its address", "start it")


def test_what_was_sent_is_not_waited_for_longer_than_the_grace(tmp_path: Path) -> None:
    impatient = replace(PATIENT, deadline_s=60.0, grace_s=0.2)
    with FakeOpenAI(Fault("hang")) as server:

        def interrupt() -> None:
            server.arrived.wait()
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        stopped = generate(generator_at(server.base_url, tmp_path, patience=impatient), calls(3))

    assert outcomes(stopped.endings) == {Outcome.NOT_SENT: 3}
    assert sum(ending.lost for ending in stopped.endings) == len(server.requests)


def test_an_interrupt_inside_progress_is_a_stop_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.llm.ledger.PROGRESS_S", 0.0)

    def interrupt_at_three(ended: int, total: int) -> None:
        if ended == 3:
            raise KeyboardInterrupt

    with FakeOpenAI() as server:
        generator = generator_at(server.base_url, tmp_path, patience=replace(PATIENT, concurrency=1))
        found = generate(generator, calls(400), progress=interrupt_at_three)

    assert found.stop.reason == QuarantineReason.STOPPED
    assert 3 <= outcomes(found.endings)[Outcome.ANSWERED] < 400


def test_a_killed_run_pays_twice_at_most_what_was_in_flight(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("latency", seconds=0.01)) as server:
        command = [sys.executable, "-c", RUN_ALONE, server.base_url, str(tmp_path)]
        with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as child:
            while len(server.requests) < 60 and child.poll() is None:
                server.arrived.wait(0.01)
            child.kill()
        resumed = generate(generator_at(server.base_url, tmp_path), calls(200))

    assert child.returncode == -signal.SIGKILL
    assert outcomes(resumed.endings) == {Outcome.ANSWERED: 200}
    assert resumed.paid_now < 200
    assert max(server.paid.values()) <= 2
    # On the wire, and answered within the last group that was not on disk yet.
    assert sum(count == 2 for count in server.paid.values()) <= PATIENT.concurrency + journal_module.GROUP_RECORDS


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with FakeOpenAI() as server:
        generate(generator_at(server.base_url, tmp_path), calls(3))
        monkeypatch.setattr(segment_module, "_sync", full)
        found = generate(generator_at(server.base_url, tmp_path), calls(30))

    assert found.stop.reason == QuarantineReason.STOPPED
    assert "disk space" in found.stop.fix
    assert outcomes(found.endings) == {Outcome.ANSWERED: 3, Outcome.NOT_SENT: 27}


def test_neither_key_nor_text_reaches_stops_endings_or_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    planned = [call(f"r{number}", f"PROMPT-CANARY {number}") for number in range(4)]

    with FakeOpenAI(Fault("bad_request", at={1}), Fault("unauthorized", at={2})) as server:
        generator = generator_at(server.base_url, tmp_path, patience=replace(PATIENT, concurrency=1))
        found = generate(generator, planned)

    said = repr(found) + caplog.text + repr(vars(generator)) + repr(Address("http://x", KEY))
    assert [word for word in (KEY, "CANARY", "SECRET-ECHO") if word in said] == []


def test_only_our_own_headers_and_settings_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/foreign")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Foreign: 1")
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with FakeOpenAI() as server:
        generate(generator_at(server.base_url, tmp_path), calls(1))

    sent = server.requests[0]
    assert sent.authorization == f"Bearer {KEY}"
    assert sent.headers["idempotency-key"] == calls(1)[0].call_id
    assert [name for name in sent.headers if "openai" in name or "stainless" in name or "foreign" in name] == []
    assert set(sent.body) == {"model", "messages", "temperature", "max_tokens", "seed"}


def test_the_environment_overrides_the_recipe_with_a_chat_provider_named_by_its_host(tmp_path: Path) -> None:
    settings = Settings(
        prices={"m-1": {"input_usd_per_million": 1, "output_usd_per_million": 2, "as_of": "2026-01-01"}}
    )
    environ = {"SYNTH_LLM_BASE_URL": "https://LLM.example:8443/v1/", "SYNTH_LLM_API_KEY": KEY, "SYNTH_LLM_MODEL": "m-1"}

    provider = make_generator(settings, home=tmp_path, environ=environ).provider

    assert provider == Provider(
        "llm.example:8443", "m-1", "m-1", "chat", takes_llama_params=False, price=Price(1, 2, "2026-01-01")
    )


@pytest.mark.parametrize(
    ("model", "environ"),
    [
        ("some-model", {}),
        ("embedded", {"SYNTH_LLM_MODEL": "some-model"}),
        ("embedded", {"SYNTH_LLM_BASE_URL": "http://127.0.0.1:1/v1"}),
        ("some-model", {"SYNTH_LLM_BASE_URL": "127.0.0.1:1/v1"}),
        ("some-model", {"SYNTH_LLM_BASE_URL": "ftp://host/v1"}),
        ("some-model", {"SYNTH_LLM_BASE_URL": "http://user:word@host/v1"}),
        ("some-model", {"SYNTH_LLM_BASE_URL": "http://host:port/v1"}),
    ],
)
def test_settings_that_name_no_endpoint_or_no_model_are_refused(
    tmp_path: Path, model: str, environ: dict[str, str]
) -> None:
    with pytest.raises(UsageError):
        make_generator(Settings(model=model), home=tmp_path, environ=environ)


def test_a_missing_embedded_model_names_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(SynthError, match="make demo"):
        make_generator(Settings(), home=tmp_path, environ={"SYNTH_ASSETS_DATA": str(tmp_path)})


def test_the_sdk_is_not_imported_before_the_first_request() -> None:
    look = "import sys, resources.llm; print(sorted({'openai', 'httpx2', 'aiohttp', 'xllamacpp'} & set(sys.modules)))"

    said = subprocess.run(
        [sys.executable, "-c", look], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "[]"


def test_the_fake_server_starts_from_a_shell_and_keeps_its_count(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fakes.openai_server",
        "--state",
        str(tmp_path / "log"),
        "--fault",
        "refusal:at=2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as child:
        base_url = child.stdout.readline().strip()
        found = generate(generator_at(base_url, tmp_path), calls(3))
        child.terminate()

    assert outcomes(found.endings) == {Outcome.ANSWERED: 2, Outcome.QUARANTINED: 1}
    assert len((tmp_path / "log").read_text().splitlines()) == 3
    assert parse_fault("rate_limited:rate=0.05,retry_after=1") == Fault("rate_limited", rate=0.05, retry_after="1")
