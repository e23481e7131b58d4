"""Whatever goes wrong ends in one paragraph that says what, where and how to fix it, and nothing paid is lost."""

import re
import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from resources import wiring
from resources.journal import Journal
from resources.lake import connection, copies
from synth_assets.cli.main import COMMANDS
from synth_assets.errors import StoppedError
from tests.command import BATCH, DATASET, KEY, LIMIT_S, RUN, Home, Told, tiny, told
from tests.disks import filled, resized
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.openai_server import FakeOpenAI, Fault

EVERY_WORD_OF_A_PROMPT = ("You write about houses", "sentence, plain", "SECRET-ECHO")
FEW_TRIES = {"generator": {"max_tries": 1, "concurrency": 1}}


def paragraph(said: Told, code: int, *, is_alone: bool = True) -> str:
    """Return the error of a command after checking its form: one paragraph, nothing that must not be shown."""
    assert said.code == code, said.err
    shown = ("━", "scoring", "ending what was sent")
    lines = [line for line in said.err.splitlines() if line.strip() and not any(each in line for each in shown)]
    what, where, fix = lines[-3:]
    assert where.startswith("  where: "), said.err
    assert fix.startswith("  fix:   "), said.err
    assert len(lines) == 3 or not is_alone, said.err
    assert "Traceback" not in said.err + said.out
    for secret in (KEY, *EVERY_WORD_OF_A_PROMPT):
        assert secret not in said.err + said.out
    return what


def durable(home: Home, provider: ChatProvider) -> set[str]:
    journal = Journal.open(home.path, DATASET, BATCH)
    return {call_id for call_id in provider.call_ids if journal.get(call_id) is not None}


def closed_port() -> str:
    with FakeOpenAI() as server:
        return server.base_url


# Usage: nothing is opened, nothing is sent.


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Home]:
    """A home whose provider must never be asked."""
    with ChatProvider() as provider:
        yield Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        assert provider.requests == []


def recipe_file(home: Home) -> Path:
    return home.recipes / DATASET / "recipe.yaml"


def test_an_unknown_key_of_a_recipe_is_named_with_its_line(offline: Home) -> None:
    file = recipe_file(offline)
    file.write_text(file.read_text() + "colour: blue\n")

    said = offline.call(*RUN)

    assert "colour" in paragraph(said, 2)
    assert f"{file}:{len(file.read_text().splitlines())}" in said.err


def test_a_key_given_twice_is_named_with_both_lines(offline: Home) -> None:
    file = recipe_file(offline)
    file.write_text("language: en\n" + file.read_text())

    said = offline.call(*RUN)

    assert paragraph(said, 2) == "key 'language' is given twice"
    assert re.search(rf"{re.escape(str(file))}:\d+ and 1$", said.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("run", "nothing_of_that_name"), "no dataset called 'nothing_of_that_name'"),
        (("plan", "../tiny"), "no dataset called '../tiny'"),
        (("run", DATASET, "--batch", "2026-10-31"), "'2026-10-31' is no batch of tiny"),
        (("run", DATASET, "--batch", "2099-01-01"), "'2099-01-01' is no batch of tiny"),
        (("run", DATASET, "--batch", "yesterday"), "'yesterday' is no batch of tiny"),
        (("plan", DATASET, "--batch", "2026-11-1"), "'2026-11-1' is no batch of tiny"),
    ],
)
def test_a_name_nobody_knows_is_refused_with_the_names_there_are(
    offline: Home, arguments: tuple[str, ...], what: str
) -> None:
    assert what in paragraph(offline.call(*arguments), 2)


def test_an_endpoint_without_a_model_is_a_usage_error_of_plan_and_run(offline: Home) -> None:
    tiny(offline.recipes.parent, generator={"model": "embedded"})
    home = replace(offline, variables={"SYNTH_LLM_MODEL": ""})

    for arguments in (RUN, ("plan", DATASET)):
        said = home.call(*arguments)
        assert "no model of that endpoint is named" in paragraph(said, 2)
        assert "SYNTH_LLM_MODEL" in said.err


def test_a_command_line_that_cannot_be_shows_how_it_is_used(offline: Home) -> None:
    for arguments in ((), ("rum",), ("run",), (*RUN, "--accept", "0"), (*RUN, "--accept", "many"), (*RUN, "--nope")):
        said = offline.call(*arguments)
        assert said.code == 2, arguments
        assert "Usage: synth" in said.err, arguments
        assert "Traceback" not in said.err, arguments


@pytest.mark.parametrize("reason", ["torn \udcff", "nul \0"])
def test_a_reason_that_cannot_be_written_down_is_refused_before_anything_is_done(offline: Home, reason: str) -> None:
    for arguments in (("release", DATASET), ("accept-short", DATASET, BATCH)):
        said = offline.call(*arguments, "--reason", reason)
        assert (said.code, "'--reason'" in said.err) == (2, True), said.err


def test_every_command_explains_itself(offline: Home) -> None:
    overview = offline.call("--help")
    assert overview.code == 0
    for name in COMMANDS:
        said = offline.call(name, "--help")
        assert (said.code, said.err) == (0, ""), name
        assert said.out.startswith(f"Usage: synth {name}"), name
        assert re.search(rf"^  {name} +\w", overview.out, re.MULTILINE), name
    assert not offline.path.exists()


# Stops: the attempt stays open and the same command goes on.


@pytest.mark.slow
def test_every_stop_leaves_the_attempt_open_and_nothing_journaled_is_paid_again(tmp_path: Path) -> None:
    recipes = tiny(tmp_path, generator={"max_tries": 2, "concurrency": 1, "deadline_s": 20})
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, recipes)
        kept: set[str] = set()

        said = replace(home, provider=closed_port()).call(*RUN, "--json")
        assert "generation stopped: unreachable" in paragraph(said, 1)
        assert (said.facts["open_attempt"], said.facts["not_sent"]) == (1, 18)
        for kind, reason in (("unauthorized", "unauthorized"), ("quota", "quota_exhausted")):
            provider.faults = [Fault(kind, at=set(range(len(provider.requests) + 5, 1000)))]
            said = home.call(*RUN, "--json")
            assert f"generation stopped: {reason}" in paragraph(said, 1)
            assert said.facts["not_sent_because"] == {reason: 18 - said.facts["answered"]}
            assert len(durable(home, provider)) == said.facts["answered"] == len(kept) + 4
            kept = durable(home, provider)
        provider.faults = []
        asked = len(provider.requests)
        green = home.call(*RUN, "--json")

    assert (green.code, green.facts["attempts"]) == (0, 1), green.err
    assert not kept & set(provider.call_ids[asked:])
    assert set(provider.paid_calls.values()) == {1}
    assert len(provider.paid_calls) == green.facts["requested"] == 18


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "reason"), [("malformed", "malformed_answer"), ("bad_request", "bad_request")])
def test_a_provider_that_answers_nothing_of_use_costs_one_attempt_and_goes_on_when_a_person_says_so(
    tmp_path: Path, kind: str, reason: str
) -> None:
    with ChatProvider(Fault(kind)) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, **FEW_TRIES))

        said = home.call(*RUN, "--json")
        useless = f"18 of the first 18 answers of attempt 1 cannot be used (18 {reason})"
        assert paragraph(said, 1).startswith(useless)
        assert (said.facts["attempts"], said.facts["quarantined"], len(provider.requests)) == (1, {reason: 18}, 18)
        provider.faults = []
        asked = len(provider.requests)
        assert paragraph(home.call(*RUN), 1, is_alone=False)
        assert len(provider.requests) == asked, "nothing has changed, so nobody is asked"
        green = home.call(*RUN, "--anyway", "--json")

    assert (green.code, green.facts["attempts"]) == (0, 2), green.err
    assert green.facts["sums"]["requests"]["holds"]
    assert set(provider.paid_calls.values()) == {1}


@pytest.mark.slow
def test_an_outage_costs_no_attempt(tmp_path: Path) -> None:
    with ChatProvider(Fault("server_error")) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, **FEW_TRIES))

        said = home.call(*RUN, "--json")
        assert paragraph(said, 1) == "generation stopped: unreachable; every finished answer is kept"
        assert "not one call was answered (18 server_error)" in said.err
        assert (said.facts["open_attempt"], said.facts["not_sent"]) == (1, 18)
        provider.faults = []
        green = home.call(*RUN, "--json")

    assert (green.code, green.facts["attempts"]) == (0, 1), green.err
    assert set(provider.paid_calls.values()) == {1}


@pytest.mark.slow
def test_answers_that_are_broken_now_and_then_are_counted_and_the_batch_is_green(tmp_path: Path) -> None:
    faults = (Fault("html", at={2}), Fault("no_choices", at={3}), Fault("truncated", at={4}), Fault("empty", at={5}))
    with ChatProvider(*faults) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, **FEW_TRIES))

        green = home.call(*RUN, "--json")

    assert green.code == 0, green.err
    assert green.facts["quarantined"].items() >= {"malformed_answer": 2, "truncated": 1, "empty_answer": 1}.items()


def test_a_resource_that_cannot_be_made_says_so_and_is_not_called_a_red_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent:
        def __init__(self, **_: object) -> None:
            raise StoppedError("the weights are on a disk that is not there", where="/mnt/weights", fix="mount it")

    monkeypatch.setattr(wiring, "MiniLMEmbedder", Absent)
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))

        said = home.call(*RUN)

    assert paragraph(said, 1) == "the weights are on a disk that is not there"
    assert "where: /mnt/weights" in said.err
    assert provider.requests == []


@pytest.mark.slow
def test_a_file_size_limit_stops_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    most = 300_000  # enough for the catalog of a new home, too little for a whole run
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))

        said = home.synth(*RUN, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
        # Which file is the first to be too large, and whose, is chance; that it is said and nothing is lost is not.
        assert re.search("File too large|could not write down what runs", paragraph(said, 1))
        green = home.call(*RUN)

    assert green.code == 0, green.err
    assert len(provider.requests) == 18, "nothing was paid twice"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_model_is_asked_is_a_stop(tmp_path: Path, number: signal.Signals) -> None:
    with ChatProvider(latency_s=0.2) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        process = home.start(*RUN)
        until = time.monotonic() + LIMIT_S
        while len(provider.requests) < 6 and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        assert "generation stopped" in paragraph(told(process), 1)
        kept, asked = durable(home, provider), len(provider.requests)
        green = home.call(*RUN)

    assert green.code == 0, green.err
    assert kept
    assert not kept & set(provider.call_ids[asked:])


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_an_interrupt_in_another_stage_is_a_stop_too_whatever_it_became_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    def embed(*_: object) -> None:
        raise interrupt

    monkeypatch.setattr(wiring.MiniLMEmbedder, "embed", embed)
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))

        said = home.call(*RUN, "--json")

    assert paragraph(said, 1) == "interrupted; everything finished is kept"
    assert (said.facts["answered"], said.facts["held_by"]["stage"]) == (18, "scored")


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [300, 500, 700, 900, 1000, 1100])
def test_a_full_disk_stops_the_run_wherever_it_fills_up_and_the_next_one_goes_on(
    tmp_path: Path, small_disk: Path, kilobytes: int
) -> None:
    resized(small_disk, kilobytes)
    with ChatProvider() as provider:
        home = Home(small_disk, provider.base_url, tiny(tmp_path))

        said = home.synth(*RUN)
        paragraph(said, 1)
        assert "sqlalchemy" not in said.err.lower()
        kept = durable(home, provider)
        asked = len(provider.requests)
        resized(small_disk, 200_000)
        green = home.synth(*RUN)

    assert green.code == 0, green.err
    assert not kept & set(provider.call_ids[asked:])
    assert home.read("training_examples", dataset=DATASET).height == 12


@pytest.mark.slow
def test_what_only_reads_works_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    resized(small_disk, 200_000)
    (small_disk / "temporary").mkdir()
    with ChatProvider() as provider:
        home = Home(small_disk / "home", provider.base_url, tiny(tmp_path))
        assert home.call(*RUN).code == home.call("release", DATASET).code == 0
    home = replace(home, variables={"TMPDIR": str(small_disk / "temporary")})
    before = sorted(path for path in home.path.rglob("*"))
    filled(small_disk)

    for command in (
        ("status", DATASET),
        ("versions", DATASET),
        ("audit", "log"),
        ("audit", "verify"),
        ("lineage", "--version", f"{DATASET}@v1"),
        ("query", "SELECT count(*) FROM texts"),
    ):
        said = home.synth(*command)
        assert (said.code, said.err) == (0, ""), command
        assert said.out, command
    assert sorted(path for path in home.path.rglob("*")) == before


def test_a_catalog_on_a_full_disk_is_read_from_memory_where_temporary_files_have_no_room(
    home: Path, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(copies, "MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    filled(small_disk)
    reader = Reader()

    copy = copies.copied(home, reader)

    assert copy.read_bytes() == (home / copy.name).read_bytes()
    assert copy.is_relative_to(memory)
    del reader
    assert list(memory.iterdir()) == []
    monkeypatch.setattr(copies, "MEMORY", small_disk)
    with pytest.raises(StoppedError, match="disk is full") as stopped:
        copies.copied(home, Reader())
    assert (stopped.value.where, "free some space" in stopped.value.fix) == (str(small_disk), True)


class Reader:
    """Whoever reads a copy, for as long as it lives."""


def test_a_catalog_that_cannot_be_opened_without_a_server_names_the_disk_and_no_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = duckdb.Error('Failed to prepare query: "disk I/O error"')

    for has_room, what in ((False, "the disk is full"), (True, "cannot be opened")):
        monkeypatch.setattr(connection, "has_room", lambda _, has_room=has_room: has_room)
        error = connection._unopened(failed, None, home)
        assert (error.exit_code, what in error.what) == (1, True)
        assert "server" not in str(error)
        assert "database" not in str(error)
        assert "disk" in str(error) or "space" in str(error)


def test_a_forecast_is_json_on_stdout_and_costs_nothing(offline: Home) -> None:
    said = offline.call("plan", DATASET, "--batch", BATCH, "--json")

    assert (said.code, said.err) == (0, "")
    assert said.facts["requests"] == 18
    assert said.facts["requests_by_label"] == {"positive": 9, "negative": 9}
    assert said.facts["cost_usd"] is None


def test_a_forecast_for_the_embedded_model_says_that_it_costs_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", "", tiny(tmp_path, generator={"model": "embedded"}))

    said = home.call("plan", DATASET, "--batch", BATCH)

    (model,) = [line for line in said.out.splitlines() if line.startswith("model")]
    assert model.endswith(": 18 requests, costs nothing"), said.err
