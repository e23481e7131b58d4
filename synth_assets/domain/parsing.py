"""Reading an answer: which fields of a sample it holds, or why it holds none. Pure, and strict with everything else."""

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from synth_assets.canonical import stored_json
from synth_assets.domain.fences import blocks
from synth_assets.domain.thoughts import holds_marks, part, without_tokens
from synth_assets.domain.tolerant_json import NoObjectError, read_object
from synth_assets.recipe.tasks import CODE, MESSAGES, TASKS, TEXT, Task
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

ENDING = re.compile(r"(?:[^\S\n]*\n)+\Z")
"""Empty lines at the end of code."""

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What no file takes: NUL, and halves of characters."""

LONG_QUOTES = ('"""', "'''")
"""A block with an odd number of them was closed by a fence inside a string."""

DIRECTION = r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
"""Marks of writing direction, which some models put before a line."""

TURN = re.compile(r"^\s*\**(user|human|assistant|ai)\**\s*:\**[^\S\n]*", re.MULTILINE | re.IGNORECASE)


class _WrongSchemaError(ValueError):
    """The answer is not of the shape that was asked for; says what is missing, never what was written."""


@dataclass(frozen=True)
class Reading:
    """What an answer holds.

    Attributes:
        fields: of a sample.
        repairs: what had to be cut or mended to read them, in a fixed order; empty if nothing.
    """

    fields: Fields
    repairs: tuple[str, ...] = ()


def parse_answer(
    text: str, reply: Reply, *, task_type: str, opening: str = "", asked: Prompt = ""
) -> Reading | QuarantineReason:
    r"""Return the fields an answer fills, or why it fills none.

    Thoughts before the answer and control tokens around it are cut first; a field that still holds one is no sample's.

    Args:
        text: the raw answer.
        reply: the template's word on how to read it.
        task_type: a key of `TASKS`; a classification's text is one line, others keep theirs.
        opening: the seeded opening a ``line`` answer continues.
        asked: the prompt; a ``conversation`` consists of its messages and the answer.

    Example:
        >>> reply = Reply(format="line")
        >>> parse_answer(" acting is superb.\n- Next", reply, task_type="classification", opening="The").fields
        {'text': 'The acting is superb.'}
        >>> parse_answer("Question: Why?\nAnswer: So.", Reply(format="sections"), task_type="question_answering").fields
        {'question': 'Why?', 'answer': 'So.'}
    """
    parted = part(text)
    said = without_tokens(parted.answer)
    repairs = ["thoughts"] if parted.thoughts else []
    before = parted.answer if parted.thoughts else text
    repairs += ["control_tokens"] if said.strip() != before.strip() else []
    if parted.thoughts:
        said = said.lstrip("\r\n")
        if not said.strip():
            return QuarantineReason.THOUGHTS_ONLY
    task = TASKS[task_type]
    try:
        found, mended = _parts(said, reply, task, opening=opening, asked=asked)
    except _WrongSchemaError:
        return QuarantineReason.CONTROL_TOKENS if holds_marks(said) else QuarantineReason.WRONG_SCHEMA
    is_one_line = task_type == "classification"
    fields = {name: _folded(value) if is_one_line else _trimmed(name, value) for name, value in found.items()}
    reason = flaw(fields, task, spoken=said if reply.format == "conversation" else None)
    return reason or Reading(filled(fields, task), (*repairs, *mended))


def _parts(
    text: str, reply: Reply, task: Task, *, opening: str, asked: Prompt
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the parts of an answer by field, and the repairs that reading them took."""
    outputs = reply.outputs(task)
    if reply.format == "line":
        return dict.fromkeys(outputs, _line(text, opening)), ()
    if reply.format == "conversation":
        return dict.fromkeys(outputs, _conversation(text, asked)), ()
    if reply.format == "json":
        return _object(text, outputs, task)
    if MESSAGES in outputs and reply.format != "turns":
        raise _WrongSchemaError("no turns")
    return PARSERS[reply.format](text, outputs, reply, task), ()


def flaw(fields: Mapping[str, str], task: Task, *, spoken: str | None = None) -> QuarantineReason | None:
    """Return why fields make no sample: one is empty, cannot be stored, or holds a control token or an open thought.

    Args:
        fields: texts by field; optional ones may be empty.
        task: whose.
        spoken: what alone is looked at for control tokens; None looks at every field.
    """
    if not all(text.strip() for name, text in fields.items() if name not in task.optional):
        return QuarantineReason.EMPTY_ANSWER
    if UNSTORABLE.search("".join(fields.values())):
        return QuarantineReason.MALFORMED_ANSWER
    looked_at = {name: readable(name, text) for name, text in fields.items()} if spoken is None else {"": spoken}
    has_marks = any(holds_marks(text, is_code=name in CODE) for name, text in looked_at.items())
    return QuarantineReason.CONTROL_TOKENS if has_marks else None


def filled(fields: Mapping[str, str], task: Task) -> Fields:
    """Return fields without the optional ones that are empty: absent, null and empty are one thing."""
    return {name: text for name, text in fields.items() if text.strip() or name not in task.optional}


def as_fields(values: Mapping[str, Any]) -> Fields | None:
    """Return values another tool wrote as fields of a sample, trimmed; None if one is of the wrong kind."""
    try:
        return {name: _trimmed(name, _value(name, value)) for name, value in values.items()}
    except _WrongSchemaError:
        return None


def readable(field: str, text: str) -> str:
    """Return the text of a stored field as a person would read it; a dialogue's turns one below the other."""
    return "\n".join(turn["content"] for turn in orjson.loads(text)) if field == MESSAGES else text


def schema_of(reply: Reply, *, task_type: str) -> dict[str, Any] | None:
    """Return the JSON schema an answer must follow; None for formats that are no JSON.

    Source:
        The subset that providers enforce: every property required, nothing additional; one that may be missing is
        null.
    """
    if reply.format != "json":
        return None
    task = TASKS[task_type]
    kinds = {
        key: _TURNS_SCHEMA if name == MESSAGES else {"type": ["string", "null"] if name in task.optional else "string"}
        for name, key in reply.outputs(task).items()
    }
    return {"type": "object", "properties": kinds, "required": list(kinds), "additionalProperties": False}


_TURN_SCHEMA = {
    "type": "object",
    "properties": {"role": {"type": "string", "enum": ["user", "assistant"]}, "content": {"type": "string"}},
    "required": ["role", "content"],
    "additionalProperties": False,
}
_TURNS_SCHEMA = {"type": "array", "items": _TURN_SCHEMA}


def _trimmed(name: str, text: str) -> str:
    return ENDING.sub("", text) if name in CODE else text.strip()


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


def _whole(text: str, outputs: Mapping[str, str], _: Reply, __: Task) -> Fields:
    return {name: _unquoted(text) if name == TEXT else text for name in outputs}


def _object(text: str, outputs: Mapping[str, str], task: Task) -> tuple[Fields, tuple[str, ...]]:
    try:
        found = read_object(text)
    except NoObjectError:
        raise _WrongSchemaError("no object") from None
    values = {name: found.value.get(key) for name, key in outputs.items()}
    given = {name: value for name, value in values.items() if value is not None or name not in task.optional}
    fields = {name: _value(name, value) for name, value in given.items()}
    if UNSTORABLE.search("".join(fields.values())):
        raise _WrongSchemaError("half a character")
    return fields, found.repairs


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


def _sections(text: str, outputs: Mapping[str, str], _: Reply, task: Task) -> Fields:
    headings = {heading.casefold(): name for name, heading in outputs.items()}
    marks = list(_heading(outputs.values()).finditer(text))
    names = [headings[mark["words"].casefold()] for mark in marks]
    needed = {name for name in outputs if name not in task.optional}
    if len(set(names)) < len(names) or not needed <= set(names):
        raise _WrongSchemaError("a heading is missing or repeated")
    ends = [*[mark.start() for mark in marks[1:]], len(text)]
    return {name: text[mark.end() : end] for name, mark, end in zip(names, marks, ends, strict=True)}


def _heading(words: Iterable[str]) -> re.Pattern[str]:
    """Return what a heading looks like: its words and a colon, or marked as a heading and alone on its line."""
    any_of = "|".join(re.escape(each) for each in words)
    return re.compile(
        rf"^[^\S\n]*{DIRECTION}*(?P<mark>#{{1,6}}[^\S\n]*)?(?P<bold>\*\*|__|\*|_)?[^\S\n]*(?P<words>{any_of})[^\S\n]*"
        r"(?:[:\uff1a](?(bold)(?P=bold)|)|(?(bold)(?P=bold)[^\S\n]*[:\uff1a]|(?!))"
        r"|(?(bold)(?P=bold)[^\S\n]*(?=\n|\Z)|(?(mark)(?=\n|\Z)|(?!))))[^\S\n]*",
        re.MULTILINE | re.IGNORECASE,
    )


def _code(text: str, outputs: Mapping[str, str], reply: Reply, _: Task) -> Fields:
    found = blocks(text)
    if not found:
        raise _WrongSchemaError("no fenced block")
    code = found[0].body
    is_torn = not all(block.is_closed for block in found) or any(code.count(mark) % 2 for mark in LONG_QUOTES)
    if is_torn or (reply.syntax is not None and not _parses(code, reply.syntax)):
        raise _WrongSchemaError("the block is cut off, or not what it should be")
    return dict.fromkeys(outputs, code)


def _parses(code: str, syntax: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns of odd escapes on its own stream
            ast.parse(code) if syntax == "python" else orjson.loads(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # orjson's error is a ValueError
        return False
    return True


def _turns(text: str, outputs: Mapping[str, str], _: Reply, __: Task) -> Fields:
    marks = list(TURN.finditer(text))
    ends = [*[mark.start() for mark in marks], len(text)][1:]
    turns = [
        {"role": SPEAKERS[mark[1].casefold()], "content": text[mark.end() : end]}
        for mark, end in zip(marks, ends, strict=True)
    ]
    return dict.fromkeys(outputs, _dialogue(turns))


PARSERS: dict[str, Callable[[str, Mapping[str, str], Reply, Task], Fields]] = {
    "text": _whole,
    "sections": _sections,
    "code": _code,
    "turns": _turns,
}
"""How an answer of other formats is taken apart: ``json`` tells repairs, ``line`` needs the opening, ``conversation``
the prompt."""
