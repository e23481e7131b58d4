"""Killed at any moment, a run started again ends where one that was never killed ends, and pays nothing twice."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.instance import instance_for
from resources.journal import GROUP_RECORDS, Journal
from synth_assets.reports.audit import verify
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider

CONCURRENCY = 4
SETTINGS: dict[str, Any] = {"batch": {"accept": 40}, "generator": {"concurrency": CONCURRENCY}}
LATENCY_S = 0.1
POLL_S = 0.01

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Signs:
    """What can be seen of a running command from outside."""

    def __init__(self, home: Path, provider: ChatProvider) -> None:
        self.home, self.provider = home, provider

    def requests(self) -> int:
        return len(self.provider.requests)

    def journal(self) -> int:
        return sum(file.stat().st_size for file in self.home.glob(f"journal/{DATASET}/{BATCH}/*.jsonl"))

    def objects(self) -> int:
        return sum(1 for _ in self.home.glob("objects/*/*"))

    def files(self) -> int:
        return sum(len(names) for _, _, names in os.walk(self.home))

    def commits(self) -> int:
        """Transactions in the lake."""
        try:
            with closing(sqlite3.connect(f"file:{self.home / 'catalog.sqlite'}?mode=ro", uri=True)) as catalog:
                return int(catalog.execute("SELECT count(*) FROM ducklake_snapshot").fetchone()[0])
        except sqlite3.Error:
            return 0

    def writes(self) -> int:
        """Bytes written to the catalog, committed or not."""
        return sum(_bytes(self.home / name) for name in ("catalog.sqlite", "catalog.sqlite-wal"))

    def events(self) -> int:
        """Lines of Dagster's log of runs."""
        total = 0
        for file in self.home.glob("dagster/history/runs/*.db"):
            try:
                with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as events:
                    total += int(events.execute("SELECT count(*) FROM event_logs").fetchone()[0])
            except sqlite3.Error:
                continue
        return total


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True)
class Moment:
    """When to kill: so long after the start, or after a sign has grown by so much, and then so much later.

    An early one comes with the first request at the latest, or the batch would be done before its answers are killed.
    """

    sign: str
    growth: int = 1
    after_s: float = 0.0
    is_early: bool = False


MOMENTS: list[Callable[[random.Random], Moment]] = [
    lambda dice: Moment("start", after_s=dice.uniform(0, 3), is_early=True),
    lambda dice: Moment("files", dice.randint(1, 20), is_early=True),
    lambda dice: Moment("writes", 1, dice.uniform(0, 0.1), is_early=True),
    lambda dice: Moment("commits", 1, dice.uniform(0, 0.3), is_early=True),
    lambda dice: Moment("requests", dice.randint(1, 6), dice.uniform(0, LATENCY_S)),
    lambda dice: Moment("requests", dice.randint(4, 10), dice.uniform(0, LATENCY_S)),
    lambda dice: Moment("journal", 1, dice.uniform(0, LATENCY_S)),
    lambda dice: Moment("events", dice.randint(1, 40)),
    lambda dice: Moment("objects", 1),
    lambda dice: Moment("commits", dice.randint(2, 5), dice.uniform(0, 0.5)),
    lambda dice: Moment("commits", dice.randint(2, 5)),
    lambda dice: Moment("events", dice.randint(20, 70)),
]
"""Kinds of moments, those of a new batch first: starting, planning, generating, then scoring and committing."""


def chosen(count: int, seed: int) -> list[Moment]:
    """Draw moments from a run's whole life, earlier ones first, so that an early batch is there to be hit early."""
    dice = random.Random(seed)
    whole, rest = divmod(count, len(MOMENTS))
    kinds = sorted([*range(len(MOMENTS))] * whole + dice.sample(range(len(MOMENTS)), rest))
    return [MOMENTS[kind](dice) for kind in kinds]


@dataclass
class Killed:
    """What was true when a process died."""

    moment: Moment
    requests: int
    on_the_wire: int
    durable: set[str]
    lost: set[str]


@dataclass
class Story:
    """A batch that was killed again and again until it was done."""

    home: Home
    provider: ChatProvider
    kills: list[Killed] = field(default_factory=list)
    missed: int = 0
    final: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def repeats(self) -> int:
        """Requests for a call that had been sent before."""
        calls = self.provider.call_ids
        return len(calls) - len(set(calls))

    @property
    def paid_twice(self) -> int:
        return sum(count - 1 for count in self.provider.paid_calls.values())


def kills(home: Home, provider: ChatProvider, count: int, seed: int) -> Story:
    """Run a batch, kill it ``count`` times with SIGKILL, start it again each time, and let it finish."""
    story, started = Story(home, provider), time.monotonic()
    waiting = chosen(count, seed)
    dice = random.Random(-seed)
    while len(story.kills) < count and story.missed < 2 * count:
        moment = waiting.pop(0) if waiting else Moment("commits", dice.randint(1, 5), dice.uniform(0, 0.3))
        killed = kill_once(home, provider, moment)
        if killed is None:
            story.missed += 1  # it was done before the moment came
        else:
            story.kills.append(killed)
    done = home.call(*RUN, "--json")
    assert done.code == 0, done.err
    story.final, story.seconds = done.facts, time.monotonic() - started
    return story


def kill_once(home: Home, provider: ChatProvider, moment: Moment) -> Killed | None:
    """Start the command and kill it at a moment; None if it ended before."""
    signs = Signs(home.path, provider)
    look = getattr(signs, moment.sign, lambda: moment.growth)
    before, asked = 0 if moment.sign == "start" else look(), signs.requests()
    process = home.start(*RUN)
    while process.poll() is None and look() < before + moment.growth:
        if moment.is_early and signs.requests() > asked:
            break
        time.sleep(POLL_S)
    time.sleep(moment.after_s)
    process.kill()
    on_the_wire = provider.in_flight
    _, said = process.communicate()
    if process.returncode == 0:
        return None
    assert process.returncode == -signal.SIGKILL, said
    time.sleep(LATENCY_S)  # what the dead process had sent arrives
    requests = provider.call_ids
    journal = Journal.open(home.path, DATASET, BATCH)
    durable = {call_id for call_id in requests if journal.get(call_id) is not None}
    return Killed(moment, len(requests), on_the_wire, durable, set(requests) - durable)


def examples(home: Home) -> list[tuple[str, str, str]]:
    rows = home.read("training_examples", dataset=DATASET, batch=BATCH)
    return rows.select("sample_id", "content_sha256", "split").sort("sample_id").rows()


def never_killed(root: Path) -> Home:
    """Return the home of a twin that ran through."""
    with ChatProvider(latency_s=LATENCY_S) as provider:
        home = Home(root / "twin", provider.base_url, tiny(root, **SETTINGS))
        done = home.call(*RUN, "--json")
    assert (done.code, done.err) == (0, "")
    return home


def check(story: Story, twin: Home) -> None:
    """Assert what must be true however often a batch was killed."""
    home = story.home
    assert examples(home) == examples(twin)
    assert len(examples(home)) == SETTINGS["batch"]["accept"]
    nothing_is_there_twice(home)
    assert [part["holds"] for part in story.final["sums"].values()] == [True, True]
    assert (story.final["attempts"], story.final["open_attempt"], story.final["unended"]) == (1, None, 0)
    nothing_durable_is_paid_again(story)
    no_dead_run_looks_alive(home)
    with home.lake() as lake:
        assert verify(lake, DATASET, None).findings == []


def nothing_is_there_twice(home: Home) -> None:
    for table, key in {
        "requests": ["request_id"],
        "generations": ["generation_id"],
        "samples": ["sample_id"],
        "assessments": ["sample_id", "name"],
        "decisions": ["sample_id"],
        "training_examples": ["sample_id"],
        "objects": ["kind", "object_sha256", "batch"],
        "audit_log": ["commit_key"],
        "prompt_templates": ["prompt_name", "prompt_version"],
        "seeds": ["seed_id"],
        "batches": ["batch"],
        "heads": ["dataset"],
    }.items():
        rows = home.read(table, dataset=DATASET).select(key)
        assert rows.height > 0, table
        assert rows.is_duplicated().sum() == 0, table
    audit = home.read("audit_log", dataset=DATASET).sort("seq")
    assert audit["seq"].to_list() == list(range(1, audit.height + 1))
    assert audit["previous_sha256"][1:].to_list() == audit["entry_sha256"][:-1].to_list()


def nothing_durable_is_paid_again(story: Story) -> None:
    calls = story.provider.call_ids
    for killed in story.kills:
        assert not killed.durable & set(calls[killed.requests :]), killed.moment
        # What one death may cost: what was on the wire, and answers that waited for their group to be synced.
        assert len(killed.lost) <= CONCURRENCY + GROUP_RECORDS, killed.moment
    assert story.repeats <= sum(killed.on_the_wire for killed in story.kills) + GROUP_RECORDS
    assert story.paid_twice <= story.repeats <= sum(len(killed.lost) for killed in story.kills)


def no_dead_run_looks_alive(home: Home) -> None:
    with instance_for(home.path / "dagster") as instance:
        runs = instance.get_runs()
        assert runs
        assert [(run.run_id, run.status) for run in runs if run.status in UNFINISHED] == []


def figures(story: Story) -> str:
    reached = ", ".join(f"{each.moment.sign}+{each.moment.growth}" for each in story.kills)
    lost = sum(len(each.lost) for each in story.kills)
    return (
        f"{len(story.kills)} kills ({reached}), {story.missed} missed, {len(story.provider.requests)} requests, "
        f"{story.repeats} repeated, {story.paid_twice} paid twice, {lost} lost, {story.seconds:.0f} s"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seed"), [(20, 1)])
def test_a_batch_killed_again_and_again_ends_as_one_that_never_was(tmp_path: Path, count: int, seed: int) -> None:
    twin = never_killed(tmp_path / "unkilled")
    with ChatProvider(latency_s=LATENCY_S) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, **SETTINGS))

        story = kills(home, provider, count, seed)

        print(figures(story))  # noqa: T201 - shown by `pytest -rP` or -s
        check(story, twin)
