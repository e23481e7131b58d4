"""Reading answers: what of an answer becomes which field of a sample, by task and format."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain.parsing import Fields, Reading, parse_answer, readable, schema_of
from synth_assets.recipe.tasks import TASKS
from synth_assets.recipe.template import Reply
from synth_assets.vocabulary import QuarantineReason

WRONG, EMPTY = QuarantineReason.WRONG_SCHEMA, QuarantineReason.EMPTY_ANSWER
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
TALK = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]


def read(text: str, task_type: str, **reply: object) -> Fields | QuarantineReason:
    found = parse_answer(text, Reply.model_validate(reply), task_type=task_type, asked=ASK)
    return found.fields if isinstance(found, Reading) else found


@pytest.mark.parametrize(
    ("task_type", "reply", "answer", "fields"),
    [
        ("classification", {"format": "text"}, "One\n line.", {"text": "One line."}),
        (
            "instruction",
            {"format": "json"},
            '{"instruction": "Add 1.", "response": "1.\\n2."}',
            {"instruction": "Add 1.", "response": "1.\n2."},
        ),
        (
            "instruction",
            {"format": "json", "fields": {"instruction": "q", "response": "a", "input": "given"}},
            '{"q": "Sort.", "a": "1 2", "given": "2 1", "more": 3}',
            {"instruction": "Sort.", "response": "1 2", "input": "2 1"},
        ),
        (
            "question_answering",
            {"format": "sections"},
            "Sure.\n\n**Question:** Why?\nReally why?\n**Answer**: So.\n",
            {"question": "Why?\nReally why?", "answer": "So."},
        ),
        (
            "question_answering",
            {"format": "sections", "fields": {"answer": "A", "question": "Q"}},
            "A: So.\nQ: Why?",
            {"answer": "So.", "question": "Why?"},
        ),
        (
            "summary",
            {"format": "text", "fills": "summary"},
            " It rains.\n\n* much ",
            {"summary": "It rains.\n\n* much"},
        ),
        (
            "code",
            {"format": "code", "fills": "code", "syntax": "python"},
            "Here:\n```python\ndef f():\n    return 1\n```\nDone.",
            {"code": "def f():\n    return 1"},
        ),
        ("code", {"format": "code", "fills": "code"}, "```\nnot (python\n```", {"code": "not (python"}),
        (
            "preference",
            {"format": "json"},
            '{"prompt": "Hi", "chosen": "Hello.", "rejected": "Go away."}',
            {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go away."},
        ),
    ],
)
def test_every_task_has_a_form_of_answer_that_fills_its_fields(
    task_type: str, reply: dict[str, object], answer: str, fields: Fields
) -> None:
    assert read(answer, task_type, **reply) == fields


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ({"format": "turns"}, "User: Hello?\nAssistant: Hello."),
        ({"format": "turns"}, "Human: Hello?\n\n**AI:** Hello."),
        ({"format": "json"}, orjson.dumps({"messages": TALK}).decode()),
        ({"format": "conversation"}, "Hello."),
    ],
)
def test_a_dialogue_is_a_list_of_messages_in_turns(reply: dict[str, object], answer: str) -> None:
    found = read(answer, "dialogue", **reply)

    assert isinstance(found, dict)
    assert orjson.loads(found["messages"]) == TALK
    assert readable("messages", found["messages"]) == "Hello?\nHello."


@pytest.mark.parametrize(
    ("task_type", "reply", "answer", "reason"),
    [
        ("question_answering", {"format": "sections"}, "Question: Why?", WRONG),
        ("question_answering", {"format": "sections"}, "Question: Why?\nAnswer: So.\nAnswer: No.", WRONG),
        ("question_answering", {"format": "sections"}, "Question: Why?\nAnswer:", EMPTY),
        ("question_answering", {"format": "json"}, '{"question": "Why?"}', WRONG),
        ("question_answering", {"format": "json"}, '{"question": "Why?", "answer": ["So."]}', WRONG),
        ("question_answering", {"format": "json"}, '{"question": "Why?", "answer": " "}', EMPTY),
        ("code", {"format": "code", "fills": "code"}, "def f(): return 1", WRONG),
        ("code", {"format": "code", "fills": "code", "syntax": "python"}, "```\ndef f(:\n```", WRONG),
        ("code", {"format": "code", "fills": "code", "syntax": "json"}, "```json\n{'a': 1}\n```", WRONG),
        ("code", {"format": "code", "fills": "code", "syntax": "python"}, "```\n" + "-" * 200_000 + "1\n```", WRONG),
        ("code", {"format": "code", "fills": "code"}, "```\n\n```", EMPTY),
        ("dialogue", {"format": "turns"}, "User: Hello?", WRONG),
        ("dialogue", {"format": "turns"}, "Assistant: Hello.\nUser: Hello?", WRONG),
        ("dialogue", {"format": "turns"}, "User: Hello?\nUser: Anybody?", WRONG),
        ("dialogue", {"format": "json"}, '{"messages": [{"role": "user"}]}', WRONG),
        ("dialogue", {"format": "json"}, '{"messages": "Hello."}', WRONG),
        ("dialogue", {"format": "conversation"}, " ", WRONG),
        ("summary", {"format": "text", "fills": "summary"}, " \n", EMPTY),
    ],
)
def test_an_answer_of_another_shape_is_no_sample(
    task_type: str, reply: dict[str, object], answer: str, reason: QuarantineReason
) -> None:
    assert read(answer, task_type, **reply) == reason


@given(
    st.text(st.sampled_from('aQ:*#\n{}"[]`uUserAsitn ,'), max_size=60),
    st.sampled_from(sorted(TASKS)),
    st.sampled_from(["text", "json", "sections", "code", "turns"]),
)
def test_whatever_is_answered_fills_every_field_or_none(answer: str, task_type: str, form: str) -> None:
    reply = Reply.model_validate({"format": form})
    found = parse_answer(answer, reply, task_type=task_type)

    if isinstance(found, Reading):
        assert set(found.fields) == set(reply.outputs(TASKS[task_type]))
        assert all(text.strip() for text in found.fields.values())
    else:
        assert found in (WRONG, EMPTY)


def test_the_schema_demands_every_part_and_nothing_else() -> None:
    schema = schema_of(Reply(format="json"), task_type="question_answering")

    assert schema == {
        "type": "object",
        "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
        "required": ["question", "answer"],
        "additionalProperties": False,
    }
    assert schema_of(Reply(format="text"), task_type="question_answering") is None


def test_a_reply_that_says_nothing_new_has_the_hash_it_always_had() -> None:
    assert Reply(format="json", field="review").model_dump(mode="json") == {"format": "json", "field": "review"}
    assert Reply(format="code", repair=False).model_dump(mode="json") == {
        "format": "code",
        "field": "text",
        "repair": False,
    }
