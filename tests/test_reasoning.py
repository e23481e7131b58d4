"""What a model thinks before it answers is journaled and kept apart: no sample, no prompt and no card ever holds it."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from resources.journal import Journal
from resources.llm.answers import read_choice
from synth_assets.domain.drafting import ANSWERS_SCHEMA
from synth_assets.domain.ports import Answer, Call
from tests.fakes.generator import NOON, FakeGenerator
from tests.fakes.openai_server import FakeOpenAI, Fault
from tests.fakes.world import World
from tests.test_generator import calls, generate, generator_at

THOUGHT = "The user wants a warm door."


def chat(**message: Any) -> bytes:
    return orjson.dumps({"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    "message",
    [
        {"content": "A door.", "reasoning_content": THOUGHT},
        {"content": "A door.", "reasoning": THOUGHT},
        {"content": f"<think>\n{THOUGHT}\n</think>A door."},
    ],
)
def test_reasoning_is_found_wherever_providers_put_it(message: dict[str, Any]) -> None:
    choice = read_choice(chat(**message), "chat")

    assert (choice.text, choice.reasoning) == ("A door.", THOUGHT)


@pytest.mark.parametrize("reasoning", [None, [], {"effort": "low"}, 3, "a\0b"])
def test_reasoning_that_is_no_text_costs_no_answer(reasoning: Any) -> None:
    choice = read_choice(chat(content="A door.", reasoning=reasoning), "chat")

    assert (choice.text, choice.reasoning) == ("A door.", "")


def test_a_text_that_only_talks_of_thinking_is_an_answer() -> None:
    text = "He wrote <think> and </think> on the wall."

    assert read_choice(chat(content=text), "chat").text == text


def test_reasoning_is_journaled_with_its_answer(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("body", body=chat(content="A door.", reasoning=THOUGHT))) as server:
        first = generate(generator_at(server.base_url, tmp_path), calls(1)).endings[0].answer

    assert first is not None
    kept = Journal.open(tmp_path, "reviews", "b1").get(first.call_id)
    assert kept == first
    assert kept.reasoning == THOUGHT


class Thinker(FakeGenerator):
    """Thinks of the same thing before every answer."""

    def _answer(self, call: Call) -> Answer:
        answer = super()._answer(call)
        return Answer(**{**answer.__dict__, "reasoning": f"{THOUGHT} {call.seed}", "generated_at": NOON})


def test_reasoning_is_stored_beside_the_raw_answer_and_in_no_sample(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.generator = Thinker()

    assert world.run().success

    answers = world.lake.payload("answers", ANSWERS_SCHEMA, dataset="tiny")
    assert answers["reasoning"].str.starts_with(THOUGHT).all()
    assert answers.height == world.rows("samples").height == 18
    assert world.release("v1").success
    for file in (world.home / "releases").rglob("*"):
        assert not file.is_file() or THOUGHT.encode() not in file.read_bytes(), file.name
