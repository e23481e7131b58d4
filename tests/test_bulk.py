"""`dispatch: batch`: files of calls are uploaded once, waited for, collected, and paid for once, whatever happens."""

import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from resources.journal import Journal
from resources.llm import make_generator
from resources.llm.client import OpenAIGenerator, Remote
from resources.llm.provider import Address
from resources.llm.submissions import Submissions
from synth_assets.domain.ports import Call, Endings
from synth_assets.errors import IntegrityError, UsageError
from synth_assets.recipe.model import Generator as Settings
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.batch_provider import BatchProvider, Plan
from tests.test_generator import CHAT, KEY, PATIENT, calls, generate, outcomes

POLL_S = 0.001


def ask(server: BatchProvider, home: Path, planned: Sequence[Call], *, limit_usd: float | None = None) -> Endings:
    address = Address(server.base_url, KEY)
    generator = OpenAIGenerator(CHAT, Remote(address), patience=PATIENT, home=home, poll_s=POLL_S)
    return generate(generator, planned, limit_usd=limit_usd)


def unfinished(home: Path) -> int:
    return len(Submissions(home, "reviews", "b1").unfinished())


def test_calls_are_uploaded_as_one_file_and_their_answers_collected(tmp_path: Path) -> None:
    with BatchProvider(Plan(polls=3)) as server:
        found = ask(server, tmp_path, calls(20))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 20}
    assert [ending.request_id for ending in found.endings] == [f"r{number}" for number in range(20)]
    assert (server.uploads, len(server.batches), server.polled) == (1, 1, 3)
    assert found.paid_now == 20
    assert server.requests == [], "nothing was sent online"
    assert unfinished(tmp_path) == 0


def test_every_answer_is_in_the_journal_and_a_second_run_asks_nobody(tmp_path: Path) -> None:
    with BatchProvider() as server:
        first = ask(server, tmp_path, calls(5))
        second = ask(server, tmp_path, calls(5))

    assert len(server.batches) == 1
    assert [replace(e, answer=None) for e in second.endings] == [replace(e, answer=None) for e in first.endings]
    journal = Journal.open(tmp_path, "reviews", "b1")
    assert all(journal.get(call.call_id) is not None for call in calls(5))


def test_who_stops_waiting_finds_the_work_again_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    with BatchProvider(Plan(polls=5)) as server:
        server.on_poll = lambda polled: os.kill(os.getpid(), signal.SIGINT) if polled == 2 else None
        left = ask(server, tmp_path, calls(8))
        assert unfinished(tmp_path) == 1
        found = ask(server, tmp_path, calls(8))

    assert left.stop.reason == QuarantineReason.STOPPED
    assert outcomes(left.endings) == {Outcome.NOT_SENT: 8}
    assert outcomes(found.endings) == {Outcome.ANSWERED: 8}
    assert (server.uploads, len(server.batches)) == (1, 1)
    assert unfinished(tmp_path) == 0


def test_a_file_is_not_handed_over_once_the_batch_is_no_longer_ours(tmp_path: Path) -> None:
    with BatchProvider() as server:
        generator = OpenAIGenerator(
            CHAT, Remote(Address(server.base_url, KEY)), patience=PATIENT, home=tmp_path, poll_s=POLL_S
        )
        lost = generate(generator, calls(8), is_ours=lambda: False)

    assert lost.stop.reason == QuarantineReason.STOPPED
    assert outcomes(lost.endings) == {Outcome.NOT_SENT: 8}
    assert server.uploads == 0


def test_a_process_that_died_while_it_waited_goes_on_with_the_same_batch(tmp_path: Path) -> None:
    with BatchProvider() as server:
        submissions = Submissions(tmp_path, "reviews", "b1")
        submissions.open([call.call_id for call in calls(8)], round=0, at=1.0)
        server.forgets_replies_to = {"GET /v1/batches/batch_N"}
        died = ask(server, tmp_path, calls(8))
        server.forgets_replies_to = set()
        found = ask(server, tmp_path, calls(8))

    assert died.stop is not None
    assert outcomes(died.endings) == {Outcome.NOT_SENT: 8}
    assert outcomes(found.endings) == {Outcome.ANSWERED: 8}
    assert (server.uploads, len(server.batches)) == (1, 1)


def test_a_batch_whose_name_was_lost_is_found_by_its_key_and_not_made_twice(tmp_path: Path) -> None:
    with BatchProvider() as server:
        server.forgets_replies_to = {"POST /v1/batches"}
        lost = ask(server, tmp_path, calls(8))
        made = len(server.batches)
        server.forgets_replies_to = set()
        found = ask(server, tmp_path, calls(8))

    assert lost.stop.reason == QuarantineReason.UNREACHABLE
    assert made >= 1
    assert len(server.batches) == made
    assert outcomes(found.endings) == {Outcome.ANSWERED: 8}
    assert max(Counter(server.answered).values()) == 1


def test_what_failed_in_passing_is_submitted_again_and_nothing_else_is(tmp_path: Path) -> None:
    with BatchProvider(Plan(faults={3: 500}), Plan()) as server:
        found = ask(server, tmp_path, calls(9))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 9}
    assert len(server.batches) == 2
    assert sorted(ending.tries for ending in found.endings) == [1] * 6 + [2] * 3
    assert max(Counter(server.answered).values()) == 1


def test_a_call_that_always_fails_is_quarantined_after_its_tries(tmp_path: Path) -> None:
    with BatchProvider(Plan(faults={9: 500}), Plan(faults={1: 500})) as server:
        found = ask(server, tmp_path, calls(9))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 8, Outcome.QUARANTINED: 1}
    assert len(server.batches) == PATIENT.max_tries
    assert {ending.reason for ending in found.endings} == {None, QuarantineReason.SERVER_ERROR}


def test_what_a_batch_did_not_get_to_in_its_day_is_submitted_again(tmp_path: Path) -> None:
    with BatchProvider(Plan(expires_after=4), Plan()) as server:
        found = ask(server, tmp_path, calls(10))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 10}
    assert len(server.files["file_2"].splitlines()) == 6
    assert max(Counter(server.answered).values()) == 1


def test_lines_that_come_twice_or_speak_of_nothing_asked_change_nothing(tmp_path: Path) -> None:
    with BatchProvider(Plan(twice=True, strangers=True)) as server:
        found = ask(server, tmp_path, calls(6))

    assert outcomes(found.endings) == {Outcome.ANSWERED: 6}
    assert found.paid_now == 6


def test_a_file_that_is_refused_quarantines_its_calls(tmp_path: Path) -> None:
    with BatchProvider(Plan(fails=True)) as server:
        found = ask(server, tmp_path, calls(3))

    assert {(ending.outcome, ending.reason) for ending in found.endings} == {
        (Outcome.QUARANTINED, QuarantineReason.BAD_REQUEST)
    }


def test_money_bounds_what_is_submitted(tmp_path: Path) -> None:
    with BatchProvider() as server:
        whole = ask(server, tmp_path / "a", calls(20))
        cost = sum(CHAT.price.of(e.answer.input_tokens, e.answer.output_tokens) for e in whole.endings if e.answer)
        found = ask(server, tmp_path / "b", calls(20), limit_usd=cost / 2)
        spent = sum(CHAT.price.of(e.answer.input_tokens, e.answer.output_tokens) for e in found.endings if e.answer)

    assert found.stop.reason == QuarantineReason.BUDGET_SPENT
    assert 0 < spent <= cost / 2
    assert outcomes(found.endings)[Outcome.NOT_SENT] > 0


def test_a_provider_without_batches_is_one_clear_stop(tmp_path: Path) -> None:
    with BatchProvider(has_batches=False) as server:
        found = ask(server, tmp_path, calls(3))

    assert found.stop.reason == QuarantineReason.NOT_FOUND
    assert "dispatch: online" in found.stop.fix
    assert outcomes(found.endings) == {Outcome.NOT_SENT: 3}


def test_a_damaged_memory_of_what_was_submitted_is_not_guessed_at(tmp_path: Path) -> None:
    submissions = Submissions(tmp_path, "reviews", "b1")
    submission = submissions.open(["a", "b"], round=0, at=1.0)
    file = tmp_path / "journal/reviews/b1/submissions" / f"{submission.key}.json"
    file.write_bytes(file.read_bytes()[:-3])

    with pytest.raises(IntegrityError, match="not what was written"):
        submissions.unfinished()


def test_the_embedded_model_takes_no_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no batch files"):
        make_generator(Settings(dispatch="batch"), home=tmp_path, environ={})


@pytest.mark.slow
def test_a_whole_batch_can_be_made_of_files(tmp_path: Path) -> None:
    with BatchProvider() as server:
        recipes = tiny(tmp_path, generator={"dispatch": "batch"})
        home = Home(tmp_path / "home", server.base_url, recipes)
        told = home.call(*RUN, "--json")

    assert (told.code, told.facts["accepted"]) == (0, 12)
    assert len(server.batches) == told.facts["attempts"]
    assert max(Counter(server.answered).values()) == 1
    assert home.read("generations", dataset=DATASET, batch=BATCH).height == 18 * told.facts["attempts"]
