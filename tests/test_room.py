"""Room in the journal: it is kept before a call is sent, so what comes in is written, however full the disk is."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from resources import segment as segment_module
from resources.journal import Journal, NoRoomError, decode, prefixes
from resources.segment import SPARE_BYTES, STAT_BLOCK_BYTES
from synth_assets.errors import StoppedError
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.command import BATCH, DATASET, Home, tiny, told
from tests.disks import fill, mounted
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.openai_server import Fault
from tests.test_generator import PATIENT, calls, generate, generator_at, outcomes
from tests.test_journal import ANSWER, answers, open_journal, segments, write
from tests.web import wait_for

ROOT = Path(__file__).parents[1]

LINE_BYTES = 1000
"""More than a line of `answers` takes."""


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, in memory or in an image."""
    if request.param == "tmpfs":
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m") as folder:
            yield folder
        return
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be made here")
    with mounted(tmp_path / "disk", "-o", "loop", source=str(image)) as folder:
        yield folder


def kept_bytes(segment: Path) -> int:
    return segment.stat().st_blocks * STAT_BLOCK_BYTES


def test_every_answer_whose_room_was_kept_is_written_on_a_disk_that_filled_up_meanwhile(disk: Path) -> None:
    journal, out = open_journal(disk), answers(2000)

    async def send_and_receive() -> None:
        for each in out:
            journal.reserve(each.call_id, LINE_BYTES)
        fill(disk)
        for each in out:
            journal.release(each.call_id)
        await asyncio.gather(*(journal.append("r", each) for each in out))

    asyncio.run(send_and_receive())
    journal.close()

    found = open_journal(disk)
    assert [each.call_id for each in out if found.get(each.call_id) != each] == []


def test_a_call_for_which_there_is_no_room_is_refused_and_the_others_keep_theirs(disk: Path) -> None:
    journal, out = open_journal(disk), answers(64)

    async def send_and_receive() -> tuple[int, NoRoomError]:
        journal.reserve(out[0].call_id, LINE_BYTES)
        fill(disk)
        sent, refusal = 1, None
        while refusal is None:
            try:
                journal.reserve(f"c{sent}", SPARE_BYTES // 10)
                sent += 1
            except NoRoomError as error:
                refusal = error
        await asyncio.gather(*(journal.append("r", each) for each in out[:sent]))
        return sent, refusal

    sent, refusal = asyncio.run(send_and_receive())
    journal.close()

    assert (refusal.where, "disk space" in refusal.fix) == (str(segments(disk)[0].parent), True)
    assert 5 < sent < 12, "what was spare is used up before anybody is refused"
    assert all(open_journal(disk).get(each.call_id) for each in out[:sent])


def test_room_is_no_part_of_a_segment_and_given_back_with_it(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.reserve("c0", LINE_BYTES)

    asyncio.run(journal.append("r", ANSWER))
    [segment] = segments(tmp_path)
    size, kept = segment.stat().st_size, kept_bytes(segment)
    [bound] = prefixes(tmp_path, "reviews")
    journal.close()

    assert decode(segment.read_bytes()) == ANSWER
    assert kept >= SPARE_BYTES > size == bound[2] == segment.stat().st_size
    assert kept_bytes(segment) < SPARE_BYTES / 10
    assert prefixes(tmp_path, "reviews") == [bound]


def test_a_segment_to_which_nothing_came_is_taken_away_and_bound_by_nobody(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.reserve("c0", LINE_BYTES)
    assert len(segments(tmp_path)) == 1
    assert prefixes(tmp_path, "reviews") == []

    journal.close()

    assert segments(tmp_path) == []


def test_a_line_that_is_larger_than_it_was_to_be_leaves_room_for_the_others(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m") as disk:
        journal = open_journal(disk)
        small, large = answers(8), replace(ANSWER, call_id="large", text="word " * 800_000)

        async def send_and_receive() -> list[BaseException | None]:
            for each in (*small, large):
                journal.reserve(each.call_id, LINE_BYTES)
            fill(disk)
            came = [*small[:4], large, *small[4:]]
            return await asyncio.gather(*(journal.append("r", each) for each in came), return_exceptions=True)

        ended = asyncio.run(send_and_receive())
        journal.close()
        found = open_journal(disk)

    assert [type(each) for each in ended] == [type(None)] * 4 + [NoRoomError] + [type(None)] * 4
    assert all(found.get(each.call_id) for each in small)
    assert found.get("large") is None


def test_calls_that_bring_more_than_they_were_told_to_get_more_room_from_then_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    asyncio.run(journal.append("r", replace(ANSWER, text="word " * 800_000)))

    journal.reserve("c1", LINE_BYTES)
    kept = kept_bytes(segments(tmp_path)[0])
    journal.close()

    assert kept > 3 * 4_000_000


KEEPER = """
import sys
from pathlib import Path
from tests.test_room import LINE_BYTES
from tests.test_journal import ANSWER, open_journal
import asyncio
journal = open_journal(Path(sys.argv[1]))
journal.reserve("c0", LINE_BYTES)
asyncio.run(journal.append("r", ANSWER))
print("kept", flush=True)
sys.stdin.read()  # until it is killed, or nobody tests it any more
"""


def test_room_of_a_killed_process_is_given_back_by_the_next_that_writes_and_of_a_living_one_by_nobody(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", KEEPER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as keeper:
        assert keeper.stdout.readline() == "kept\n"
        [segment] = segments(tmp_path)
        lines = segment.read_bytes()
        write(tmp_path, [replace(ANSWER, call_id="c1")])
        assert kept_bytes(segment) >= SPARE_BYTES
        keeper.send_signal(signal.SIGKILL)
    assert kept_bytes(segment) >= SPARE_BYTES
    assert open_journal(tmp_path).get("c0") == ANSWER

    write(tmp_path, [replace(ANSWER, call_id="c2")])

    assert kept_bytes(segment) < SPARE_BYTES / 10
    assert segment.read_bytes() == lines
    assert all(open_journal(tmp_path).get(call) for call in ("c0", "c1", "c2"))


def test_a_torn_line_of_a_killed_process_stays_as_it_is_when_its_room_is_given_back(tmp_path: Path) -> None:
    write(tmp_path, answers(1))
    [segment] = segments(tmp_path)
    torn = segment.read_bytes() + b"0123456789abcdef {"
    with segment.open("r+b") as file:
        file.write(torn)
        segment_module._fallocate(file.fileno(), 0, SPARE_BYTES)

    write(tmp_path, [replace(ANSWER, call_id="c1")])

    assert kept_bytes(segment) < SPARE_BYTES / 10
    assert segment.read_bytes() == torn


def test_a_disk_that_keeps_no_room_is_asked_how_much_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "_keep_room", segment_module._unsupported)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m") as disk:
        journal = open_journal(disk)
        journal.reserve("c0", LINE_BYTES)
        asyncio.run(journal.append("r", ANSWER))
        fill(disk)
        with pytest.raises(NoRoomError):
            journal.reserve("c1", LINE_BYTES)
        journal.close()
        assert open_journal(disk).get("c0") == ANSWER


def test_a_disk_that_takes_no_more_files_stops_before_anything_is_sent(tmp_path: Path) -> None:
    full = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m,nr_inodes=2")
    with full as disk, pytest.raises(StoppedError) as raised:
        open_journal(disk).reserve("c0", LINE_BYTES)

    assert os.strerror(errno.ENOSPC) in raised.value.what


def test_an_answer_for_which_no_room_is_left_was_sent_at_unknown_cost_and_the_others_are_kept(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": "word " * 600_000}
    long = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    many = replace(PATIENT, concurrency=8)
    full = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m")
    with full as disk, ChatProvider(Fault("body", at={3}, body=long)) as provider, ThreadPoolExecutor() as pool:
        provider.hold()
        running = pool.submit(generate, generator_at(provider.base_url, disk, patience=many), calls(20))
        wait_for(lambda: len(provider.requests) == many.concurrency)
        room = fill(disk)
        provider.go()
        found = running.result()
        room.unlink()
        again = generate(generator_at(provider.base_url, disk, patience=many), calls(20))

    [lost] = [each for each in found.endings if each.lost]
    assert (found.stop.reason, lost.outcome, lost.tries) == (QuarantineReason.STOPPED, Outcome.NOT_SENT, 0)
    assert outcomes(found.endings)[Outcome.ANSWERED] == found.paid_now >= many.concurrency - 1
    assert [each.lost for each in again.endings if each.call_id == lost.call_id] == [1]
    assert {each: count for each, count in Counter(provider.call_ids).items() if count > 1} == {lost.call_id: 2}


# The whole command, on a disk that fills up while 64 calls are out.


BEFORE, OUT = 40, 64
"""The first calls of an attempt end before others are sent; then as many are out as may be."""


@pytest.mark.slow
def test_no_answer_is_lost_or_paid_twice_when_the_disk_fills_up_while_64_calls_are_out(tmp_path: Path) -> None:
    recipes = tiny(tmp_path, batch={"accept": 80}, generator={"concurrency": OUT})
    with mounted(tmp_path / "home", "-t", "tmpfs", "-o", "size=64m") as disk, ChatProvider() as provider:
        home = Home(disk, provider.base_url, recipes)
        provider.hold(after=BEFORE)
        process = home.start("run", DATASET, "--batch", BATCH)
        wait_for(lambda: len(provider.requests) == BEFORE + OUT)
        full = fill(disk)
        provider.go()
        said = told(process)
        answered = provider.paid_calls
        lost = [call for call in answered if Journal.open(disk, DATASET, BATCH).get(call) is None]
        full.unlink()
        green = home.synth("run", DATASET, "--batch", BATCH)

    assert said.code == 1, said.err
    assert "where: " in said.err
    assert str(disk) in said.err
    assert "Traceback" not in said.err
    assert len(answered) >= BEFORE + OUT
    assert lost == []
    assert green.code == 0, green.err
    assert set(provider.paid_calls.values()) == {1}
