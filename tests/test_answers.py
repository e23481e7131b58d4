"""A few hundred answers as gateways send them: each gives its fields, or is refused with its reason."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain.parsing import Reading, parse_answer, schema_of
from synth_assets.domain.thoughts import part
from synth_assets.domain.tolerant_json import NoObjectError, read_object
from synth_assets.recipe.template import Reply
from tests.answers import ANSWERS, Row


def outcome(row: Row, task_type: str, reply: Reply) -> tuple[Any, str]:
    """What the reader makes of an answer, in the words of the table."""
    found = parse_answer(row[0], reply, task_type=task_type)
    if not isinstance(found, Reading):
        return found, ""
    values = {name: orjson.loads(text) if name == "messages" else text for name, text in found.fields.items()}
    is_one = not isinstance(row[1], dict) and len(values) == 1
    return next(iter(values.values())) if is_one else values, ", ".join(found.repairs)


def test_there_are_enough_answers() -> None:
    assert sum(len(rows) for _, _, rows in ANSWERS.values()) >= 200


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_gives_what_it_must_or_the_reason_why_not(name: str) -> None:
    task_type, words, rows = ANSWERS[name]
    reply = Reply.model_validate(words)
    wrong = []
    for row in rows:
        wanted = (row[1], row[2] if len(row) > 2 else "")
        got = outcome(row, task_type, reply)
        if got != wanted:
            wrong.append(f"{row[0][:90]!r}\n    wanted {wanted}\n    got    {got}")

    assert not wrong, "\n".join(["", *wrong])


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none() | st.lists(st.text()), min_size=1))
def test_an_object_reads_the_same_whatever_stands_around_it(value: dict[str, Any]) -> None:
    try:
        plain = orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):  # half characters and huge numbers
        return

    for around in ("{}", "Sure:\n{}", "```json\n{}\n```", "[{}]", "{}\nDone."):
        assert read_object(around.replace("{}", plain)).value == value


@given(st.text(st.sampled_from("{}[]\"':,\\\n ab1/*tru`")))
def test_what_is_read_at_all_is_an_object_and_says_what_was_repaired(text: str) -> None:
    try:
        found = read_object(text)
    except NoObjectError:
        return

    assert isinstance(found.value, dict)
    try:
        strict = orjson.loads(text)
    except orjson.JSONDecodeError:
        assert found.repairs
    else:
        assert found.value == strict or found.repairs


def test_every_cut_of_an_object_is_refused() -> None:
    whole = '{"a": "x", "b": ["y", {"c": 1}], "d": "it\\"s"}'

    for length in range(1, len(whole)):
        with pytest.raises(NoObjectError):
            read_object(whole[:length])
        with pytest.raises(NoObjectError):
            read_object(f"Sure: {whole[:length]}")


@given(st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", " ", ".", "`", "<|im_end|>"]), max_size=20))
def test_parting_loses_no_word(parts: list[str]) -> None:
    text = "".join(parts)
    found = part(text)

    kept = found.thoughts + found.answer
    assert kept.count("a") == text.count("a")
    assert found.answer in text


def test_an_optional_part_may_be_null_in_the_schema() -> None:
    fields = {"question": "q", "answer": "a", "context": "c"}
    schema = schema_of(Reply(format="json", fields=fields), task_type="question_answering")

    assert schema is not None
    assert schema["properties"] == {"q": {"type": "string"}, "a": {"type": "string"}, "c": {"type": ["string", "null"]}}
    assert schema["required"] == ["q", "a", "c"]
