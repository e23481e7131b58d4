"""The journal: nothing acknowledged is lost, nothing torn is believed."""

import asyncio
import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources import journal as journal_module
from resources import segment as segment_module
from resources.journal import Failure, Journal, decode, encode
from synth_assets.domain.ports import Answer
from synth_assets.errors import IntegrityError, StoppedError, UsageError
from synth_assets.vocabulary import QuarantineReason

WRITER = """
import asyncio, sys
from pathlib import Path
from dataclasses import replace
from resources.journal import Journal
from tests.test_journal import ANSWER

async def write():
    journal = Journal.open(Path(sys.argv[1]), "reviews", "2026-11-21")
    for number in range(100_000):
        await journal.append("r", replace(ANSWER, call_id=f"c{number}"))
        print(f"c{number}", flush=True)

asyncio.run(write())
"""

ANSWER = Answer(
    call_id="c0",
    text='line one\nline two\u2028"quoted" \U0001f3ac',
    refusal=False,
    finish_reason="stop",
    model="m",
    input_tokens=12,
    output_tokens=None,
    mean_logprob=-0.1234567890123,
    latency_s=1e-7,
    generated_at=datetime(2026, 11, 21, 12, 30, 1, 123456, tzinfo=UTC),
    tries=2,
)


def answers(count: int) -> list[Answer]:
    return [replace(ANSWER, call_id=f"c{number}", text=f"text {number}") for number in range(count)]


def open_journal(home: Path) -> Journal:
    return Journal.open(home, "reviews", "2026-11-21")


def write(home: Path, records: Sequence[Answer]) -> None:
    journal = open_journal(home)

    async def append_all() -> None:
        await asyncio.gather(*(journal.append("r", record) for record in records))

    try:
        asyncio.run(append_all())
    finally:
        journal.close()


def segments(home: Path) -> list[Path]:
    return sorted((home / "journal" / "reviews" / "2026-11-21").glob("*.jsonl"))


def test_an_answer_comes_back_exactly_as_it_was_written() -> None:
    assert decode(encode("r0", ANSWER)) == ANSWER


def test_a_failure_comes_back_as_it_was_noted_and_is_on_disk_when_the_journal_is_closed(tmp_path: Path) -> None:
    failure = Failure("c9", QuarantineReason.BAD_REQUEST, tries=2)
    journal = open_journal(tmp_path)

    journal.note("r9", failure)
    journal.close()

    assert decode(encode("r9", failure)) == failure
    assert open_journal(tmp_path).get("c9") == failure


def test_an_answer_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)

    async def append_and_look() -> bytes:
        await journal.append("r0", ANSWER)
        return segments(tmp_path)[0].read_bytes()

    on_disk = asyncio.run(append_and_look())
    journal.close()

    assert on_disk == encode("r0", ANSWER)
    assert journal.get("c0") == ANSWER


def test_what_is_gathered_is_written_when_the_journal_closes_though_nobody_waits_any_more(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)

    async def begin() -> None:
        waiting = asyncio.create_task(journal.append("r0", ANSWER))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(begin())
    assert journal.get("c0") is None
    journal.close()

    assert open_journal(tmp_path).get("c0") == ANSWER


def test_a_loop_that_ended_early_does_not_keep_the_next_one_waiting(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    first, second = answers(2)

    async def begin() -> None:
        waiting = asyncio.create_task(journal.append("r0", first))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(begin())
    asyncio.run(asyncio.wait_for(journal.append("r1", second), timeout=20))
    journal.close()

    assert open_journal(tmp_path).get(first.call_id) == first


def test_only_the_calls_that_are_asked_for_are_held_in_memory(tmp_path: Path) -> None:
    first, second = answers(2)
    write(tmp_path, [first, second])

    journal = Journal.open(tmp_path, "reviews", "2026-11-21", {first.call_id})

    assert journal.get(first.call_id) == first
    assert journal.get(second.call_id) is None


def test_a_segment_of_an_earlier_time_is_read_which_held_numbers_as_strings(tmp_path: Path) -> None:
    write(tmp_path, [ANSWER])
    path = segments(tmp_path)[0]
    body = path.read_bytes().split(b" ", 1)[1].rstrip(b"\n")
    body = body.replace(b'"latency_s":1e-7', b'"latency_s":"0.0000001"')
    body = body.replace(b'"mean_logprob":-0.1234567890123', b'"mean_logprob":"-0.1234567890123"')
    assert b'"0.0000001"' in body
    path.write_bytes(hashlib.sha256(body).hexdigest()[:16].encode() + b" " + body + b"\n")

    assert open_journal(tmp_path).get("c0") == ANSWER


def test_answers_of_earlier_processes_are_found_again(tmp_path: Path) -> None:
    write(tmp_path, answers(3))
    write(tmp_path, [replace(ANSWER, call_id="later")])

    found = open_journal(tmp_path)

    assert len(segments(tmp_path)) == 2
    assert [found.get(call) is not None for call in ("c0", "c1", "c2", "later", "unknown")] == [True] * 4 + [False]


def test_nothing_is_created_before_the_first_answer(tmp_path: Path) -> None:
    open_journal(tmp_path).close()

    assert list(tmp_path.iterdir()) == []


def test_the_first_answer_to_a_call_stays(tmp_path: Path) -> None:
    write(tmp_path, [replace(ANSWER, text="first")])
    segments(tmp_path)[0].rename(segments(tmp_path)[0].with_name("0.jsonl"))
    write(tmp_path, [replace(ANSWER, text="second")])

    assert open_journal(tmp_path).get("c0").text == "first"


def test_a_torn_last_line_is_ignored_wherever_it_was_cut(tmp_path: Path) -> None:
    write(tmp_path, answers(2))
    segment = segments(tmp_path)[0]
    whole = segment.read_bytes()
    second_line = whole.index(b"\n") + 1

    for end in range(second_line, len(whole)):
        segment.write_bytes(whole[:end])
        torn = open_journal(tmp_path)
        assert torn.get("c0") is not None
        assert torn.get("c1") is None


def test_a_changed_line_in_the_middle_is_named(tmp_path: Path) -> None:
    write(tmp_path, answers(3))
    segment = segments(tmp_path)[0]
    segment.write_bytes(segment.read_bytes().replace(b"text 1", b"text X"))

    with pytest.raises(IntegrityError) as raised:
        open_journal(tmp_path)

    assert raised.value.where == f"{segment}, line 2"


def test_answers_that_come_together_share_their_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(segment_module, "_sync", syncs.append)

    write(tmp_path, answers(256))

    assert 256 // journal_module.GROUP_RECORDS <= len(syncs) < 64
    found = open_journal(tmp_path)
    assert all(found.get(f"c{number}") for number in range(256))


def test_a_full_disk_stops_and_loses_nothing_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, real_write = open_journal(tmp_path), os.write

    def half_then_full(handle: int, data: bytes) -> int:
        if len(data) < 100:
            return real_write(handle, data)  # the event loop's own wake-ups
        if segments(tmp_path)[0].stat().st_size > 0:
            real_write(handle, bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(handle, data)

    async def append_until_full() -> None:
        await journal.append("r0", answers(2)[0])
        with pytest.raises(StoppedError) as raised:
            await journal.append("r1", answers(2)[1])
        assert "disk space" in raised.value.fix
        with pytest.raises(StoppedError):
            await journal.append("r2", replace(ANSWER, call_id="c2"))

    monkeypatch.setattr(os, "write", half_then_full)
    asyncio.run(append_until_full())
    monkeypatch.undo()
    journal.close()

    assert segments(tmp_path)[0].read_bytes() == encode("r0", answers(1)[0])
    assert open_journal(tmp_path).get("c1") is None
    write(tmp_path, answers(2)[1:])
    assert open_journal(tmp_path).get("c1") is not None


def test_a_killed_process_loses_no_acknowledged_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as child:
        acknowledged = [child.stdout.readline().strip() for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split()

    found = open_journal(tmp_path)

    assert [call for call in acknowledged if found.get(call) is None] == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Journal.open(tmp_path, "reviews", name)
