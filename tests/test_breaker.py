"""The breaker: a prompt or model whose answers cannot be used costs a handful of calls, however often it is resumed."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import polars as pl
import pytest

from sensors.regeneration import topups
from synth_assets.cli.answers import show_answers
from synth_assets.cli.project import Project
from synth_assets.domain.breaker import Breaker, Pair
from synth_assets.domain.ports import Call
from synth_assets.errors import UsageError
from synth_assets.reports.unfinished import unfinished
from synth_assets.stages import breaking
from synth_assets.vocabulary import CallKind, Outcome, QuarantineReason
from tests.command import RUN, Home, tiny
from tests.fakes.openai_server import FakeOpenAI, Fault, completion
from tests.fakes.recipes import FILES
from tests.fakes.steps import PRICED
from tests.fakes.world import NEXT_DAY, World
from tests.test_generator import CHAT, generator_at

PLANNED = 2_600
MOST = 40
ACCEPT = {"accept": 1_733}
JSON_PROMPT = (
    FILES["prompts/talk.md"]
    .replace("format: text", "format: json")
    .replace("One {{ label }}", 'Answer as {"text": "<sentence>"}. One {{ label }}')
)
MENDED = FILES["prompts/talk.md"].replace('version: "2"', 'version: "3"')
LATER = datetime.now(UTC) + timedelta(days=1)


def thinking(body: dict[str, Any], **message: Any) -> bytes:
    document = completion(body, is_chat=True)
    document["choices"][0]["message"] |= message
    return orjson.dumps(document)


THOUGHTS_ONLY = thinking({"messages": [{"content": "x"}]}, content=None, reasoning_content="Hm. What would they like?")
CUT_WHILE_THINKING = json.dumps(
    {"choices": [{"finish_reason": "length", "message": {"content": "", "reasoning_content": "Hm, hm"}}]}
).encode()

WRONG = {
    "prose instead of JSON": Fault("wrong_schema"),
    "empty": Fault("empty"),
    "a refusal": Fault("refusal"),
    "filtered": Fault("filtered"),
    "thoughts only": Fault("body", body=THOUGHTS_ONLY),
    "cut off while thinking": Fault("body", body=CUT_WHILE_THINKING),
    "nothing anybody can read": Fault("html"),
    "a request it does not take": Fault("bad_request"),
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An attempt of 2,600 requests that nobody was asked yet."""
    files = {"prompts/talk.md": JSON_PROMPT}
    world = World(tmp_path_factory.mktemp("planned"), batch=ACCEPT, prompts=[{"name": "talk"}], files=files)
    world.generator.provider = CHAT
    assert world.run("prompt_templates", "seeds", "generation_plan").success
    return world


@pytest.mark.parametrize("fault", WRONG.values(), ids=WRONG)
def test_a_model_wrong_in_every_answer_costs_at_most_forty_calls_each_tried_once(
    tmp_path: Path, planned: World, fault: Fault
) -> None:
    world = planned.copy(tmp_path)
    with FakeOpenAI(fault) as provider:
        world.generator = generator_at(provider.base_url, world.home)
        first = world.run("generated")
        asked = len(provider.requests)
        resumed = world.run()

    assert 0 < asked <= MOST
    assert len(provider.requests) == asked, "running it again asks nobody"
    assert set(provider.counts.values()) == {1}
    assert (first.told["exit_code"], resumed.told["exit_code"]) == (1, 1)
    assert "cannot be used" in first.told["what"]
    assert "--answers" in first.told["fix"]
    assert "nobody was asked" in resumed.told["what"]
    ends = world.counts("generations", "outcome")
    assert ends == {"quarantined": asked, "not_sent": PLANNED - asked}
    assert world.counts("generations", "reason", outcome="not_sent") == {"broken_prompt": PLANNED - asked}
    assert world.batch()["tripped_attempt"] == 1
    wanted, silent = topups(unfinished(world.lake, world.recipe, is_busy=lambda _: False), now=LATER)
    assert (wanted, len(silent)) == ([], 1)


def test_the_command_line_says_what_cannot_be_used_and_stops_in_one_paragraph(tmp_path: Path) -> None:
    recipes = tiny(tmp_path, batch={"accept": 60}, prompts=[{"name": "talk"}], files={"prompts/talk.md": JSON_PROMPT})
    with FakeOpenAI(Fault("wrong_schema")) as provider:
        home = Home(tmp_path / "home", provider.base_url, recipes)
        told = [home.call(*RUN), home.call(*RUN), home.call(*RUN, "--regenerate")]

    assert [each.code for each in told] == [1, 1, 1]
    assert len(provider.requests) == 20
    assert "20 of the first 20 answers of prompt 'talk' version '2'" in " ".join(told[0].err.split())
    assert "(20 wrong_schema)" in " ".join(told[1].err.split())


def test_a_stopped_attempt_tells_its_gates_each_time_it_is_looked_at(tmp_path: Path, planned: World) -> None:
    world = planned.copy(tmp_path)
    with FakeOpenAI(Fault("wrong_schema")) as provider:
        world.generator = generator_at(provider.base_url, world.home)
        looks = [world.run("generated") for _ in range(2)]
        asked = len(provider.requests)

    checks = [
        {
            data.check_name: (data.passed, data.metadata.get("value"))
            for event in look.events
            if event.event_type_value == "ASSET_CHECK_EVALUATION"
            for data in [event.asset_check_evaluation_data]
        }
        for look in looks
    ]
    assert asked == 20
    assert looks[1].told["exit_code"] == 1
    assert checks[0] == checks[1]
    assert checks[1]["answered_share"][0] is False


def test_the_answers_are_shown_on_a_terminal_alone_and_without_what_it_would_obey(
    tmp_path: Path, planned: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = planned.copy(tmp_path)
    said = "Sure!\x1b]0;gotcha\x07 [bold]Here[/bold]\nit is: \u202ex"
    body = thinking({"messages": [{"content": "x"}]}, content=said, reasoning_content="They want JSON.")
    with FakeOpenAI(Fault("body", body=body)) as provider:
        world.generator = generator_at(provider.base_url, world.home)
        world.run("generated")
    project = cast(Project, SimpleNamespace(lake=world.lake, home=world.home))

    for is_json in (False, True):
        with pytest.raises(UsageError, match="on a terminal only"):
            show_answers(project, "tiny", is_json=is_json)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_answers(project, "tiny", is_json=False)

    shown = capsys.readouterr().out
    assert shown.count("wrong_schema") == 5
    assert "[bold]Here[/bold]" in shown
    assert "They want JSON." in shown
    assert shown.count("expected: one JSON object with 'text'") == 5
    assert r"\x1b]0;gotcha\x07" in shown
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}


def world_of(tmp_path: Path, **recipe: Any) -> World:
    """Return a world whose one prompt is planned ninety times."""
    world = World(tmp_path, **{"batch": {"accept": 60, "max_attempts": 1}, "prompts": [{"name": "talk"}]} | recipe)
    world.generator.provider = PRICED
    return world


def useless(_: Call) -> QuarantineReason:
    return QuarantineReason.EMPTY_ANSWER


def good(_: Call) -> None:
    return None


def test_what_changed_closes_the_attempt_without_counting_it_and_opens_a_new_one(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.generator.declines = useless
    first, again = world.run(), world.run()
    paid = world.paid

    world.edit(batch={"accept": 60, "max_attempts": 1}, prompts=[{"name": "talk"}], files={"prompts/talk.md": MENDED})
    world.generator.declines = good
    mended = world.run()

    assert (first.told["exit_code"], again.told["exit_code"], paid) == (1, 1, 20)
    assert world.counts("generations", "reason", attempt=1) == {"empty_answer": 20, "broken_prompt": 70}
    assert mended.success, mended.told
    batch = world.batch()
    assert (batch["attempts"], batch["open_attempt"], batch["broken_attempts"]) == (2, None, 1)
    assert (batch["tripped_attempt"], batch["anyway_attempt"]) == (None, None)


@pytest.mark.parametrize("change", ["model", "parameters", "reader"])
def test_another_model_other_parameters_or_another_reader_is_a_change_too(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(tmp_path)
    world.generator.declines = useless
    world.run()

    if change == "model":
        world.generator.provider = replace(PRICED, model_id="another")
    elif change == "parameters":
        world.edit(batch={"accept": 60}, prompts=[{"name": "talk"}], generator={"max_tokens": 400})
    else:
        monkeypatch.setattr(breaking, "READERS", (breaking,))
    world.run()

    batch = world.batch()
    assert (batch["attempts"], batch["tripped_attempt"], batch["broken_attempts"]) == (2, 2, 1)
    assert world.paid == 40


def test_anyway_goes_on_with_the_same_attempt_and_what_was_final_stays(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.generator.declines = useless
    world.run()
    ended = {call.call_id for call in world.generator.asked[0]}

    world.generator.declines = lambda call: useless(call) if call.call_id in ended else None
    world.run("generation_plan", "generated", anyway=True)

    assert ended == set(world.rows("generations", reason="empty_answer")["call_id"])
    assert world.counts("generations", "outcome") == {"answered": 70, "quarantined": 20}
    assert (world.batch()["attempts"], world.batch()["tripped_attempt"]) == (1, None)
    assert max(world.generator.paid.values()) == 1


def test_anyway_gives_no_second_chance_to_what_was_quarantined_without_one(tmp_path: Path) -> None:
    """`not_sent` is the only outcome that may later change."""
    world = world_of(tmp_path, files={"prompts/talk.md": JSON_PROMPT})
    world.generator.say = lambda call: json.dumps({"text": "A door."}) if len(call.prompt) > 2 else "Sure!"
    world.run()
    before = world.rows("generations", outcome="quarantined").sort("request_id").drop("object_sha256")

    world.run("generation_plan", "generated", anyway=True)

    assert before.height == 20
    after = world.rows("generations", outcome="quarantined").sort("request_id").drop("object_sha256")
    assert after.equals(before)
    assert world.counts("generations", "outcome") == {"quarantined": 20, "answered": 70}


def test_a_prompt_that_answered_well_before_is_not_looked_at_alone_again(tmp_path: Path) -> None:
    world = world_of(tmp_path)

    assert world.run().success
    assert world.run(batch=NEXT_DAY).success

    assert [len(calls) for calls in world.generator.asked] == [20, 20, 50, 40, 50]


def test_one_prompt_of_two_stops_alone(tmp_path: Path) -> None:
    other = FILES["prompts/talk.md"].replace("name: talk", "name: chat").replace("You write", "OTHER writes")
    world = world_of(tmp_path, prompts=[{"name": "talk"}, {"name": "chat"}], files={"prompts/chat.md": other})
    world.generator.declines = lambda call: useless(call) if "OTHER" in call.prompt[0]["content"] else None

    ran = world.run()

    requests = world.rows("requests").select("request_id", "prompt_name")
    ends = world.rows("generations").join(requests, on="request_id")
    counts = Counter(ends.select("prompt_name", "outcome", "reason").iter_rows())
    assert counts["chat", "quarantined", "empty_answer"] == 20
    assert counts["chat", "not_sent", "broken_prompt"] > 0
    assert counts["talk", "answered", None] == 90 - counts["chat", "not_sent", "broken_prompt"] - 20
    assert "prompt 'chat' version '2' with api.example.org/fake-chat" in ran.told["what"]


def test_a_second_chance_waits_until_the_first_answers_say_that_it_is_worth_it(tmp_path: Path) -> None:
    """A third is in the wrong form at first: all are told again, after the first forty have ended."""
    world = world_of(tmp_path, files={"prompts/talk.md": JSON_PROMPT})
    world.generator.say = lambda call: (
        json.dumps({"text": f"Sentence number {call.seed} about a door."})
        if call.seed % 3 or len(call.prompt) > 2
        else "Sure!"
    )

    assert world.run("prompt_templates", "seeds", "generation_plan", "generated").success

    kinds = [Counter(len(call.prompt) > 2 for call in calls) for calls in world.generator.asked]
    assert [each[True] for each in kinds[:2]] == [0, 0]
    assert world.counts("generations", "outcome") == {"answered": 90}
    assert sum(each[True] for each in kinds) == world.counts("steps", "kind")["repair"] > 0


def test_a_small_attempt_of_a_new_prompt_opens_no_other_one(tmp_path: Path) -> None:
    world = world_of(tmp_path, batch={"accept": 6, "max_attempts": 3})
    world.generator.declines = useless
    new, again = world.run(), world.run()

    assert (new.told["exit_code"], again.success, world.paid) == (1, False, 10)
    assert (world.batch()["open_attempt"], world.batch()["tripped_attempt"]) == (None, 1)


def test_a_few_bad_answers_of_a_prompt_that_answered_well_before_are_bad_luck(tmp_path: Path) -> None:
    world = world_of(tmp_path, batch={"accept": 12, "max_attempts": 3})
    world.generator.say = lambda call: (
        "Too short." if call.seed % 2 else f"The door of house {call.seed} is a fine one."
    )
    world.run()
    missing = world.rows("requests").height
    world.generator.declines = useless
    world.run()

    assert world.batch()["attempts"] == 2
    assert 0 < world.rows("requests", attempt=2).height < min(10, missing)
    assert world.batch()["tripped_attempt"] is None


REQUEST = Pair("talk", "1", "far", "big")


def breaker(total: int, **options: Any) -> tuple[Breaker, list[Call]]:
    rows = [dict(zip(("prompt_name", "prompt_version", "provider", "model"), REQUEST, strict=True))] * total
    frame = pl.DataFrame(rows).with_columns(pl.Series("request_id", [str(place) for place in range(total)]))
    made = Breaker(frame, **{"models_each": 1, "proven": frozenset()} | options)
    made.enter(frame)
    return made, [Call(str(place), str(place), "", {}, 0) for place in range(total)]


def worked_off(made: Breaker, wave: list[Call], reasons: dict[int, QuarantineReason | None]) -> list[int]:
    """Send what may be sent until nothing may; return how many each time."""
    sent = []
    while wave:
        now, stopped = made.sort(wave, lambda _: CallKind.PROMPT)
        sent += [len(now)] if now else []
        gone = {call.call_id for call in (*now, *stopped)}
        wave = [call for call in wave if call.call_id not in gone]
        ends = [(each.request_id, reasons.get(int(each.request_id))) for each in now]
        made.count((r, Outcome.QUARANTINED if why else Outcome.ANSWERED, why) for r, why in ends)
    return sent


@pytest.mark.parametrize(
    ("useless_of_forty", "sent", "is_tripped"),
    [(40, [20], True), (37, [20, 20], True), (36, [20, 20, 60], False), (0, [20, 20, 60], False)],
)
def test_more_than_nine_in_ten_is_the_line(useless_of_forty: int, sent: list[int], *, is_tripped: bool) -> None:
    made, wave = breaker(100)
    first_good = {0, 1, 21, 22} if useless_of_forty == 36 else {0, 1, 21}
    bad = set(range(40)) - (first_good if useless_of_forty < 40 else set())
    reasons = dict.fromkeys(bad if useless_of_forty else (), QuarantineReason.WRONG_SCHEMA)

    assert worked_off(made, wave, reasons) == sent
    assert (made.trip is not None) == is_tripped


def test_faults_of_the_provider_say_nothing_so_more_are_asked() -> None:
    made, wave = breaker(200, proven=frozenset({REQUEST}))
    reasons: dict[int, QuarantineReason | None] = dict.fromkeys(range(40), QuarantineReason.SERVER_ERROR)
    reasons |= dict.fromkeys(range(40, 200), QuarantineReason.WRONG_SCHEMA)

    assert worked_off(made, wave, reasons) == [40, 40]
    assert made.trip is not None
    assert made.trip.judged == 40


def test_a_stand_in_makes_the_first_look_smaller() -> None:
    made, wave = breaker(100, models_each=2)

    assert worked_off(made, wave, dict.fromkeys(range(100), QuarantineReason.REFUSED)) == [10]
