"""Reading the body of a reply: the JSON in it, however it is wrapped, and what it holds instead of an answer.

Pure. Nothing of a body enters an error but words of the closed lists below.
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import orjson

BOM = b"\xef\xbb\xbf"
EVENT = b"data:"
END_OF_EVENTS = b"[DONE]"
MAX_EVENTS = 200_000
LAST_STATUS = 599

STATUS_OF_CODE = {
    **dict.fromkeys(("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"), 402),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"), 429),
    **dict.fromkeys(("invalid_api_key", "authentication_error", "unauthorized"), 401),
    **dict.fromkeys(("permission_error", "permission_denied", "forbidden"), 403),
    **dict.fromkeys(("model_not_found", "not_found_error", "not_found"), 404),
    **dict.fromkeys(("content_filter", "content_policy_violation"), 400),
    **dict.fromkeys(("invalid_request_error", "invalid_request", "bad_request", "context_length_exceeded"), 400),
}
"""Status that an error's word stands for where it says no number; any other is a fault of the server."""

TEXTS = frozenset({"text", "output_text"})
THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "thought"})
"""Kinds of the parts of a message."""

PARAMETERS = ("max_tokens", "temperature", "top_p", "seed", "stop", "response_format")
"""What we send besides the prompt, by our names: a refusal that names one of them would meet every call."""


class NoDocumentError(ValueError):
    """The body is no JSON object."""


def document_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body: as it is, after a byte order mark, or put together from events.

    Raises:
        NoDocumentError: it is none of these.
    """
    body = body.removeprefix(BOM)
    try:
        document = orjson.loads(body)  # refuses bad UTF-8, lone surrogates, NaN and deep nesting
    except orjson.JSONDecodeError:
        document = _of_events(body)
    if not isinstance(document, dict):
        raise NoDocumentError
    return document


def _of_events(body: bytes) -> dict[str, Any] | None:
    """Put an answer together from server-sent events; None if it is no such stream, or one that was cut off."""
    if not body.lstrip().startswith((EVENT, b":", b"event:")):
        return None
    chunks = list(_events(body))
    if not chunks or not all(isinstance(each, dict) for each in chunks):
        return None
    failed = next((each for each in chunks if each.get("error")), None)
    if failed is not None:
        return failed
    whole: dict[str, Any] = {"model": chunks[0].get("model")}
    whole["usage"] = next((each["usage"] for each in reversed(chunks) if each.get("usage")), None)
    choices = [_first(each) for each in chunks]
    finish = next((each["finish_reason"] for each in reversed(choices) if each.get("finish_reason")), None)
    if finish is None:
        return None
    deltas = [each.get("delta") or each.get("message") or {} for each in choices]
    message: dict[str, Any] = {}
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        parts = [each[name] for each in deltas if isinstance(each, dict) and isinstance(each.get(name), str)]
        message |= {name: "".join(parts)} if parts else {}
    if any(isinstance(each, dict) and each.get("tool_calls") for each in deltas):
        message["tool_calls"] = True
    text = "".join(each["text"] for each in choices if isinstance(each.get("text"), str))
    whole["choices"] = [{"finish_reason": finish, "message": message, "text": text}]
    return whole


def _events(body: bytes) -> Iterator[Any]:
    for number, line in enumerate(body.splitlines()):
        if number > MAX_EVENTS or not line.startswith(EVENT):
            continue
        data = line[len(EVENT) :].strip()
        if data == END_OF_EVENTS:
            return
        try:
            yield orjson.loads(data)
        except orjson.JSONDecodeError:
            yield None


def _first(chunk: Mapping[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}


def error_in(document: Mapping[str, Any]) -> tuple[int, frozenset[str]] | None:
    """Return the status and the words of an error that came as an answer; None if there is none.

    An error stands in the document, or in its first choice.
    """
    choice = _first(document)
    error = next((each for each in (document.get("error"), choice.get("error")) if each), None)
    if error is None and choice.get("finish_reason") == "error":
        return HTTPStatus.BAD_GATEWAY, frozenset()
    if error is None:
        return None
    words = words_of(error)
    numbers = [error.get(name) for name in ("code", "status")] if isinstance(error, dict) else []
    numbers = [int(each) if isinstance(each, str) and each.isascii() and each.isdigit() else each for each in numbers]
    statuses = [each for each in numbers if isinstance(each, int) and HTTPStatus.BAD_REQUEST <= each <= LAST_STATUS]
    known = [STATUS_OF_CODE[word] for word in sorted(words) if word in STATUS_OF_CODE]
    return next(iter([*statuses, *known]), HTTPStatus.BAD_GATEWAY), words


def words_of(error: Any) -> frozenset[str]:
    """Return ``code`` and ``type`` of an error; compared with known words only."""
    if not isinstance(error, dict):
        return frozenset()
    return frozenset(word for word in (error.get("code"), error.get("type")) if isinstance(word, str))


def parts_of(content: Any) -> tuple[str, str] | None:
    """Return text and thoughts of a content that is a list of parts; None if it is no list, or not of parts.

    Parts that are neither - images, calls of tools - are passed over: what is left may be an answer, or empty.
    """
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if part.get("type") in TEXTS:
            texts += _strings(part.get("text"))
        elif part.get("type") in THOUGHTS:
            thoughts += _strings(next((part[name] for name in ("thinking", "reasoning", "text") if part.get(name)), ""))
    return "".join(texts), "".join(thoughts)


def _strings(value: Any) -> list[str]:
    """Return the text of a part, which may itself be made of parts."""
    if isinstance(value, str):
        return [value]
    nested = parts_of(value)
    return [nested[0] + nested[1]] if nested else []


def refused_parameter(body: bytes) -> str | None:
    """Return the one parameter of ours that a refusal names, None if it names none or several.

    It names one as ``param``, or in quotes in its message.
    """
    try:
        document = document_of(body)
    except NoDocumentError:
        return None
    error = document.get("error")
    param = error.get("param") if isinstance(error, dict) else None
    if isinstance(param, str) and param:
        return param if param in PARAMETERS else None
    if isinstance(document.get("detail"), list):
        places = [each.get("loc") for each in document["detail"] if isinstance(each, dict)]
        named = {str(each[-1]) for each in places if isinstance(each, list) and each} & {*PARAMETERS}
        return next(iter(named)) if len(named) == 1 else None
    message = error.get("message") if isinstance(error, dict) else document.get("message")
    quoted = {name for name in PARAMETERS if isinstance(message, str) and re.search(rf"['\"`]{name}['\"`]", message)}
    return next(iter(quoted)) if len(quoted) == 1 else None
