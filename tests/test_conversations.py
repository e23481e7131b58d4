"""Requests of several calls: later prompts see earlier answers, a wrong shape gets a second chance, money adds up."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from synth_assets.checks.evidence import fields_of
from synth_assets.domain.conversations import AGAIN
from synth_assets.domain.ports import Call
from synth_assets.errors import UsageError
from synth_assets.recipe import load_recipe
from synth_assets.reports.lineage import of_prompt, of_sample
from tests.fakes.recipes import write_recipe
from tests.fakes.steps import PRICED, by_word, prompt, without_labels
from tests.fakes.world import NEXT_DAY, World

QUESTION = prompt("question", "## user\nASK about {{ part }}.", format="text", fills="question")
ANSWER = prompt("answer", "## user\nREPLY to: {{ steps.question.question }}", format="text", fills="answer")
ASKED = without_labels(
    task_type="question_answering",
    prompts=[{"name": "question", "then": [{"name": "answer"}]}],
    files={**QUESTION, **ANSWER},
)
SAYS = by_word({"ASK": "Why SEED?", "REPLY": "Because of SEED."})


def world_of(tmp_path: Path, say: Any, **recipe: Any) -> World:
    world = World(tmp_path, **recipe)
    world.generator.provider, world.generator.say = PRICED, say
    return world


def fields(world: World) -> list[dict[str, str]]:
    """Return the fields of every sample, in a stable order."""
    stored = fields_of(world.lake, dataset="tiny").sort("sample_id", maintain_order=True)
    found: dict[str, dict[str, str]] = {}
    for sample, name, text in stored.iter_rows():
        found.setdefault(sample, {})[name] = text
    return list(found.values())


def test_a_later_prompt_sees_the_answer_before_it_and_both_make_the_sample(tmp_path: Path) -> None:
    world = world_of(tmp_path, SAYS, **ASKED)

    assert world.run().success

    assert len(fields(world)) == 6
    for sample in fields(world):
        seed = sample["question"].split()[1].rstrip("?")
        assert sample == {"question": f"Why {seed}?", "answer": f"Because of {seed}."}
    sent = [call.prompt[-1]["content"] for wave in world.generator.asked for call in wave]
    assert sorted(text.split()[0] for text in sent) == ["ASK"] * 6 + ["REPLY"] * 6


def test_every_call_is_told_apart_with_its_template_and_the_sums_are_the_requests(tmp_path: Path) -> None:
    world = world_of(tmp_path, SAYS, **ASKED)
    world.run()

    steps, generations = world.rows("steps"), world.rows("generations")
    per_request = steps.group_by("request_id").agg(pl.col("input_tokens", "output_tokens", "cost_usd").sum())
    both = generations.join(per_request, on="request_id")
    assert both.height == generations.height == 6
    assert generations["calls"].to_list() == [2] * 6
    for name in ("input_tokens", "output_tokens", "cost_usd"):
        assert both[name].to_list() == pytest.approx(both[f"{name}_right"].to_list())
    assert set(steps.select("position", "kind", "prompt_name").iter_rows()) == {
        (0, "prompt", "question"),
        (1, "step", "answer"),
    }
    templates = dict(world.rows("prompt_templates").select("prompt_name", "template_sha256").iter_rows())
    assert set(steps.select("prompt_name", "template_sha256").iter_rows()) == set(templates.items())
    assert set(steps.filter(kind="prompt")["call_id"]) == set(world.rows("requests")["call_id"])
    assert set(steps["call_id"]) == set(world.generator.paid)


def test_a_stop_between_two_calls_leaves_the_request_open_and_nothing_is_paid_again(tmp_path: Path) -> None:
    world, twin = world_of(tmp_path / "a", SAYS, **ASKED), world_of(tmp_path / "b", SAYS, **ASKED)
    twin.run()
    world.run("prompt_templates", "seeds", "generation_plan")
    world.generator.stop_after = 4

    stopped = world.run("generated")

    assert not stopped.success
    assert world.counts("generations", "outcome") == {"not_sent": 6}
    assert world.batch()["open_attempt"] == 1
    world.generator.stop_after = 5
    world.run("generated")
    assert world.counts("generations", "outcome") == {"answered": 5, "not_sent": 1}
    world.generator.stop_after = None
    assert world.run("generated", "scored", "curated", "training_ready").success
    assert max(world.generator.paid.values()) == 1
    assert fields(world) == fields(twin)


def test_a_draft_is_criticised_and_revised_and_the_revision_is_the_sample(tmp_path: Path) -> None:
    files = {
        **prompt("task", "## user\nTASK on {{ part }}", format="text", fills="instruction"),
        **prompt("draft", "## user\nDRAFT for {{ steps.task.instruction }}", format="text", fills="response"),
        **prompt("critique", "## user\nCRITICISE {{ steps.draft.response }}", format="text", fills="critique"),
        **prompt(
            "revision",
            "## user\nREVISE {{ steps.draft.response }} by {{ steps.critique.critique }}",
            format="text",
            fills="response",
        ),
    }
    chain = [{"name": "draft"}, {"name": "critique"}, {"name": "revision"}]
    say = by_word({"TASK": "Do SEED", "CRITICISE": "Too short.", "REVISE": "Done, at length, SEED.", "DRAFT": "Done."})
    changes = without_labels(task_type="instruction", prompts=[{"name": "task", "then": chain}], files=files)
    world = world_of(tmp_path, say, **changes)

    assert world.run().success

    assert {sample["response"].rsplit(" ", 1)[0] for sample in fields(world)} == {"Done, at length,"}
    assert all(set(sample) == {"instruction", "response"} for sample in fields(world))
    assert set(world.rows("generations")["calls"]) == {4}


def test_a_chat_that_goes_on_is_sent_whole_and_becomes_the_dialogue(tmp_path: Path) -> None:
    files = {
        **prompt("opening", "## system\nBe kind.\n## user\nHELLO, {{ part }}?", format="text", fills="first"),
        **prompt("more", "## user\nMORE?", format="conversation"),
    }
    chain = [{"name": "opening", "then": [{"name": "more", "continues": True}]}]
    say = by_word({"HELLO": "Yes, SEED.", "MORE": "No."})
    world = world_of(tmp_path, say, **without_labels(task_type="dialogue", prompts=chain, files=files))

    assert world.run().success

    for sample in fields(world):
        turns = orjson.loads(sample["messages"])
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
        assert (turns[2]["content"], turns[3]["content"]) == ("MORE?", "No.")
    second = world.generator.asked[-1][0].prompt
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert world.release("v1").success
    lines = (world.home / "releases/tiny/v1/samples.jsonl").read_bytes().splitlines()
    assert [turn["role"] for turn in orjson.loads(lines[0])["fields"]["messages"]][:2] == ["user", "assistant"]


JSON = prompt("pair", "## user\nPAIR on {{ part }}", format="json")
PAIRS = without_labels(task_type="question_answering", prompts=[{"name": "pair"}], files=JSON)


def test_an_answer_of_the_wrong_shape_gets_one_second_chance(tmp_path: Path) -> None:
    world = world_of(tmp_path, by_word({AGAIN: '{"question": "SEED?", "answer": "Yes."}', "PAIR": "Sure!"}), **PAIRS)

    assert world.run().success

    assert world.counts("generations", "outcome") == {"answered": 6}
    steps = world.rows("steps")
    assert set(steps.select("position", "kind", "outcome", "reason").iter_rows()) == {
        (0, "prompt", "quarantined", "wrong_schema"),
        (1, "repair", "answered", None),
    }
    asked = world.generator.asked[-1][0].prompt
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert (asked[1]["content"], asked[2]["content"]) == ("Sure!", AGAIN)


def test_there_is_no_third_chance(tmp_path: Path) -> None:
    world = world_of(tmp_path, by_word({"": "Sure!"}), **PAIRS)

    assert not world.run().success

    assert world.counts("generations", "reason", attempt=1) == {"wrong_schema": 6}
    assert set(world.rows("generations", attempt=1)["calls"]) == {2}


def test_a_template_may_do_without_a_second_chance(tmp_path: Path) -> None:
    files = prompt("pair", "## user\nPAIR on {{ part }}", format="json", repair="false")
    world = world_of(tmp_path, by_word({"": "Sure!"}), **{**PAIRS, "files": files})

    world.run()

    assert set(world.rows("generations", attempt=1)["calls"]) == {1}
    assert world.rows("steps").is_empty()


def test_a_provider_that_can_is_held_to_the_schema(tmp_path: Path) -> None:
    say = by_word({"PAIR": '{"question": "SEED?", "answer": "Yes."}'})
    world, plain = world_of(tmp_path / "a", say, **PAIRS), world_of(tmp_path / "b", say, **PAIRS)
    world.generator.provider = PRICED.__class__(**{**PRICED.__dict__, "takes_schema": True})

    assert world.run().success
    assert plain.run().success

    wave: list[Call] = world.generator.asked[0]
    assert all(call.schema is not None and call.schema["required"] == ["question", "answer"] for call in wave)
    assert all(call.schema is None for call in plain.generator.asked[0])
    assert not {call.call_id for call in wave} & set(plain.generator.paid), "what is demanded is part of what is sent"


EVOLVING: dict[str, Any] = without_labels(
    task_type="instruction",
    prompts=[
        {"name": "first", "weight": 1},
        {"name": "deeper", "weight": 3, "evolves": "deepen"},
    ],
    files={
        **prompt("first", "## user\nFIRST on {{ part }}", format="json"),
        **prompt("deeper", "## user\nEVOLVE ({{ operation }}): {{ parent.instruction }}", format="json"),
    },
    max_ancestry_depth=2,
)


def test_accepted_samples_are_evolved_and_their_line_is_kept(tmp_path: Path) -> None:
    answers = {"EVOLVE": "Do SEED, deeper.", "FIRST": "Do SEED."}
    say = by_word(
        {word: orjson.dumps({"instruction": text, "response": "ok"}).decode() for word, text in answers.items()}
    )
    world = world_of(tmp_path, say, **EVOLVING)

    for day in ("2026-11-01", NEXT_DAY, "2026-11-03", "2026-11-04"):
        assert world.run(batch=day).success

    samples = {row["sample_id"]: row for row in world.rows("samples").iter_rows(named=True)}
    first_day = [row for row in samples.values() if row["batch"] == "2026-11-01"]
    assert {row["parent_id"] for row in first_day} == {None}, "there was nobody to evolve yet"
    children = [row for row in samples.values() if row["parent_id"]]
    assert len(children) >= 9
    for child in children:
        parent = samples[child["parent_id"]]
        assert parent["batch"] < child["batch"]
        assert child["ancestry_depth"] == parent["ancestry_depth"] + 1 <= 2
    assert {row["ancestry_depth"] for row in samples.values()} == {0, 1, 2}
    accepted = set(world.rows("decisions", decision="accepted")["sample_id"])
    assert {child["parent_id"] for child in children} <= accepted
    asked = {message["content"] for wave in world.generator.asked for call in wave for message in call.prompt}
    assert any(text.startswith("EVOLVE (deepen): Do ") for text in asked)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {
                "files": {
                    **QUESTION,
                    **prompt("answer", "## user\n{{ steps.query.question }}", format="text", fills="answer"),
                }
            },
            "has no attribute 'query'",
        ),
        (
            {
                "files": {
                    **QUESTION,
                    **prompt("answer", "## user\n{{ steps.question.reply }}", format="text", fills="answer"),
                }
            },
            "has no attribute 'reply'",
        ),
    ],
)
def test_an_answer_that_no_step_gives_is_found_before_anything_is_paid(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    world = world_of(tmp_path, SAYS, **{**ASKED, **changes})

    ended = world.run()

    assert said in ended.told["what"]
    assert world.paid == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": [{"name": "question"}]}, "no answer fills `answer` of a question_answering"),
        (
            {"files": {**QUESTION, **prompt("answer", "Go on", mode="completion", format="text", fills="answer")}},
            "it follows 'question' but has another mode",
        ),
        (
            {"files": {**QUESTION, **prompt("answer", "## user\nA", format="text", fills="reply")}},
            "no answer fills `answer`",
        ),
        (
            {"files": {**QUESTION, **prompt("answer", "## user\nA", format="turns")}},
            "format turns makes a dialogue, not a question_answering",
        ),
        ({"prompts": [{"name": "question", "then": [{"name": "question"}]}]}, "names one twice"),
        ({"prompts": [{"name": "question", "evolves": "deepen"}]}, "one must evolve nothing"),
        ({"task_type": "classification"}, "labels: a classification needs at least two"),
        ({"real_data": {"reader": "movie_reviews", "test_rows": 100}}, "cannot be measured on labelled rows"),
    ],
)
def test_prompts_that_make_no_whole_sample_are_refused_when_the_recipe_is_read(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe(write_recipe(tmp_path, **{**ASKED, **changes}))


def test_the_chain_of_a_sample_names_every_template_that_had_a_part_in_it(tmp_path: Path) -> None:
    world = world_of(tmp_path, SAYS, **ASKED)
    world.run()
    sample = world.rows("samples")["sample_id"][0]

    [generation] = of_sample(world.lake, sample)["up"]
    later = of_prompt(world.lake, "tiny", "answer", "1")["down"]

    steps = [child for child in generation["children"] if child["kind"] == "step"]
    assert [step["facts"]["kind"] for step in steps] == ["prompt", "step"]
    assert [step["children"][0]["id"] for step in steps] == ["tiny/question@1", "tiny/answer@1"]
    assert [each["kind"] for each in later] == ["request"] * 6
