"""Two commands at once: one works on a batch, the other is refused and has sent nothing; other batches are free."""

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from resources.instance import instance_for
from tests.command import BATCH, DATASET, RUN, Home, tiny, told
from tests.fakes.chat_provider import ChatProvider

LATER = "2026-11-02"
REFUSED_WITHIN_S = 90


def keyed(home: Home, key: str) -> Home:
    """The same home, by somebody whose requests can be told from the others'."""
    return replace(home, variables={"SYNTH_LLM_API_KEY": key})


def first_to_end(processes: Mapping[str, subprocess.Popen[str]]) -> str:
    """Return the key of the process that ends first, while the others are held."""
    until = time.monotonic() + REFUSED_WITHIN_S
    while time.monotonic() < until:
        for key, process in processes.items():
            if process.poll() is not None:
                return key
        time.sleep(0.02)
    raise AssertionError("nobody was refused: both work on the batch")


@pytest.mark.slow
def test_of_two_runs_of_a_batch_one_works_and_the_other_is_refused_before_it_sends_anything(tmp_path: Path) -> None:
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        provider.hold()
        both = {key: keyed(home, key).start(*RUN) for key in ("sk-first", "sk-second")}
        try:
            loser = first_to_end(both)
            winner = next(key for key in both if key != loser)
            assert provider.arrived.wait(REFUSED_WITHIN_S)  # the winner is in the middle of its work
            third = home.call(*RUN)
            provider.go()
            refused, done = told(both[loser]), told(both[winner])
        finally:
            for process in both.values():
                process.kill()

    assert (refused.code, third.code, done.code) == (3, 3, 0), (refused.err, third.err, done.err)
    for each in (refused, third):
        assert f"{DATASET} {BATCH} is being worked on by process {both[winner].pid}" in each.err
        assert "fix:" in each.err
        assert each.out == ""
    assert provider.keys_seen() == {f"Bearer {winner}"}
    assert set(provider.paid_calls.values()) == {1}
    assert home.read("batches", dataset=DATASET)["fence"].to_list() == [1]
    with instance_for(home.path / "dagster") as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS"]


def sent_by(provider: ChatProvider, key: str) -> int:
    return sum(request.authorization == f"Bearer {key}" for request in provider.requests)


def wait_until_sent(provider: ChatProvider, key: str, number: int) -> None:
    until = time.monotonic() + REFUSED_WITHIN_S
    while sent_by(provider, key) < number:
        assert time.monotonic() < until, f"{key} has not sent {number} requests"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "awake"])
def test_whoever_lost_the_lock_file_to_another_run_sends_nothing_more(tmp_path: Path, is_frozen: bool) -> None:
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, generator={"concurrency": 2}))
        provider.hold()
        first = keyed(home, "sk-first").start(*RUN)
        try:
            wait_until_sent(provider, "sk-first", 2)
            if is_frozen:
                first.send_signal(signal.SIGSTOP)
            (home.path / "claims" / DATASET / f"{BATCH}.lock").unlink()
            second = keyed(home, "sk-second").start(*RUN)
            wait_until_sent(provider, "sk-second", 2)
            provider.go()
            done = told(second)
            first.send_signal(signal.SIGCONT)
            lost = told(first)
        finally:
            first.kill()

    assert done.code == 0, done.err
    assert lost.code == 3, lost.err
    assert f"{DATASET} {BATCH} was claimed by another process in the meantime" in lost.err
    assert sent_by(provider, "sk-first") == 2, "what was under way when the lock was lost"


@pytest.mark.slow
def test_two_batches_at_once_on_a_home_that_is_not_there_yet_both_end_green(tmp_path: Path) -> None:
    with ChatProvider(latency_s=0.05) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        both = [home.start("run", DATASET, "--batch", batch) for batch in (BATCH, LATER)]
        ended = [told(process) for process in both]

    assert [each.code for each in ended] == [0, 0], [each.err for each in ended]
    examples = home.read("training_examples", dataset=DATASET)
    assert dict(examples.group_by("batch").len().rows()) == {BATCH: 12, LATER: 12}
    assert set(provider.paid_calls.values()) == {1}
    audit = home.read("audit_log", dataset=DATASET).sort("seq")
    assert audit["previous_sha256"][1:].to_list() == audit["entry_sha256"][:-1].to_list()
