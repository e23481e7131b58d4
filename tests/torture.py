"""Kill the pipeline again and again, at random moments and at named points, and compare with a twin nobody killed.

``make torture KILLS=n SEED=s``. A round is a batch, a version and a model: `run`, `release`, `train`. Every step is
killed several times, by SIGKILL, SIGINT or SIGTERM, started again each time, and let finish at last; then `synth
audit verify` must find nothing. Named points are those of `tests.deadly`.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from resources.instance import instance_for
from resources.journal import GROUP_RECORDS, Journal
from resources.places import PROJECT
from synth_assets.reports.audit import verify
from tests.aims import LATENCY_S, STARTING, Aim, Moment, Place, Signs, Step, steps
from tests.command import DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider

ACCEPT = 24
CONCURRENCY = 4
ROOMS = ("kitchen", "cellar", "attic", "hall", "porch", "study", "pantry", "nursery")
TEST = [
    {"text": f"Anybody would call that {room} {word} at first sight.", "label": label}
    for label, word in (("positive", "splendid"), ("negative", "dreadful"))
    for room in ROOMS
]
"""A test set of the dataset's own: a large one would only make every step slower."""
SETTINGS: dict[str, Any] = {
    "batch": {"accept": ACCEPT},
    "generator": {"concurrency": CONCURRENCY},
    "real_data": {"reader": "folder", "test": "test.jsonl", "source": "written for this test"},
    "files": {"test.jsonl": "".join(f"{json.dumps(row)}\n" for row in TEST)},
}
POLL_S = 0.01
LONGEST_S = 60.0
"""Longest wait for a process to end after a blow."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass
class Killed:
    """What was true when a process died.

    Attributes:
        requests: how many the provider had got by then.
        on_the_wire: how many of them were not answered.
        durable: calls whose answer was on disk.
        lost: calls that were sent and are not on disk.
    """

    aim: Aim
    requests: int
    on_the_wire: int
    durable: set[str]
    lost: set[str]


@dataclass
class Story:
    """A home that was killed again and again until everything was done."""

    home: Home
    provider: ChatProvider
    kills: list[Killed] = field(default_factory=list)
    missed: list[Aim] = field(default_factory=list)
    verified: int = 0
    seconds: float = 0.0

    @property
    def repeats(self) -> int:
        """Requests for a call that had been sent before."""
        calls = self.provider.call_ids
        return len(calls) - len(set(calls))

    @property
    def paid_twice(self) -> int:
        return sum(count - 1 for count in self.provider.paid_calls.values())

    def __str__(self) -> str:
        lost = sum(len(each.lost) for each in self.kills)
        named = Counter(each.aim.point for each in self.kills if isinstance(each.aim, Place))
        return (
            f"{len(self.kills)} kills, {named.total()} at {len(named)} named points, {len(self.missed)} missed, "
            f"{self.verified} times verified; {len(self.provider.requests)} requests, {self.repeats} repeated, "
            f"{self.paid_twice} paid twice, {lost} in flight at a death; {self.seconds:.0f} s"
        )


def torture(home: Home, provider: ChatProvider, kills: int, seed: int) -> Story:
    """Make every step of every round, each killed where it was said and then let finish."""
    story, started = Story(home, provider), time.monotonic()
    for step in steps(kills, seed):
        for aim in step.aims:
            killed = kill_once(home, provider, step, aim)
            if killed is None:
                story.missed.append(aim)  # the step was done before it came there
                killed = kill_once(home, provider, step, STARTING)
            if killed is not None:
                story.kills.append(killed)
        finish(home, step)
        assert findings(home) == [], step
        story.verified += 1
    story.seconds = time.monotonic() - started
    return story


def never_killed(root: Path, kills: int, seed: int) -> Home:
    """Return the home of a twin that made the same steps."""
    with ChatProvider() as provider:
        home = Home(root / "twin", provider.base_url, tiny(root, **SETTINGS))
        for step in steps(kills, seed):
            finish(home, step)
    return home


def finish(home: Home, step: Step) -> None:
    done = home.call(*step.arguments)
    assert done.code == 0, (step, done.err)


def findings(home: Home) -> list[Any]:
    """Return what `synth audit verify` would find."""
    with home.lake() as lake:
        return list(verify(lake, DATASET, None).findings)


def kill_once(home: Home, provider: ChatProvider, step: Step, aim: Aim) -> Killed | None:
    """Start a command and kill it; None if it ended before."""
    process = start(home, step, aim)
    if isinstance(aim, Moment):
        await_moment(process, aim, Signs(home.path, provider))
        process.send_signal(aim.blow)
        process.wait(LONGEST_S)
    else:
        process.wait()
    on_the_wire = provider.in_flight
    _, said = process.communicate()
    if process.returncode == 0:
        return None
    is_polite = isinstance(aim, Moment) and aim.blow != signal.SIGKILL
    assert is_polite or process.returncode == -signal.SIGKILL, said
    assert not is_polite or "Traceback" not in said, said
    time.sleep(LATENCY_S)  # what the dead process had sent arrives
    requests = provider.call_ids
    durable = set(requests) & journaled(home)
    return Killed(aim, len(requests), on_the_wire, durable, set(requests) - durable)


def start(home: Home, step: Step, aim: Aim) -> subprocess.Popen[str]:
    module = ["synth_assets.cli.main"] if isinstance(aim, Moment) else ["tests.deadly", aim.point, str(aim.number)]
    return subprocess.Popen(
        [sys.executable, "-m", *module, *step.arguments],
        cwd=PROJECT,
        env=home.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_moment(process: subprocess.Popen[str], moment: Moment, signs: Signs) -> None:
    look = getattr(signs, moment.sign, lambda: moment.growth)
    before, asked = 0 if moment.sign == "start" else look(), signs.requests()
    while process.poll() is None and look() < before + moment.growth:
        if moment.is_early and signs.requests() > asked:
            break
        time.sleep(POLL_S)
    time.sleep(moment.after_s)


def journaled(home: Home) -> set[str]:
    """Return the calls of all batches whose answers are on disk."""
    batches = [folder.name for folder in home.path.glob(f"journal/{DATASET}/*")]
    calls = home.read("requests", dataset=DATASET)["call_id"].to_list()
    journals = [Journal.open(home.path, DATASET, batch) for batch in batches]
    return {call for call in calls for journal in journals if journal.get(call) is not None}


def check(story: Story, twin: Home) -> None:
    """Assert what must be true however often the pipeline was killed."""
    same_content(story.home, twin)
    nothing_is_there_twice(story.home)
    nothing_durable_is_paid_again(story)
    no_dead_run_looks_alive(story.home)


def same_content(home: Home, twin: Home) -> None:
    """Nothing is lost and nothing duplicated: examples, versions and models are those of the twin."""
    for table, columns in {
        "training_examples": ["batch", "sample_id", "content_sha256", "split"],
        "dataset_versions": ["version", "digest", "num_samples"],
        "version_members": ["sample_id", "added_in", "removed_in"],
        "model_runs": ["model_run_id", "num_samples"],
        "evaluations": ["model_run_id", "subject", "metric", "value"],
    }.items():
        mine, others = (each.read(table, dataset=DATASET).select(columns).sort(columns) for each in (home, twin))
        assert mine.height > 0, table
        assert mine.equals(others), table
    assert set(home.read("batches")["open_attempt"]) == {None}


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
        "batch_labels": ["batch", "label"],
        "label_balances": ["label"],
        "heads": ["dataset"],
        "dataset_versions": ["version"],
        "model_runs": ["model_run_id"],
    }.items():
        rows = home.read(table, dataset=DATASET).select(key)
        assert rows.height > 0, table
        assert rows.is_duplicated().sum() == 0, table
    samples, decisions = home.read("samples", dataset=DATASET), home.read("decisions", dataset=DATASET)
    assert samples.select("sample_id").sort("sample_id").equals(decisions.select("sample_id").sort("sample_id"))
    requests, endings = home.read("requests", dataset=DATASET), home.read("generations", dataset=DATASET)
    assert requests.select("request_id").sort(pl.all()).equals(endings.select("request_id").sort(pl.all()))


def nothing_durable_is_paid_again(story: Story) -> None:
    calls = story.provider.call_ids
    for killed in story.kills:
        assert not killed.durable & set(calls[killed.requests :]), killed.aim
        # What one death may cost: what was on the wire, and answers that waited for their group to be synced.
        assert len(killed.lost) <= CONCURRENCY + GROUP_RECORDS, killed.aim
        # A polite blow costs nothing: what is on the wire is waited for.
        assert not killed.lost or not isinstance(killed.aim, Moment) or killed.aim.blow == signal.SIGKILL, killed.aim
    assert story.paid_twice <= story.repeats <= sum(len(killed.lost) for killed in story.kills)


def no_dead_run_looks_alive(home: Home) -> None:
    with instance_for(home.path / "dagster") as instance:
        runs = instance.get_runs()
        assert runs
        assert [(run.run_id, run.job_name) for run in runs if run.status in UNFINISHED] == []


def main() -> None:
    """Torture in a folder of its own and say what happened."""
    parser = argparse.ArgumentParser(description="Kill the pipeline again and again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ChatProvider(latency_s=LATENCY_S) as provider:
        root = Path(folder)
        twin = never_killed(root / "unkilled", options.kills, options.seed)
        home = Home(root / "home", provider.base_url, tiny(root, **SETTINGS))
        story = torture(home, provider, options.kills, options.seed)
        print(story)  # noqa: T201 - what the target is for
        check(story, twin)


if __name__ == "__main__":
    main()
