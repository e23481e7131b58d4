"""Another model in place of one that does not answer: asked next, paid once, told apart, found again by the journal."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from resources.llm.client import Remote, Router
from resources.llm.limits import Patience
from resources.llm.line import Line
from resources.llm.provider import Address
from synth_assets.domain.ports import Call, Price, Route, Routing
from synth_assets.reports.lineage import of_sample
from synth_assets.vocabulary import FALLS_BACK, MAY_BE_PAID, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, Fault
from tests.fakes.steps import PRICED, by_word, prompt, without_labels
from tests.fakes.world import World

NEAR = replace(PRICED, name="near", model="small", model_id="small")
FAR = replace(PRICED, name="far", model="big", model_id="big", price=Price(10.0, 20.0, "2026-10-01"))
LAST = replace(PRICED, name="last", model="old", model_id="old", price=None)
TALK = prompt("talk", "## user\nASK about {{ part }}.", format="text", fills="question")
REPLY = prompt("reply", "## user\nREPLY to: {{ steps.talk.question }}", format="text", fills="answer")
ASKED = without_labels(
    task_type="question_answering", prompts=[{"name": "talk", "then": [{"name": "reply"}]}], files={**TALK, **REPLY}
)
SAYS = by_word({"ASK": "Why SEED?", "REPLY": "Because of SEED."})
TO = Route(NEAR, fallback=(FAR,))


def failing(reason: QuarantineReason, *names: str, word: str = "") -> Any:
    """Return a rule by which providers fail at prompts that have a word."""
    return lambda call: reason if call.asks.name in names and word in call.prompt[-1]["content"] else None


def world_of(tmp_path: Path, *routes: Route, fails: Any = None, **recipe: Any) -> World:
    world = World(tmp_path, **{**ASKED, **recipe})
    world.generator.routes, world.generator.say = routes, SAYS
    world.generator.fails = fails or (lambda call: None)
    return world


def turns(world: World, request: str) -> list[tuple[str, str, str, str | None]]:
    steps = world.rows("steps", request_id=request).sort("position")
    return list(steps.select("kind", "asked", "outcome", "reason").iter_rows())


def test_the_next_model_is_asked_and_every_call_is_told_apart(tmp_path: Path) -> None:
    world = world_of(tmp_path, TO, fails=failing(QuarantineReason.SERVER_ERROR, "near", word="ASK"))

    assert world.run().success

    request = world.rows("requests").row(0, named=True)
    assert (request["provider"], request["model"]) == ("near", "small")
    assert turns(world, request["request_id"]) == [
        ("prompt", "near/small", "quarantined", "server_error"),
        ("fallback", "far/big", "answered", None),
        ("step", "far/big", "answered", None),
    ], "a request stays with the model that answered"
    generations = world.rows("generations")
    assert set(generations["calls"]) == {3}
    assert set(generations["written_by"]) == {"big"}
    assert set(generations["price_as_of"]) == {"2026-10-01"}
    cost = [FAR.price.of(*tokens) for tokens in generations.select("input_tokens", "output_tokens").iter_rows()]
    assert generations["cost_usd"].to_list() == pytest.approx(cost)
    assert world.release("v1").success
    lines = (world.home / "releases/tiny/v1/samples.jsonl").read_bytes().splitlines()
    assert {orjson.loads(line)["model"] for line in lines} == {"big"}


def test_the_chain_of_a_sample_says_which_provider_was_asked(tmp_path: Path) -> None:
    world = world_of(tmp_path, TO, fails=failing(QuarantineReason.SERVER_ERROR, "near", word="ASK"))
    world.run()

    [generation] = of_sample(world.lake, world.rows("samples")["sample_id"][0])["up"]

    *steps, request = generation["children"]
    assert [step["facts"]["asked"] for step in steps] == ["near/small", "far/big", "far/big"]
    assert (request["facts"]["provider"], request["facts"]["model"]) == ("near", "small")


@pytest.mark.parametrize("reason", sorted(MAY_BE_PAID))
def test_a_call_that_may_be_paid_although_nobody_could_read_its_answer_makes_the_cost_unknown(
    tmp_path: Path, reason: QuarantineReason
) -> None:
    world = world_of(tmp_path, TO, fails=failing(reason, "near", word="ASK"))

    assert world.run("prompt_templates", "generation_plan", "generated").success

    generations = world.rows("generations")
    assert set(generations["outcome"]) == {"answered"}
    assert generations["cost_usd"].null_count() == generations.height
    assert generations["price_as_of"].null_count() == generations.height
    costs = dict(world.rows("steps").group_by("kind").agg(pl.col("cost_usd").null_count()).iter_rows())
    assert costs == {"prompt": generations.height, "fallback": 0, "step": 0}, "each call tells what is known of it"


def test_a_refusal_is_paid_and_counted_and_another_model_asked(tmp_path: Path) -> None:
    world = world_of(tmp_path, TO)
    world.generator.declines = failing(QuarantineReason.REFUSED, "near", word="ASK")

    assert world.run().success

    steps = world.rows("steps")
    refused = steps.filter(pl.col("reason") == "refused")
    assert refused.height == 6
    assert refused["cost_usd"].null_count() == 0
    generations = world.rows("generations")
    assert generations["cost_usd"].sum() == pytest.approx(steps["cost_usd"].sum())
    assert set(generations["price_as_of"]) == {"2026-10-01"}, "of two dates the earlier"


def test_when_nobody_answers_the_request_ends_as_its_last_call_did(tmp_path: Path) -> None:
    fails = failing(QuarantineReason.CONTENT_FILTER, "near", "far", "last", word="REPLY")
    world = world_of(tmp_path, Route(NEAR, fallback=(FAR, LAST)), fails=fails)

    world.run("prompt_templates", "seeds", "generation_plan", "generated")

    request = world.rows("requests").row(0, named=True)["request_id"]
    assert [(kind, asked) for kind, asked, *_ in turns(world, request)] == [
        ("prompt", "near/small"),
        ("step", "near/small"),
        ("fallback", "far/big"),
        ("fallback", "last/old"),
    ]
    assert world.counts("generations", "reason") == {"content_filter": 6}


@pytest.mark.parametrize("reason", sorted(set(QuarantineReason) - FALLS_BACK))
def test_what_is_the_calls_own_fault_is_asked_of_nobody_else(tmp_path: Path, reason: QuarantineReason) -> None:
    world = world_of(tmp_path, TO, fails=failing(reason, "near"))

    world.run("prompt_templates", "seeds", "generation_plan", "generated")

    assert {call.asks.name for wave in world.generator.asked for call in wave} == {"near"}
    assert world.counts("generations", "reason") == {str(reason): 6}


def test_the_plan_decides_who_stands_in_and_a_model_it_names_must_still_be_there(tmp_path: Path) -> None:
    world = world_of(tmp_path, TO, fails=failing(QuarantineReason.SERVER_ERROR, "near"))
    world.run("prompt_templates", "seeds", "generation_plan")
    world.generator.routes = (Route(NEAR),)

    refused = world.run("generated")

    assert refused.told["exit_code"] == 3
    assert "far/big" in refused.told["what"]
    assert world.paid == 0


# --- with real clients


def router(world: World, near: FakeOpenAI, far: FakeOpenAI, *routes: Route) -> Router:
    patience = Patience(concurrency=4, deadline_s=20.0, max_tries=2, backoff_s=0.001)
    lines = {
        name: Line(Remote(Address(server.base_url, f"sk-{name}")), patience)
        for name, server in (("near", near), ("far", far))
    }
    return Router(Routing(routes), lines, home=world.home)


def sent_twice(*servers: FakeOpenAI) -> list[str]:
    keys = [request.headers["idempotency-key"] for server in servers for request in server.requests]
    return sorted({key for key in keys if keys.count(key) > 1})


def test_a_provider_that_stops_is_stood_in_for_and_a_batch_cut_short_goes_on_without_paying_twice(
    tmp_path: Path,
) -> None:
    world = world_of(tmp_path, TO)
    with FakeOpenAI(Fault("unauthorized")) as near, FakeOpenAI(Fault("quota", at=set(range(5, 50)))) as far:
        world.generator = router(world, near, far, TO)
        stopped = world.run("prompt_templates", "seeds", "generation_plan", "generated")
        assert not stopped.success
        assert world.batch()["open_attempt"] == 1
        refused = len(near.requests)
        near.faults.clear()
        far.faults.clear()
        world.generator = router(world, near, far, TO)
        assert world.run("generated").success

    assert world.counts("generations", "outcome") == {"answered": 6}
    assert len(near.requests) == refused, "what it refused once is answered by the other one, and by it alone"
    assert set(far.paid.values()) == {1}
    first = world.rows("steps").filter(pl.col("position") == 0)
    assert set(first.select("asked", "reason").iter_rows()) == {("near/small", "unauthorized")}


def test_rows_nobody_stands_in_for_wait_while_the_others_are_worked_off(tmp_path: Path) -> None:
    routes = (Route(NEAR), Route(FAR))
    world = world_of(tmp_path, *routes)
    with FakeOpenAI() as near, FakeOpenAI(Fault("unauthorized")) as far:
        world.generator = router(world, near, far, *routes)
        stopped = world.run("prompt_templates", "seeds", "generation_plan", "generated")
        assert world.counts("generations", "outcome") == {"answered": 3, "not_sent": 3}
        far.faults.clear()
        world.generator = router(world, near, far, *routes)
        assert world.run("generated").success

    assert "far" in stopped.told["where"]
    assert world.counts("generations", "outcome") == {"answered": 6}
    assert set(world.rows("generations")["calls"]) == {2}
    assert set(near.paid.values()) | set(far.paid.values()) == {1}
    assert not set(sent_twice(near))


def test_a_call_carries_whom_it_addresses(tmp_path: Path) -> None:
    world = world_of(tmp_path, Route(NEAR, 2.0), Route(FAR, 1.0, (NEAR,)))
    world.run("prompt_templates", "seeds", "generation_plan", "generated")

    wave: list[Call] = world.generator.asked[0]

    assert sorted((each.asks.name, each.may_fall_back) for each in wave) == [("far", True)] * 2 + [("near", False)] * 4
