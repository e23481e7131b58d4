"""What a provider's reply means: strict reading of bodies, and the one classification of answers and faults.

Pure: bytes and values in, values out. Nothing of a reply is trusted, and no text of it ever enters an error.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

from resources.llm.bodies import NoDocumentError, document_of, error_in, parts_of, refused_parameter, words_of
from resources.llm.secrets import holds_secret
from synth_assets.domain.ports import Answer, Ending, Mode
from synth_assets.domain.thoughts import part
from synth_assets.vocabulary import Outcome, QuarantineReason

T = TypeVar("T")

MAX_TOKENS_BELIEVED = 2**31
MAX_NAME = 200
"""Characters of a model's name; a longer one is not believed."""

WORD = re.compile(r"[A-Za-z_]{1,40}")
"""A finish reason: one word, kept for ever; a sentence has no place there."""

QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
CALLED = ("tool_calls", "function_call")
"""Finish reasons of a model that calls a tool instead of answering; nobody offered it one."""
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT)


class NotConnectedError(Exception):
    """No connection came about: nothing was sent, nothing can have been paid."""


class BrokenError(Exception):
    """The connection broke after sending: nobody knows whether the answer was paid."""


class OversizedError(Exception):
    """The body is larger than the cap, or compressed in a way that cannot be capped."""


class MalformedAnswerError(ValueError):
    """A reply with status 200 that holds no usable choice; says what is wrong, never what was written."""


@dataclass(frozen=True)
class Reply:
    """One HTTP reply, read to its end.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: decoded body, at most the client's cap.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Choice:
    """The first choice of a reply, checked; fields as in `Answer`."""

    text: str
    refusal: bool
    finish_reason: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    mean_logprob: float | None
    reasoning: str = ""


@dataclass(frozen=True)
class Fault:
    """Why one try brought no answer.

    Attributes:
        reason: what the call is quarantined with, or the run stopped with.
        is_passing: whether another try may help.
        is_stop: whether no other call would fare better.
        is_sent: False when the request never left, so nothing can have been paid.
        is_paid: whether the provider answered, so that the call is paid although its answer is of no use.
        wait_s: what the provider asked for before the next try, in seconds.
        parameter: the one parameter of ours that it does not take.
    """

    reason: QuarantineReason
    is_passing: bool = False
    is_stop: bool = False
    is_sent: bool = True
    is_paid: bool = False
    wait_s: float | None = None
    parameter: str | None = None


UNREADABLE = Fault(QuarantineReason.MALFORMED_ANSWER, is_paid=True)
"""An answer came, and nothing can be read from it; the next one to the same call would be paid as well."""


def meaning(reply: Reply, mode: Mode, *, now: datetime) -> Choice | Fault:
    """Return the paid choice of a reply, or the fault it stands for."""
    if reply.status != HTTPStatus.OK:
        return _fault(reply, error_codes(reply.body), now)
    try:
        document = document_of(reply.body)
        error = error_in(document)
        if error is not None:  # it decides as if its status were that of the reply
            status, codes = error
            return _fault(Reply(status, reply.headers, reply.body), codes, now)
        choice = choice_of(document, mode)
    except (MalformedAnswerError, NoDocumentError):
        return UNREADABLE
    said = (choice.text, choice.reasoning, choice.model, choice.finish_reason)
    return UNREADABLE if holds_secret(*said) else choice


def answer_of(choice: Choice, call_id: str, *, tries: int, latency_s: float, at: datetime) -> Answer:
    """Return a paid choice as the journal keeps it."""
    return Answer(
        call_id=call_id,
        text=choice.text,
        refusal=choice.refusal,
        finish_reason=choice.finish_reason,
        model=choice.model,
        input_tokens=choice.input_tokens,
        output_tokens=choice.output_tokens,
        mean_logprob=choice.mean_logprob,
        latency_s=latency_s,
        generated_at=at,
        tries=tries,
        reasoning=choice.reasoning,
    )


def ending_of(request_id: str, answer: Answer) -> Ending:
    """Classify a paid answer; the same whether it came from the network or from the journal."""
    reason = _flaw(answer)
    outcome = Outcome.ANSWERED if reason is None else Outcome.QUARANTINED
    return Ending(request_id, answer.call_id, outcome, reason, answer, answer.tries)


def _flaw(answer: Answer) -> QuarantineReason | None:
    if answer.finish_reason == "content_filter":
        return QuarantineReason.CONTENT_FILTER
    if answer.refusal:
        return QuarantineReason.REFUSED
    if answer.finish_reason == "length":
        return QuarantineReason.TRUNCATED
    if answer.text.strip():
        return None
    if answer.finish_reason in CALLED:
        return QuarantineReason.TOOL_CALL
    return QuarantineReason.THOUGHTS_ONLY if answer.reasoning.strip() else QuarantineReason.EMPTY_ANSWER


def _fault(reply: Reply, codes: frozenset[str], now: datetime) -> Fault:
    if reply.status == HTTPStatus.PAYMENT_REQUIRED or codes & QUOTA_CODES:
        return Fault(QuarantineReason.QUOTA_EXHAUSTED, is_stop=True)
    if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and not codes & FILTER_CODES:
        return Fault(QuarantineReason.UNAUTHORIZED, is_stop=True)
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return UNREADABLE
    reason = _reason(reply.status, codes)
    if reason in (QuarantineReason.RATE_LIMITED, QuarantineReason.SERVER_ERROR):
        return Fault(reason, is_passing=True, wait_s=retry_after(reply.headers, now=now))
    parameter = refused_parameter(reply.body) if reason == QuarantineReason.BAD_REQUEST else None
    return Fault(reason, is_stop=parameter is not None, parameter=parameter)


def _reason(status: int, codes: frozenset[str]) -> QuarantineReason:
    rules = (
        (status == HTTPStatus.TOO_MANY_REQUESTS, QuarantineReason.RATE_LIMITED),
        (status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR, QuarantineReason.SERVER_ERROR),
        (bool(codes & FILTER_CODES), QuarantineReason.CONTENT_FILTER),
        # Redirects are not followed: they would post the prompt to another place. The address is wrong.
        (status == HTTPStatus.NOT_FOUND or status < HTTPStatus.BAD_REQUEST, QuarantineReason.NOT_FOUND),
    )
    return next((reason for holds, reason in rules if holds), QuarantineReason.BAD_REQUEST)


def read_choice(body: bytes, mode: Mode) -> Choice:
    """Read the first choice of a completion or chat completion.

    Raises:
        MalformedAnswerError: the body is not UTF-8 JSON of that shape, or its text holds NUL or lone surrogates.
    """
    try:
        return choice_of(document_of(body), mode)
    except NoDocumentError:
        raise MalformedAnswerError("no JSON") from None


def choice_of(document: Mapping[str, Any], mode: Mode) -> Choice:
    """Read the first choice of a reply; see `read_choice`."""
    choices = _as(list, document.get("choices"))
    if not choices:
        raise MalformedAnswerError("no choices")
    choice = _as(dict, choices[0])
    message = choice if mode == "completion" else _as(dict, choice.get("message"))
    refusal = _text(message.get("refusal"))
    content = message.get("text" if mode == "completion" else "content")
    parts = parts_of(content)
    parted = part(_text(content if parts is None else parts[0]))
    thoughts = _thought(parts[1]) if parts is not None else ""
    told = (message.get("reasoning_content"), message.get("reasoning"))
    usage = document.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Choice(
        text=parted.answer,
        refusal=bool(refusal),
        finish_reason=CALLED[0] if message.get("tool_calls") else _word(choice.get("finish_reason")),
        model=_name(document.get("model")),
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        mean_logprob=_mean_logprob(choice.get("logprobs")),
        reasoning=next(filter(None, [*map(_thought, told), thoughts, parted.thoughts]), ""),
    )


def error_codes(body: bytes) -> frozenset[str]:
    """Return ``code`` and ``type`` of an error body, empty if it says none; compared with known words only."""
    try:
        return words_of(document_of(body).get("error"))
    except NoDocumentError:
        return frozenset()


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds a provider asks to wait, from milliseconds, seconds or an HTTP date; None if it does not say.

    Example:
        >>> retry_after({"retry-after": "2.5"}, now=datetime(2026, 1, 1, tzinfo=UTC))
        2.5
        >>> retry_after({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, now=datetime(2026, 1, 1, tzinfo=UTC))
        60.0
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    said = headers.get("retry-after", "").strip()
    seconds = _number(said)
    if seconds is not None:
        return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _as(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise MalformedAnswerError(f"no {kind.__name__} where one belongs")
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = _as(str, value)
    if "\0" in text:
        raise MalformedAnswerError("NUL in the text")
    return text


def _thought(value: Any) -> str:
    """Return reasoning that is a text; of any other kind it is not worth losing the answer for."""
    return value if isinstance(value, str) and "\0" not in value else ""


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable() else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and WORD.fullmatch(value) else None


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS_BELIEVED
    return value if is_count else None


def _mean_logprob(logprobs: Any) -> float | None:
    """Average what chat (``content``) or legacy completions (``token_logprobs``) give, in nats."""
    if not isinstance(logprobs, dict):
        return None
    tokens = logprobs.get("content")
    tokens = tokens if isinstance(tokens, list) else []
    values = logprobs.get("token_logprobs")
    values = (
        values if isinstance(values, list) else [token.get("logprob") for token in tokens if isinstance(token, dict)]
    )
    finite = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    return sum(finite) / len(finite) if finite else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
