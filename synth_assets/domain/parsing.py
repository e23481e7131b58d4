"""Reading an answer: which fields of a sample it holds, or why it holds none. Pure, and strict with everything else."""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from synth_assets.canonical import stored_json
from synth_assets.recipe.tasks import MESSAGES, TASKS, TEXT
from synth_assets.recipe.template import Reply
from synth_assets.vocabulary import QuarantineReason

Fields = dict[str, str]
"""Text by field of the sample."""

SENTENCE_ENDS = (".", "!", "?")
FEWEST_WORDS = 4
"""Words that must remain when an unfinished sentence is cut off."""

Prompt = str | list[dict[str, str]]
"""What was asked: text of a completion, or messages of a chat."""

FEWEST_TURNS = 2
"""A dialogue is at least a question and an answer."""

SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "ai": "assistant"}
"""Who may speak in a dialogue, and the role that makes them."""

FENCE = re.compile(r"^```[^\S\n]*([\w+-]*)[^\S\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
TURN = re.compile(r"^\s*\**(user|human|assistant|ai)\**\s*:\**[^\S\n]*", re.MULTILINE | re.IGNORECASE)


class _WrongSchemaError(ValueError):
    """The answer is not of the shape that was asked for; says what is missing, never what was written."""


def parse_answer(
    text: str, reply: Reply, *, task_type: str, opening: str = "", asked: Prompt = ""
) -> Fields | QuarantineReason:
    r"""Return the fields an answer fills, or why it fills none.

    Args:
        text: the raw answer.
        reply: the template's word on how to read it.
        task_type: a key of `TASKS`; a classification's text is one line, others keep theirs.
        opening: the seeded opening a ``line`` answer continues.
        asked: the prompt; a ``conversation`` consists of its messages and the answer.

    Example:
        >>> parse_answer(" acting is superb.\n- Next", Reply(format="line"), task_type="classification", opening="The")
        {'text': 'The acting is superb.'}
        >>> parse_answer("Question: Why?\nAnswer: So.", Reply(format="sections"), task_type="question_answering")
        {'question': 'Why?', 'answer': 'So.'}
    """
    outputs = reply.outputs(TASKS[task_type])
    try:
        if reply.format == "line":
            found = dict.fromkeys(outputs, _line(text, opening))
        elif reply.format == "conversation":
            found = dict.fromkeys(outputs, _conversation(text, asked))
        else:
            found = PARSERS[reply.format](text, outputs, reply)
    except _WrongSchemaError:
        return QuarantineReason.WRONG_SCHEMA
    is_one_line = task_type == "classification"
    fields = {name: _folded(value) if is_one_line else value.strip() for name, value in found.items()}
    return fields if all(fields.values()) else QuarantineReason.EMPTY_ANSWER


def as_fields(values: Mapping[str, Any]) -> Fields | None:
    """Return values another tool wrote as fields of a sample, stripped; None if one is of the wrong kind."""
    try:
        return {name: _value(name, value).strip() for name, value in values.items()}
    except _WrongSchemaError:
        return None


def readable(field: str, text: str) -> str:
    """Return the text of a stored field as a person would read it; a dialogue's turns one below the other."""
    return "\n".join(turn["content"] for turn in orjson.loads(text)) if field == MESSAGES else text


def schema_of(reply: Reply, *, task_type: str) -> dict[str, Any] | None:
    """Return the JSON schema an answer must follow; None for formats that are no JSON.

    Source:
        The subset that providers enforce: every property required, nothing additional.
    """
    if reply.format != "json":
        return None
    kinds = {
        key: _TURNS_SCHEMA if name == MESSAGES else {"type": "string"}
        for name, key in reply.outputs(TASKS[task_type]).items()
    }
    return {"type": "object", "properties": kinds, "required": list(kinds), "additionalProperties": False}


_TURN_SCHEMA = {
    "type": "object",
    "properties": {"role": {"type": "string", "enum": ["user", "assistant"]}, "content": {"type": "string"}},
    "required": ["role", "content"],
    "additionalProperties": False,
}
_TURNS_SCHEMA = {"type": "array", "items": _TURN_SCHEMA}


def _folded(text: str) -> str:
    return " ".join(text.split())


def _unquoted(text: str) -> str:
    """Fold white space and take off what a list or a quotation left at both ends."""
    return _folded(text).strip(' "*-\u201c\u201d')


def _line(text: str, opening: str) -> str:
    line = _whole_sentences(_unquoted(opening + text.split("\n", 1)[0]))
    adds_nothing = _unquoted(opening).startswith(line)
    return "" if adds_nothing else line


def _whole_sentences(text: str) -> str:
    """Cut an unfinished end back to the last full stop if enough words remain; a line may stop in mid-sentence."""
    head, mark, tail = text.rpartition("(")
    if mark and ")" not in tail:
        text = head.strip()
    if text.endswith(SENTENCE_ENDS):
        return text
    end = max(text.rfind(mark) for mark in SENTENCE_ENDS) + 1
    return text[:end] if len(text[:end].split()) >= FEWEST_WORDS else text


def _whole(text: str, outputs: Mapping[str, str], _: Reply) -> Fields:
    return {name: _unquoted(text) if name == TEXT else text for name in outputs}


def _object(text: str, outputs: Mapping[str, str], _: Reply) -> Fields:
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _WrongSchemaError("no JSON") from None
    if not isinstance(document, dict):
        raise _WrongSchemaError("no object")
    return {name: _value(name, document.get(key)) for name, key in outputs.items()}


def _value(name: str, value: Any) -> str:
    if name == MESSAGES:
        return _dialogue(value)
    if not isinstance(value, str):
        raise _WrongSchemaError(f"no text for {name}")
    return value


def _dialogue(turns: Any) -> str:
    """Return turns as stored JSON; user and assistant alternate, the user begins, nobody is silent."""
    is_list = isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns)
    said = [(turn.get("role"), turn.get("content")) for turn in turns] if is_list else []
    alternate = [("user", "assistant")[place % 2] for place in range(len(said))]
    are_texts = all(isinstance(content, str) and content.strip() for _, content in said)
    if len(said) < FEWEST_TURNS or [role for role, _ in said] != alternate or not are_texts:
        raise _WrongSchemaError("no dialogue of two that take turns")
    return stored_json([{"role": role, "content": str(content).strip()} for role, content in said])


def _conversation(text: str, asked: Prompt) -> str:
    spoken = [message for message in asked if isinstance(message, dict) and message["role"] != "system"]
    return _dialogue([*spoken, {"role": "assistant", "content": text}])


def _sections(text: str, outputs: Mapping[str, str], _: Reply) -> Fields:
    headings = {heading.casefold(): name for name, heading in outputs.items()}
    words = "|".join(re.escape(heading) for heading in outputs.values())
    marks = list(re.finditer(rf"^\s*[#*]*\s*({words})\s*\**\s*:\**[^\S\n]*", text, re.MULTILINE | re.IGNORECASE))
    names = [headings[mark[1].casefold()] for mark in marks]
    if sorted(names) != sorted(outputs):
        raise _WrongSchemaError("a heading is missing or repeated")
    ends = [*[mark.start() for mark in marks[1:]], len(text)]
    return {
        name: text[mark.end() : end].strip().strip("*").strip()
        for name, mark, end in zip(names, marks, ends, strict=True)
    }


def _code(text: str, outputs: Mapping[str, str], reply: Reply) -> Fields:
    block = FENCE.search(text)
    if block is None:
        raise _WrongSchemaError("no fenced block")
    code = block[2].rstrip()
    if reply.syntax is not None and not _parses(code, reply.syntax):
        raise _WrongSchemaError(f"the block is no {reply.syntax}")
    return dict.fromkeys(outputs, code)


def _parses(code: str, syntax: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns of odd escapes on its own stream
            ast.parse(code) if syntax == "python" else orjson.loads(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # orjson's error is a ValueError
        return False
    return True


def _turns(text: str, outputs: Mapping[str, str], _: Reply) -> Fields:
    marks = list(TURN.finditer(text))
    ends = [*[mark.start() for mark in marks], len(text)][1:]
    turns = [
        {"role": SPEAKERS[mark[1].casefold()], "content": text[mark.end() : end]}
        for mark, end in zip(marks, ends, strict=True)
    ]
    return dict.fromkeys(outputs, _dialogue(turns))


PARSERS: dict[str, Callable[[str, Mapping[str, str], Reply], Fields]] = {
    "text": _whole,
    "json": _object,
    "sections": _sections,
    "code": _code,
    "turns": _turns,
}
"""How an answer of each format is taken apart; ``line`` also needs the opening, ``conversation`` the prompt."""
