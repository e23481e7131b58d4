"""The closed list of faults a provider was seen with or could have, and what becomes of a call that meets one.

`tests/test_fault_matrix.py` meets every one of them; `docs/faults.md` is this list in prose.
"""

import gzip
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

import orjson

from synth_assets.vocabulary import QuarantineReason
from tests.fakes.faulty_provider import CANARY, Script, error, healthy, http

TRIES = 3
"""Tries of a call in the matrix."""
SHORT_S = 0.7
"""Deadline of the calls that meet silence, in seconds."""


@dataclass(frozen=True)
class End:
    """What becomes of the call: answered if there is no reason, else quarantined, or not sent if it is a stop.

    Attributes:
        tries: requests made for it; None where the moment decides.
        is_stop: whether the run stops and the call is not sent.
        lets_others_end: whether a stop waits until the others have ended.
    """

    tries: int | None
    reason: QuarantineReason | None = None
    is_stop: bool = False
    lets_others_end: bool = False

    def __str__(self) -> str:
        often = "" if self.tries is None else f" ({'1 try' if self.tries == 1 else f'{self.tries} tries'})"
        if self.lets_others_end:
            return f"stop, once the others ended: `{self.reason}`"
        if self.is_stop:
            return f"stop: `{self.reason}`"
        return f"quarantined: `{self.reason}`{often}" if self.reason else f"answered{often}"


@dataclass(frozen=True)
class Kind:
    """One fault.

    Attributes:
        name: what the provider does.
        times: how many tries meet it; None means every one.
        asked_s: shortest time between two tries that the provider asked for, in seconds.
        deadline_s: total time of a call, in seconds.
        backoff_s: first wait of the client, in seconds.
        environment: variables that are set meanwhile.
        is_heavy: whether meeting it moves so many bytes that it is left to the slow tests.
    """

    name: str
    script: Script
    end: End
    times: int | None = None
    asked_s: float = 0.0
    deadline_s: float = 20.0
    backoff_s: float = 0.001
    environment: tuple[tuple[str, str], ...] = ()
    is_heavy: bool = False


def quarantined(reason: QuarantineReason, tries: int = 1) -> End:
    return End(tries, reason)


def stopped(reason: QuarantineReason) -> End:
    return End(1, reason, is_stop=True)


MALFORMED = quarantined(QuarantineReason.MALFORMED_ANSWER)
BROKEN = quarantined(QuarantineReason.CONNECTION_FAILED, TRIES)
FAILING = quarantined(QuarantineReason.SERVER_ERROR, TRIES)
LATER = End(1, QuarantineReason.RATE_LIMITED, is_stop=True, lets_others_end=True)
LATE = quarantined(QuarantineReason.DEADLINE_EXCEEDED)
SECOND_TRY = End(2)
ANSWERED = End(1)


def refusal(status: str, *headers: str, code: str = "some_error") -> Script:
    return Script(http(status, error(code), *headers))


def limited(*headers: str) -> Script:
    return refusal(f"429 {CANARY}", *headers, code="rate_limit_exceeded")


def whole(body: bytes, *headers: str) -> Script:
    """Return a reply with status 200 that is read to its end."""
    return Script(http("200 OK", body, *headers), is_whole=True)


def bent(change: Callable[[dict[str, Any]], None], *headers: str, **wire: Any) -> Script:
    """Return the healthy answer with something changed."""

    def data(body: dict[str, Any]) -> bytes:
        document = healthy(body)
        change(document)
        return http("200 OK", orjson.dumps(document), *headers, **wire)

    return Script(data, is_whole=True)


def message(**fields: Any) -> Script:
    return bent(lambda document: document["choices"][0]["message"].update(fields))


def choice(**fields: Any) -> Script:
    return bent(lambda document: document["choices"][0].update(fields))


def usage(**counts: Any) -> Script:
    return bent(lambda document: document.update(usage=counts or None))


def texts(raw: bytes) -> Script:
    """Return an answer whose content is written as these bytes."""
    return whole(b'{"choices": [{"finish_reason": "stop", "message": {"content": "%s %s"}}]}' % (CANARY.encode(), raw))


def encoded(name: str, encode: Callable[[bytes], bytes]) -> Script:
    def data(body: dict[str, Any]) -> bytes:
        return http("200 OK", encode(orjson.dumps(healthy(body))), f"Content-Encoding: {name}")

    return Script(data, is_whole=True)


def bomb(_: dict[str, Any]) -> bytes:
    """A reply of a few hundred kilobytes that unpacks to 64 MB."""
    return http("200 OK", gzip.compress(b" " * 64_000_000, compresslevel=1), "Content-Encoding: gzip")


def large(_: dict[str, Any]) -> bytes:
    return http("200 OK", b'{"choices": "' + CANARY.encode() + b" " * 50_000_000 + b'"}')


def with_a_date(_: dict[str, Any]) -> bytes:
    """Ask to wait until a second that begins in 0.3 to 1.3 seconds."""
    date = formatdate(int(time.time() + 1.3), usegmt=True)
    return http("429 Slow", error("rate_limit_exceeded"), f"Retry-After: {date}")


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


def inside(code: int | str) -> Script:
    """Return an error of a code that came as an answer."""
    return unpaid(whole(orjson.dumps({"error": {"message": CANARY, "code": code}})))


def unpaid(script: Script) -> Script:
    """Return a reply that is no answer, for all its status 200."""
    return replace(script, is_whole=False)


def encoded_as(name: str) -> Script:
    return Script(lambda body: http("200 OK", orjson.dumps(healthy(body)).decode().encode(name)), is_whole=True)


def streamed(*, is_whole: bool = True) -> Script:
    """Return the healthy answer as server-sent events, two characters each."""

    def data(body: dict[str, Any]) -> bytes:
        text = healthy(body)["choices"][0]["message"]["content"]
        deltas: list[dict[str, Any]] = [{"delta": {"content": text[at : at + 2]}} for at in range(0, len(text), 2)]
        events = [{"choices": [each]} for each in [*deltas, {"delta": {}, "finish_reason": "stop"}]]
        lines = [b"data: " + orjson.dumps(each) for each in (events if is_whole else events[:-1])]
        return http("200 OK", b"\n\n".join([b": hello", *lines, b"data: [DONE]", b""]))

    return Script(data, is_whole=True)


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "They like doors."}]},
    {"type": "text", "text": "A door of oak"},
    {"type": "text", "text": " that never sticks."},
]
HALF = b'{"choices": [{"message": {"content": "' + CANARY.encode()
DEAD = "http://127.0.0.1:9"
PROXIES = tuple((name, DEAD) for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"))

STATUSES = [
    Kind("400", refusal("400 Bad"), quarantined(QuarantineReason.BAD_REQUEST)),
    Kind(
        "400 with code `content_filter`",
        refusal("400 Bad", code="content_filter"),
        quarantined(QuarantineReason.CONTENT_FILTER),
    ),
    Kind("401", refusal("401 No"), stopped(QuarantineReason.UNAUTHORIZED)),
    Kind("402", refusal("402 Pay"), stopped(QuarantineReason.QUOTA_EXHAUSTED)),
    Kind("403", refusal("403 No"), stopped(QuarantineReason.UNAUTHORIZED)),
    Kind(
        "403 with code `content_filter`",
        refusal("403 No", code="content_filter"),
        quarantined(QuarantineReason.CONTENT_FILTER),
    ),
    Kind("404", refusal("404 None", code="model_not_found"), quarantined(QuarantineReason.NOT_FOUND)),
    Kind("408, once", refusal("408 Late"), SECOND_TRY, times=1),
    Kind("409, once", refusal("409 Busy"), SECOND_TRY, times=1),
    Kind(
        "400 that names a parameter",
        Script(http("400 Bad", orjson.dumps({"error": {"message": CANARY, "param": "max_tokens"}}))),
        stopped(QuarantineReason.BAD_REQUEST),
    ),
    Kind(
        "400 that quotes a parameter",
        Script(http("400 Bad", orjson.dumps({"error": {"message": f"{CANARY}: 'temperature' is deprecated"}}))),
        stopped(QuarantineReason.BAD_REQUEST),
    ),
    Kind(
        "422 that points at a parameter",
        Script(http("422 Odd", orjson.dumps({"detail": [{"loc": ["body", "seed"], "msg": CANARY}]}))),
        stopped(QuarantineReason.BAD_REQUEST),
    ),
    Kind(
        "400 that names the messages",
        Script(http("400 Bad", orjson.dumps({"error": {"message": "'seed'", "param": "messages"}}))),
        quarantined(QuarantineReason.BAD_REQUEST),
    ),
    Kind("413", refusal("413 Long"), quarantined(QuarantineReason.BAD_REQUEST)),
    Kind("422", refusal("422 Odd"), quarantined(QuarantineReason.BAD_REQUEST)),
    Kind("500, once", refusal(f"500 {CANARY}"), SECOND_TRY, times=1),
    Kind("500, always", refusal("500 Oops"), FAILING),
    Kind(
        "500 with 50 MB of text, once",
        Script(http("500 Oops", CANARY.encode() + b" " * 50_000_000)),
        SECOND_TRY,
        times=1,
        is_heavy=True,
    ),
    Kind("500 with half its body, always", Script(http("500 Oops", error(), length=9999), "close"), FAILING),
    Kind("502 with a web page, once", Script(http("502 Bad", b"<html>" + CANARY.encode())), SECOND_TRY, times=1),
    Kind("503 with Retry-After, once", refusal("503 Busy", "Retry-After: 0.2"), SECOND_TRY, times=1, asked_s=0.2),
    Kind("504, always", refusal("504 Late"), FAILING),
    Kind("529, once", refusal("529 Overloaded"), SECOND_TRY, times=1),
    Kind("204", Script(http("204 Nothing", length=-1)), MALFORMED),
]
RATE_LIMITS = [
    Kind("429, Retry-After in seconds", limited("Retry-After: 1"), SECOND_TRY, times=1, asked_s=1.0),
    Kind("429, retry-after-ms", limited("retry-after-ms: 120"), SECOND_TRY, times=1, asked_s=0.12),
    Kind("429, Retry-After as a date", Script(with_a_date), SECOND_TRY, times=1, asked_s=0.2),
    Kind("429, Retry-After in the past", limited("Retry-After: Thu, 01 Jan 2026 00:00:00 GMT"), SECOND_TRY, times=1),
    Kind("429, Retry-After negative", limited("Retry-After: -30"), SECOND_TRY, times=1),
    Kind("429, Retry-After nonsense", limited(f"Retry-After: {CANARY}"), SECOND_TRY, times=1),
    Kind("429, Retry-After not a number", limited("Retry-After: nan", "retry-after-ms: inf"), SECOND_TRY, times=1),
    Kind("429, Retry-After twice", limited("Retry-After: 0", "Retry-After: 9999"), SECOND_TRY, times=1),
    Kind("429 without Retry-After, always", limited(), quarantined(QuarantineReason.RATE_LIMITED, TRIES)),
    Kind("429, Retry-After beyond the call's deadline (120 s)", limited("Retry-After: 121"), LATER, deadline_s=120.0),
    Kind("429, Retry-After beyond all bounds", limited("Retry-After: 1e308"), LATER),
    Kind(
        "429 with code `insufficient_quota`",
        refusal("429 No", code="insufficient_quota"),
        stopped(QuarantineReason.QUOTA_EXHAUSTED),
    ),
]
CONNECTIONS = [
    Kind("refused for a moment", Script(b"", "refuse"), End(None), times=1, backoff_s=0.15),
    Kind("refused from then on", Script(b"", "leave"), End(None, QuarantineReason.UNREACHABLE, is_stop=True)),
    Kind("reset before the headers, once", Script(b"", "reset"), SECOND_TRY, times=1),
    Kind("reset before the headers, always", Script(b"", "reset"), BROKEN),
    Kind("reset in the headers, once", Script(b"HTTP/1.1 200 OK\r\nContent-", "reset"), SECOND_TRY, times=1),
    Kind("reset in the body, once", Script(http("200 OK", HALF, length=9999), "reset"), SECOND_TRY, times=1),
    Kind("half the body, then closed, once", Script(http("200 OK", HALF, length=9999), "close"), SECOND_TRY, times=1),
    Kind("half the body, then closed, always", Script(http("200 OK", HALF, length=9999), "close"), BROKEN),
    Kind("a chunked body cut off, once", Script(chunked(HALF), "close"), SECOND_TRY, times=1),
    Kind("silence before the headers", Script(b"", "hang"), LATE, deadline_s=SHORT_S),
    Kind("silence in the body", Script(http("200 OK", HALF, length=9999), "hang"), LATE, deadline_s=SHORT_S),
    Kind("a byte now and then", Script(http("200 OK", HALF, length=10**6), "drip"), LATE, deadline_s=SHORT_S),
    Kind("no HTTP at all, once", Script(CANARY.encode() + b"\r\n\r\n", "close"), SECOND_TRY, times=1),
    Kind(
        "a header of 1 MB, once",
        Script(http("200 OK", b"{}", f"X-Big: {CANARY * 60_000}"), "close"),
        SECOND_TRY,
        times=1,
    ),
    Kind("50,000 headers, once", Script(http("200 OK", b"{}", *[f"X-Big: {CANARY}"] * 50_000)), SECOND_TRY, times=1),
    Kind("two lengths that differ, once", Script(http("200 OK", HALF, "Content-Length: 3")), SECOND_TRY, times=1),
    Kind("the same headers twice", bent(lambda _: None, "Content-Type: text/html", "X-Id: 1", "X-Id: 2"), ANSWERED),
    Kind(
        "HTTP/1.0, closed without a length",
        Script(bent(lambda _: None, version="1.0", length=-1).data, "close", is_whole=True),
        ANSWERED,
    ),
    Kind(
        "informational replies first",
        Script(
            lambda body: b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 3 + bent(lambda _: None).data(body), is_whole=True
        ),
        ANSWERED,
    ),
    Kind("proxies in the environment", bent(lambda _: None), ANSWERED, environment=PROXIES),
]
REDIRECTS = [
    Kind(
        f"{status}{place}",
        Script(http(f"{status} There", b"", f"Location: {to}")),
        quarantined(QuarantineReason.NOT_FOUND),
    )
    for status in (301, 307, 308)
    for place, to in ((" on the same host", "/v1/chat/completions"), (" to another host", "{other}/chat/completions"))
]
BODIES = [
    Kind("an empty body", whole(b""), MALFORMED),
    Kind("JSON cut off", whole(HALF), MALFORMED),
    Kind("bad UTF-8", texts(b"\xff\xfe"), MALFORMED),
    Kind("JSON 100,000 deep", whole(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), MALFORMED),
    Kind("a web page", whole(b"<html>" + CANARY.encode()), MALFORMED),
    Kind("`null`", whole(b"null"), MALFORMED),
    Kind("a list", whole(b"[]"), MALFORMED),
    Kind("a string", whole(orjson.dumps(CANARY)), MALFORMED),
    Kind("a number", whole(b"1e999"), MALFORMED),
    Kind("an error with status 200, always", unpaid(whole(error())), FAILING),
    Kind("an error with status 200, once", unpaid(whole(error())), SECOND_TRY, times=1),
    Kind("429 in the body of a 200, once", inside(429), SECOND_TRY, times=1),
    Kind("429 in the body of a 200, always", inside(429), quarantined(QuarantineReason.RATE_LIMITED, TRIES)),
    Kind('"502" in the body of a 200, once', inside("502"), SECOND_TRY, times=1),
    Kind(
        "503 in the first choice of a 200, once", unpaid(choice(error={"code": 503}, message=None)), SECOND_TRY, times=1
    ),
    Kind("400 in the body of a 200", inside(400), quarantined(QuarantineReason.BAD_REQUEST)),
    Kind("401 in the body of a 200", inside(401), stopped(QuarantineReason.UNAUTHORIZED)),
    Kind("402 in the body of a 200", inside(402), stopped(QuarantineReason.QUOTA_EXHAUSTED)),
    Kind(
        "`insufficient_quota` in the body of a 200",
        inside("insufficient_quota"),
        stopped(QuarantineReason.QUOTA_EXHAUSTED),
    ),
    Kind("an error that is `null` beside the answer", bent(lambda document: document.update(error=None)), ANSWERED),
    Kind("no choices", whole(b'{"choices": []}'), MALFORMED),
    Kind("choices that are no list", whole(b'{"choices": {"0": "x"}}'), MALFORMED),
    Kind("a choice that is `null`", whole(b'{"choices": [null]}'), MALFORMED),
    Kind("a choice without a message", whole(b'{"choices": [{}]}'), MALFORMED),
    Kind("content that is a number", message(content=7), MALFORMED),
    Kind("content that is a list of parts", message(content=PARTS), ANSWERED),
    Kind("content of thoughts alone", message(content=PARTS[:1]), quarantined(QuarantineReason.THOUGHTS_ONLY)),
    Kind("content that is an empty list", message(content=[]), quarantined(QuarantineReason.EMPTY_ANSWER)),
    Kind("events although none were asked for", streamed(), ANSWERED),
    Kind("events that break off", streamed(is_whole=False), MALFORMED),
    Kind("an error among events, once", unpaid(whole(b"data: " + error() + b"\n\n")), SECOND_TRY, times=1),
    Kind("a byte order mark first", encoded_as("utf-8-sig"), ANSWERED),
    Kind(
        "a call of a tool nobody offered",
        message(content=None, tool_calls=[{"function": {"name": CANARY}}]),
        quarantined(QuarantineReason.TOOL_CALL),
    ),
    Kind("finish_reason `error`, once", unpaid(choice(finish_reason="error")), SECOND_TRY, times=1),
    Kind("finish_reason `error`, always", unpaid(choice(finish_reason="error")), FAILING),
    Kind("a lone surrogate in the text", texts(rb"\ud800"), MALFORMED),
    Kind("NUL in the text", texts(rb"a\u0000b"), MALFORMED),
    Kind("NaN in the JSON", whole(b'{"choices": [{"message": {"content": "a"}}], "x": NaN}'), MALFORMED),
    Kind("a body of 50 MB", Script(large, is_whole=True), MALFORMED, is_heavy=True),
    Kind("a gzip bomb of 64 MB", Script(bomb, is_whole=True), MALFORMED, is_heavy=True),
    Kind("a gzip that is none", encoded("gzip", lambda body: body), MALFORMED),
    Kind("an unknown encoding", encoded("br", lambda body: body), MALFORMED),
    Kind("gzip although none was asked for", encoded("gzip", gzip.compress), ANSWERED),
    Kind("deflate although none was asked for", encoded("deflate", zlib.compress), ANSWERED),
    Kind("content that is `null`", message(content=None), quarantined(QuarantineReason.EMPTY_ANSWER)),
    Kind("content that is blank", message(content=" \n"), quarantined(QuarantineReason.EMPTY_ANSWER)),
    Kind("thoughts and nothing else", message(content="<think>Hm."), quarantined(QuarantineReason.THOUGHTS_ONLY)),
    Kind("finish_reason `length`", choice(finish_reason="length"), quarantined(QuarantineReason.TRUNCATED)),
    Kind(
        "finish_reason `content_filter`",
        choice(finish_reason="content_filter"),
        quarantined(QuarantineReason.CONTENT_FILTER),
    ),
    Kind("a refusal", message(content=None, refusal=CANARY), quarantined(QuarantineReason.REFUSED)),
    Kind("a finish_reason that is a sentence", choice(finish_reason=f"because {CANARY}"), ANSWERED),
    Kind("an id it gave before", bent(lambda document: document.update(id="fake")), ANSWERED),
    Kind(
        "another model than the one asked",
        bent(lambda document: document.update(model="fake-model-2026-11-01")),
        ANSWERED,
    ),
    Kind("usage missing", usage(), ANSWERED),
    Kind("usage negative", usage(prompt_tokens=-1, completion_tokens=-1), ANSWERED),
    Kind("usage absurd", usage(prompt_tokens=10**15, completion_tokens="many"), ANSWERED),
]
KINDS = [*STATUSES, *RATE_LIMITS, *CONNECTIONS, *REDIRECTS, *BODIES]
