"""Whatever a provider does to one call: it ends as the list says, the others are answered, nothing is paid twice.

The list is `tests/fakes/fault_kinds.py`. After a change there, write its document anew:
``python -c "from tests.test_fault_matrix import write; write()"``.
"""

import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resources.llm.limits import Patience
from resources.places import PROJECT
from synth_assets.domain.ports import Ending, Endings
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.fault_kinds import (
    BODIES,
    CONNECTIONS,
    KINDS,
    RATE_LIMITS,
    REDIRECTS,
    STATUSES,
    TRIES,
    Kind,
    bomb,
    large,
)
from tests.fakes.faulty_provider import CANARY, FaultyProvider, Script, http
from tests.fakes.openai_server import FakeOpenAI
from tests.test_generator import KEY, calls, generate, generator_at

PLANNED = calls(6)
VICTIM = 2
"""Two calls before it are answered whatever happens; of a stop, the others are those that are not sent."""

DOCUMENT = PROJECT / "docs/faults.md"
BETWEEN = re.compile(r"(?<=<!-- kinds -->\n).*(?=<!-- end -->)", re.DOTALL)

EVERY_KIND = [pytest.param(kind, id=kind.name, marks=[pytest.mark.slow] if kind.is_heavy else []) for kind in KINDS]

LARGEST_RSS_BYTES = 1_000_000_000
IN_FLIGHT = 64
FLOODS = {
    "50 MB each": large({}),
    "a bomb each": bomb({}),
    "as much as is read each": http("200 OK", b'{"choices": [{"message": {"content": "%s"}}]}' % (b"a" * 4_000_000)),
}
FLOODED = """
import re, resource, sys
from pathlib import Path
from resources.llm.limits import Patience
from tests.test_generator import calls, generate, generator_at
patience = Patience(int(sys.argv[3]), 300.0, 1)
generate(generator_at(sys.argv[1], Path(sys.argv[2]), patience=patience), calls(int(sys.argv[3])))
status = Path("/proc/self/status")
if status.exists():  # ru_maxrss also knows the process that was forked to make this one
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def ended(found: Endings) -> Counter[Outcome]:
    return Counter(ending.outcome for ending in found.endings)


def run(kind: Kind, server: FaultyProvider, home: Path, monkeypatch: pytest.MonkeyPatch) -> Endings:
    """Send the plan, one call at a time, with the clients' limits as the kind says."""
    with monkeypatch.context() as patched:
        for name, value in kind.environment:
            patched.setenv(name, value)
        patience = Patience(1, kind.deadline_s, TRIES + (kind.end.tries is None), kind.backoff_s)
        return generate(generator_at(server.base_url, home, patience=patience), PLANNED)


@pytest.fixture(scope="module")
def another() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def elsewhere(another: FakeOpenAI) -> FakeOpenAI:
    """A healthy provider on another host, where a redirect would lead."""
    another.requests.clear()
    another.heard = 0
    return another


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_call_that_meets_a_fault_ends_as_the_list_says(
    kind: Kind,
    tmp_path: Path,
    elsewhere: FakeOpenAI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with FaultyProvider(aimed(kind.script, elsewhere), victim=PLANNED[VICTIM].call_id, times=kind.times) as server:
        found = run(kind, server, tmp_path, monkeypatch)
    assert (server.heard, elsewhere.heard) == (len(server.requests), 0)
    again = generate(generator_at(elsewhere.base_url, tmp_path), PLANNED)

    victim = found.endings[VICTIM]
    assert (victim.outcome, victim.reason) == (outcome_of(kind), kind.end.reason)
    assert victim.tries == server.tries[PLANNED[VICTIM].call_id] == kind.end.tries or kind.end.tries is None
    the_others_are_answered_unless_it_is_a_stop(kind, found)
    assert found.stop is None if not kind.end.is_stop else found.stop.reason == kind.end.reason
    waits = [later - earlier for earlier, later in zip(server.arrivals, server.arrivals[1:], strict=False)]
    assert all(wait >= kind.asked_s for wait in waits)

    assert max(server.whole.values()) == 1
    final = [ending for ending in found.endings if ending.outcome != Outcome.NOT_SENT]
    assert sent_to(elsewhere) == {call.call_id for call in PLANNED} - {ending.call_id for ending in final}
    assert [each for each in again.endings if each.call_id not in sent_to(elsewhere)] == final
    assert ended(again)[Outcome.NOT_SENT] == 0

    said = "".join([*map(facts, found.endings), repr(found.stop), caplog.text, *capfd.readouterr()])
    assert [word for word in (CANARY, KEY) if word in said] == []


def aimed(script: Script, elsewhere: FakeOpenAI) -> Script:
    """Write the address of the other host into a redirect."""
    if not isinstance(script.data, bytes):
        return script
    return replace(script, data=script.data.replace(b"{other}", elsewhere.base_url.encode()))


def outcome_of(kind: Kind) -> Outcome:
    if kind.end.is_stop:
        return Outcome.NOT_SENT
    return Outcome.QUARANTINED if kind.end.reason else Outcome.ANSWERED


def the_others_are_answered_unless_it_is_a_stop(kind: Kind, found: Endings) -> None:
    """The first sum holds as well: every planned request has its ending, in the order of the plan."""
    assert [ending.request_id for ending in found.endings] == [call.request_id for call in PLANNED]
    others = [ending for place, ending in enumerate(found.endings) if place != VICTIM]
    kept_open = others[VICTIM:] if kind.end.is_stop and not kind.end.lets_others_end else []
    assert {ending.outcome for ending in others if ending not in kept_open} == {Outcome.ANSWERED}
    assert {(ending.outcome, ending.reason) for ending in kept_open} <= {(Outcome.NOT_SENT, kind.end.reason)}


def sent_to(server: FakeOpenAI) -> set[str]:
    return {request.headers["idempotency-key"] for request in server.requests}


def facts(ending: Ending) -> str:
    """Return everything an ending says but the answer's text, which goes into payload files."""
    return repr(ending if ending.answer is None else replace(ending, answer=replace(ending.answer, text="")))


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@pytest.mark.slow
def test_memory_stays_bounded_whatever_all_answers_at_once_weigh(tmp_path: Path, flood: bytes) -> None:
    with FaultyProvider(Script(flood), victim=None, times=None) as server:
        command = [sys.executable, "-c", FLOODED, server.base_url, str(tmp_path), str(IN_FLIGHT)]
        said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)

    print(f"{int(said.stdout) / 1e6:.0f} MB")  # noqa: T201 - shown by `pytest -rP`
    assert len(server.requests) == IN_FLIGHT
    assert int(said.stdout) < LARGEST_RSS_BYTES


def test_the_list_is_closed_and_the_document_shows_it() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 45
    assert BETWEEN.findall(DOCUMENT.read_text(encoding="utf-8")) == [document()]


def test_every_reason_a_call_can_end_with_has_a_fault_that_leads_to_it() -> None:
    elsewhere_decided = {
        QuarantineReason.WRONG_SCHEMA: "by the reader of answers",
        QuarantineReason.CONTROL_TOKENS: "by the reader of answers",
        QuarantineReason.UNRENDERABLE: "by the next prompt",
        QuarantineReason.BUDGET_SPENT: "by the recipe",
        QuarantineReason.BROKEN_PROMPT: "by the first answers of an attempt",
        QuarantineReason.STOPPED: "by a person or the disk",
    }

    assert {kind.end.reason for kind in KINDS} == {None, *QuarantineReason} - set(elsewhere_decided)


def document() -> str:
    """Return the list as Markdown."""
    parts = {
        "HTTP statuses": STATUSES,
        "Rate limits": RATE_LIMITS,
        "Connections": CONNECTIONS,
        "Redirects": REDIRECTS,
        "Bodies of replies with status 200": BODIES,
    }
    lines: list[str] = []
    for title, kinds in parts.items():
        lines += [f"### {title}", "", "| the provider does | the call ends as |", "|---|---|"]
        lines += [f"| {kind.name} | {kind.end} |" for kind in kinds]
        lines += [""]
    return "\n" + "\n".join(lines)


def write() -> None:
    """Write the list into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(BETWEEN.sub(lambda _: document(), text), encoding="utf-8")
