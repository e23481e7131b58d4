"""Homes with odd names, names that are taken, secrets that come back, and two processes that register at once."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from resources.instance import instance_for
from resources.lake import DuckLake, open_lake
from resources.llm.answers import UNREADABLE, Choice, Reply, meaning
from resources.llm.provider import Address
from synth_assets.errors import RefusedError, UsageError
from synth_assets.recipe import Recipe, load_recipe
from synth_assets.stages import inputs
from tests.command import DATASET, KEY, Home, tiny
from tests.fakes.recipes import write_recipe

ABSURD = "9" * 20
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["a b", "q'uo\"te", "ünï", "%41", "what?", "ha#sh", "100%", "a%3fb&c=d"])
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    with instance_for(home / "dagster") as instance:
        assert instance.get_runs_count() == 0
    lake = open_lake(home, {})
    assert lake.read("heads").is_empty()
    lake.close()

    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert {each.name for each in (home / "dagster").iterdir()} >= {"history", "schedules"}


def test_a_dataset_may_not_have_the_name_of_the_marts(tmp_path: Path) -> None:
    told = Home(tmp_path / "home", recipes=tmp_path).call("init", "marts")
    assert (told.code, list(tmp_path.iterdir())) == (2, [])

    with pytest.raises(UsageError, match="group of its own"):
        load_recipe(write_recipe(tmp_path, dataset="marts"))


@pytest.mark.parametrize("place", ["model", "content", "reasoning_content", "finish_reason"])
def test_an_answer_that_echoes_the_key_is_paid_and_stored_nowhere(place: str) -> None:
    secret = "aBcDeFgHiJkLmNoP"
    message = {"role": "assistant", "content": "A fine film.", "reasoning_content": "Short."}
    document = {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    body = orjson.dumps(document)
    assert isinstance(meaning(Reply(200, {}, body), "chat", now=NOW), Choice)

    Address("http://127.0.0.1/v1", secret)
    assert isinstance(meaning(Reply(200, {}, body), "chat", now=NOW), Choice)
    target = document if place == "model" else document["choices"][0] if place == "finish_reason" else message
    target[place] = f"x{secret}"

    assert meaning(Reply(200, {}, orjson.dumps(document)), "chat", now=NOW) == UNREADABLE
    assert secret != KEY


class Late(DuckLake):
    """A lake in which somebody else registers an overlapping set right before our commit, as often as told."""

    def __init__(self, lake: DuckLake, rivals: list[Recipe]) -> None:
        self.__dict__.update(lake.__dict__)
        self.real, self.rivals = lake, rivals

    def commit(self, commit):  # type: ignore[no-untyped-def]
        if self.rivals:
            rival = self.rivals.pop()
            inputs.register_templates(rival, self.real, run_id="rival", at=NOW)
            inputs.register_seeds(rival, self.real, run_id="rival", at=NOW)
        return self.real.commit(commit)


@pytest.mark.parametrize("register", [inputs.register_templates, inputs.register_seeds])
def test_two_processes_that_register_overlapping_inputs_leave_each_once(tmp_path: Path, register) -> None:  # type: ignore[no-untyped-def]
    ours = load_recipe(tiny(tmp_path) / DATASET)
    rival = Recipe(ours.folder, ours.model, ours.templates[:1], ours.seeds[:2])
    lake = open_lake(tmp_path / "home", {})

    facts = register(ours, Late(lake, [rival]), run_id="ours", at=NOW)
    again = register(ours, lake, run_id="ours", at=NOW)

    templates, seeds = lake.read("prompt_templates"), lake.read("seeds")
    lake.close()
    assert templates.height == templates.select("prompt_name", "prompt_version").n_unique()
    assert seeds.height == seeds["seed_id"].n_unique()
    assert (facts["new"] > 0, again["new"]) == (True, 0)


def test_who_is_always_late_gives_up_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="keep registering"):
        inputs._until_registered(lambda: ({}, True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["loop", "self", "range", "not", "label"])
def test_an_axis_may_not_be_called_what_templates_know_already(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="templates know something else"):
        load_recipe(write_recipe(tmp_path, axes={name: {"one": {}, "two": {}}}, openings=[]))


def test_nul_anchors_and_endless_files_are_refused_with_their_place(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path)
    recipe, prompt = folder / "recipe.yaml", folder / "prompts" / "talk.md"
    whole, words = recipe.read_text(), prompt.read_text()
    cases = [
        (recipe, whole.replace("language: en", "language: &x en"), "anchors"),
        (recipe, whole + "# " + "x" * 1_000_000, "characters"),
        (prompt, words.replace("about houses", "about\0houses"), "NUL"),
    ]
    for file, text, said in cases:
        before = file.read_text()
        file.write_text(text)
        with pytest.raises(UsageError, match=said):
            load_recipe(folder)
        file.write_text(before)
    assert load_recipe(folder)


@pytest.mark.parametrize(
    "command",
    [
        ("run", DATASET, "--accept", "9" * 20),
        ("audit", "log", "--limit", "9" * 20),
        ("query", "SELECT 1", "--limit", "9" * 20),
    ],
)
def test_an_absurd_number_is_a_mistake_of_usage(tmp_path: Path, command: tuple[str, ...]) -> None:
    told = Home(tmp_path / "home", recipes=tiny(tmp_path)).call(*command)

    assert (told.code, (tmp_path / "home").exists()) == (2, False)
