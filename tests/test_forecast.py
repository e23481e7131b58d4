"""`synth plan` shows what the next run would ask, also while an attempt is open."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth_assets.canonical import stored_json
from synth_assets.domain.conversations import AGAIN
from synth_assets.domain.ports import Call, Price, Route, Routing
from synth_assets.reports.forecast import forecast
from synth_assets.vocabulary import QuarantineReason
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.openai_server import Fault
from tests.fakes.steps import PRICED, last_message, prompt, without_labels
from tests.fakes.world import DAY, World

NAMED = ("requests", "calls", "input_tokens", "output_tokens", "cost_usd", "requests_by_label")


def told(world: World, routing: Routing | None = None) -> dict[str, Any]:
    return forecast(world.lake, world.recipe, DAY, routing or world.generator.routing)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, prompts=[{"name": "talk"}])
    made.generator.provider = PRICED
    return made


def test_an_open_attempt_of_which_nothing_was_sent_costs_what_it_would_have_cost_before(world: World) -> None:
    before = told(world)

    assert world.run("prompt_templates", "seeds", "generation_plan").success
    world.edit(prompts=[{"name": "talk"}], generator={"max_tokens": 7})  # what was planned stays as it was
    after = told(world)

    assert (before["requests"], before["is_open"], after["is_open"]) == (18, False, True)
    assert {name: after[name] for name in NAMED} == {name: before[name] for name in NAMED}
    assert after["prompts"] == before["prompts"]
    assert (after["attempt"], after["because"], after["refusal"]) == (1, None, None)


def test_what_has_an_outcome_is_not_forecast_again_and_what_was_not_sent_is(world: World) -> None:
    world.generator.stop_after = 11
    world.run("prompt_templates", "seeds", "generation_plan", "generated")

    rest = told(world)

    assert (rest["requests"], rest["calls"], rest["attempt"]) == (7, 7, 1)
    assert sum(rest["requests_by_label"].values()) == 7
    assert rest["cost_usd"] > 0
    world.generator.stop_after = None
    paid = world.paid
    assert world.run("generated").success
    assert world.paid - paid == rest["requests"]
    assert told(world)["is_open"] is False


def test_an_open_attempt_for_another_model_says_that_the_run_would_be_refused(world: World) -> None:
    world.run("prompt_templates", "seeds", "generation_plan")
    other = replace(PRICED, model="newer", model_id="newer")

    rest = told(world, Routing.to(other))
    world.generator.provider = other
    refused = world.run("generated")

    assert refused.told["exit_code"] == 3
    assert rest["refusal"] == f"{refused.told['what']}; {refused.told['fix']}"
    assert "planned for api.example.org/fake-chat, not for api.example.org/newer" in rest["refusal"]
    assert (rest["requests"], rest["cost_usd"]) == (18, None), "nobody says any more what that model costs"


FAR = replace(PRICED, name="far", model="big", model_id="big", price=Price(10.0, 20.0, "2026-10-01"))
LONG = " w" * 390
CHAIN = prompt("talk", "## user\nASK about {{ part }}.", format="json", fields="{question: question}")
CHAIN |= prompt("reply", "## user\nREPLY: {{ steps.talk.question }}", format="json", fields="{answer: answer}")


def say(call: Call) -> str:
    """Answer in the wrong shape first and in the right one at the second chance, at length both times."""
    asked = last_message(call)
    if asked != AGAIN:
        return f"Well{LONG} {call.seed}"
    is_reply = "REPLY" in stored_json(call.prompt)
    return stored_json({"answer" if is_reply else "question": f"{call.seed}{LONG}"})


@pytest.mark.parametrize("continues", [False, True])
def test_the_dearest_way_through_a_conversation_costs_no_more_than_was_forecast(
    tmp_path: Path, *, continues: bool
) -> None:
    then = [{"name": "reply", "continues": continues}]
    recipe = without_labels(task_type="question_answering", prompts=[{"name": "talk", "then": then}], files=CHAIN)
    world = World(tmp_path, **recipe, generator={"max_tokens": 400})
    world.generator.routes, world.generator.say = (Route(PRICED, fallback=(FAR,)),), say
    world.generator.declines = lambda call: QuarantineReason.REFUSED if call.asks == PRICED else None
    most = told(world)

    world.run("prompt_templates", "seeds", "generation_plan", "generated")

    made = world.rows("generations")
    assert set(made["outcome"]) == {"answered"}
    assert (most["requests"], most["calls"], most["most_calls"]) == (6, 12, 30)
    assert made["calls"].sum() == most["most_calls"]
    for name in ("input_tokens", "output_tokens", "cost_usd"):
        assert 0.5 * most[name] < made[name].sum() <= most[name]
    assert [(each["model"], each["requests"], each["most_calls"]) for each in most["models"]] == [
        ("fake-chat", 6, 6),
        ("big", 0, 24),
    ]


def test_what_is_never_repaired_and_has_no_stand_in_takes_one_call_for_each_request(world: World) -> None:
    most = told(world)

    assert (most["calls"], most["most_calls"]) == (18, 18)
    assert most["output_tokens"] == 18 * world.recipe.model.generator.max_tokens


def test_the_command_line_shows_the_rest_of_an_open_attempt(tmp_path: Path) -> None:
    with ChatProvider(Fault("quota", at=set(range(5, 99)))) as provider:
        recipes = tiny(tmp_path, prompts=[{"name": "talk"}], generator={"concurrency": 1})
        home = Home(tmp_path / "home", provider.base_url, recipes)
        stopped = home.call(*RUN)
        said = home.call("plan", DATASET, "--batch", BATCH)
        moved = Home(home.path, provider.base_url, recipes, {"SYNTH_LLM_MODEL": "newer"})
        refused = moved.call("plan", DATASET, "--batch", BATCH)

    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert (stopped.code, said.code, refused.code) == (1, 0, 0), said.err
    assert "attempt 1, open: its requests without an outcome" in lines
    assert any(line.startswith("requests 14 (") for line in lines), said.out
    assert "would ask nobody" not in said.out
    assert "`synth run` would ask nobody: the open attempt was planned for" in " ".join(refused.out.split())
