"""`SYNTH_LLM_MODE`: what was recorded once is made again, byte for byte, with nobody to ask."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from resources.llm import make_generator
from resources.llm.provider import MODE
from synth_assets.cli.project import Project
from synth_assets.domain.ports import NotRecordedError
from synth_assets.errors import UsageError
from synth_assets.recipe.model import Generator as Settings
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.openai_server import FakeOpenAI, Fault
from tests.test_generator import calls, generate, generator_at
from tests.torture import findings

JOURNAL = Path("journal", DATASET, BATCH)
FAULTS = (
    Fault("malformed", at={3}),
    Fault("server_error", at={5}),
    Fault("bad_request", at={7}),
    Fault("refusal", at={9}),
    Fault("truncated", at={11}),
)
"""Not every recorded call was answered, and not every answer was any good."""
UNKNOWN = "the journal knows nothing of request "
ADDRESS = {"SYNTH_LLM_BASE_URL": "http://127.0.0.1:9/v1", "SYNTH_LLM_MODEL": "m-1"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a released batch that took several attempts; its provider is gone."""
    folder = tmp_path_factory.mktemp("recorded")
    recipes = tiny(folder, generator={"max_tries": 1}, batch={"accept": 16, "max_attempts": 6})
    with ChatProvider(*FAULTS, repeats=0.5) as provider:
        home = Home(folder / "home", provider.base_url, recipes, {MODE: "record"})
        for command in (RUN, ("release", DATASET)):
            done = home.call(*command)
            assert done.code == 0, done.err
    assert home.read("batches")["attempts"][0] > 1
    return home


@pytest.fixture
def fresh(recorded: Home, tmp_path: Path) -> Home:
    """A home that has nothing but the journal, and is told to ask nobody."""
    shutil.copytree(recorded.path / JOURNAL, tmp_path / "home" / JOURNAL)
    return replace(recorded, path=tmp_path / "home", variables={MODE: "replay"})


def released(home: Home) -> dict[str, bytes]:
    folder = home.path / "releases" / DATASET / "v1"
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def without(journal: Path, call_ids: set[str]) -> None:
    """Cut the records of some calls out of every segment."""
    for segment in journal.glob("*.jsonl"):
        lines = segment.read_bytes().splitlines(keepends=True)
        segment.write_bytes(b"".join(line for line in lines if not any(call.encode() in line for call in call_ids)))


@pytest.mark.slow
def test_a_replay_makes_the_release_again_byte_for_byte(recorded: Home, fresh: Home) -> None:
    for command in (RUN, ("release", DATASET)):
        done = fresh.call(*command)
        assert done.code == 0, done.err
        assert ("no audit entry of this home vouches for" in done.err) == (command == RUN)
    assert "vouches for" not in fresh.call(*RUN).err, "now one does"

    files = released(recorded)
    assert {"samples.jsonl", "data/train.parquet", "manifest.json"} < set(files)
    assert released(fresh) == files
    outcomes = ["request_id", "outcome", "reason", "tries", "generated_at"]
    for column in outcomes:
        mine, theirs = (home.read("generations").sort("request_id")[column] for home in (fresh, recorded))
        assert mine.equals(theirs, null_equal=True), column
    assert findings(fresh) == []


@pytest.mark.slow
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_replay_names_the_first_call_it_misses_and_changes_nothing(
    recorded: Home, fresh: Home, tmp_path: Path, attempt: int
) -> None:
    shutil.copytree(fresh.path, tmp_path / "whole")
    requests = recorded.read("requests", attempt=attempt).sort("ordinal")
    first, later = requests.row(1, named=True), requests.row(2, named=True)
    without(fresh.path / JOURNAL, {first["call_id"], later["call_id"]})

    said = fresh.call(*RUN, "--json")

    assert said.code == 1
    assert (
        f"the journal knows nothing of request {first['request_id']}, number {first['ordinal']} of attempt {attempt}, "
        f"prompt '{first['prompt_name']}', and SYNTH_LLM_MODE=replay asks nobody where: journal/{DATASET}/{BATCH} "
    ) in re.sub(r"\s+", " ", said.err), said.err
    assert fresh.read("requests", attempt=attempt).is_empty()
    assert fresh.read("generations", attempt=attempt).is_empty()
    assert fresh.read("audit_log").is_empty() == (attempt == 1)

    for segment in (tmp_path / "whole" / JOURNAL).glob("*.jsonl"):  # what is bound by now stays as it is
        shutil.copyfile(segment, fresh.path / JOURNAL / f"more-{segment.name}")
    done = fresh.call(*RUN)
    assert done.code == 0, done.err
    assert fresh.read("batches")["attempts"].equals(recorded.read("batches")["attempts"])


@pytest.mark.slow
def test_a_partition_launched_from_the_page_stops_with_the_same_words_and_goes_on_later(
    recorded: Home, fresh: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fresh.path, tmp_path / "whole")
    shutil.rmtree(fresh.path / JOURNAL)
    with monkeypatch.context() as patched:
        patched.setattr(Project, "rehearse", lambda *_, **__: None)  # the page knows nothing of the command's own look
        said = fresh.call(*RUN, "--json")

    assert (said.code, said.err[: len(UNKNOWN)]) == (1, UNKNOWN)
    assert fresh.read("generations").is_empty()
    assert fresh.read("batches")["open_attempt"].to_list() == [1]
    shutil.copytree(tmp_path / "whole" / JOURNAL, fresh.path / JOURNAL)
    assert fresh.call(*RUN).code == 0
    assert fresh.read("batches")["attempts"].equals(recorded.read("batches")["attempts"])


def test_a_replay_sends_nothing_even_if_somebody_would_answer(tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        generate(generator_at(server.base_url, tmp_path), calls(3))
        sent = len(server.requests)
        replaying = generator_at(server.base_url, tmp_path, is_replay=True)
        again = generate(replaying, calls(3))
        with pytest.raises(NotRecordedError) as raised:
            generate(replaying, calls(5))

    assert len(server.requests) == sent == 3
    assert again.paid_now == 0
    assert raised.value.request_id == "r3"


@pytest.mark.parametrize(("mode", "is_replay"), [("", False), ("live", False), ("record", False), ("replay", True)])
def test_the_environment_says_whether_anybody_is_asked(tmp_path: Path, mode: str, is_replay: bool) -> None:
    generator = make_generator(Settings(), home=tmp_path, environ={**ADDRESS, MODE: mode})

    assert generator.is_replay == is_replay


def test_a_mode_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set live, record, replay or nothing"):
        make_generator(Settings(), home=tmp_path, environ={**ADDRESS, MODE: "offline"})


@pytest.mark.parametrize("command", [RUN, ("plan", DATASET, "--batch", BATCH)], ids=["run", "plan"])
def test_a_command_with_a_mode_there_is_not_ends_before_it_begins(
    home: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    there = Home(home, "http://127.0.0.1:9/v1", tiny(tmp_path), {MODE: "offline"})

    said = there.call(*command)

    assert (said.code, said.out) == (2, "")
    assert "SYNTH_LLM_MODE is no mode" in said.err
    assert there.read("batches").is_empty()
