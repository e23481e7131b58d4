"""A loopback HTTP server that speaks enough of the OpenAI protocol to be paid, and fails on demand.

Answers are a function of prompt, seed and schema alone. Every request is counted by the hash of its body, so a test
can prove what was paid twice. In a test: ``with FakeOpenAI(Fault("rate_limited", at={1})) as server: server.base_url``.
From a shell: ``python -m tests.fakes.openai_server --port 0 --state log.jsonl --fault server_error:rate=0.02``.
"""

import argparse
import asyncio
import hashlib
import json
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.film_talk import answer_for

KINDS = {
    "latency": "answer after `seconds`",
    "rate_limited": "429 with `retry_after`",
    "server_error": "500",
    "hang": "read the request and never answer",
    "drip": "send the head, then a byte now and then, for ever",
    "reset": "close the connection with a reset",
    "malformed": "200 with half a JSON document",
    "html": "200 with a web page",
    "no_choices": "200 without choices",
    "empty": "200 with empty content",
    "truncated": "finish_reason length",
    "refusal": "a refusal instead of content",
    "filtered": "finish_reason content_filter",
    "wrong_schema": "content that does not follow the schema",
    "unauthorized": "401",
    "quota": "429 insufficient_quota",
    "bad_request": "400",
    "old_parameter": "400 that names `max_tokens`, as long as that is sent",
    "missing_model": "404",
    "chat_only": "404 on /completions",
    "huge": "200 with `size` bytes",
    "body": "200 with exactly `body` and `headers`",
    "redirect": "307 to another path",
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when: at the n-th requests (from 1), at every n-th, at a share of all, or always.

    The share is drawn from the body's hash and how often that body came, so runs repeat and retries may fare better.
    """

    kind: str
    at: frozenset[int] | set[int] | None = None
    every: int | None = None
    rate: float | None = None
    seconds: float = 0.0
    retry_after: str = "0"
    size: int = 16 * 1024 * 1024
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(KINDS)}")

    def strikes(self, number: int, body_sha256: str, seen: int) -> bool:
        if self.at is not None:
            return number in self.at
        if self.every is not None:
            return number % self.every == 0
        if self.rate is not None:
            draw = hashlib.sha256(f"{self.kind}:{body_sha256}:{seen}".encode()).digest()
            return int.from_bytes(draw[:6]) / 2**48 < self.rate
        return True


@dataclass
class Request:
    """One request as it came in."""

    number: int
    path: str
    body_sha256: str
    authorization: str
    headers: dict[str, str]
    body: dict[str, Any]
    fault: str | None
    is_answered: bool = False


@dataclass
class _Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_written: bool = False


class FakeOpenAI:
    """The server, in a thread of its own, for as long as the ``with`` block lasts.

    Args:
        faults: the first one that strikes a request decides; `latency` adds to the others.
        port: 0 takes a free one.
        state: file that gets one JSON line per request, without its text.
    """

    def __init__(self, *faults: Fault, port: int = 0, state: Path | None = None) -> None:
        self.faults = list(faults)
        self.requests: list[Request] = []
        self.in_flight = self.most_in_flight = 0
        self.heard = 0
        """Requests of any method to any path."""
        self.arrived = threading.Event()
        self._port, self._state = port, state
        self._seen: Counter[str] = Counter()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fake-openai", daemon=True)

    def __enter__(self) -> "FakeOpenAI":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def counts(self) -> dict[str, int]:
        """How often each body came."""
        return dict(self._seen)

    @property
    def paid(self) -> dict[str, int]:
        """How often each body was answered with a choice."""
        return dict(Counter(request.body_sha256 for request in self.requests if request.is_answered))

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()
        await self._listen()
        self._port = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closing.wait()
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self._port, limit=2**24, backlog=1024)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._handlers.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.heard += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = await self._handle(method, path, headers, body, writer)
        finally:
            self.in_flight -= 1
        if reply is None:
            return False
        writer.write(b"" if reply.is_written else _encode(reply))
        await writer.drain()
        return True

    async def _handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> _Reply | None:
        if path == "/_log":
            return _json({"requests": len(self.requests), "counts": self.counts, "paid": self.paid})
        if path == "/v1/models":
            return _json({"object": "list", "data": [{"id": "fake-model", "object": "model"}]})
        if method != "POST" or path not in ("/v1/completions", "/v1/chat/completions"):
            return _error(404, "not_found")
        faults, request = self._note(path, headers, body)
        for fault in faults:
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
        fault = next((fault for fault in faults if fault.kind != "latency"), None)
        return await self._answer(request, fault, writer)

    def _note(self, path: str, headers: dict[str, str], body: bytes) -> tuple[list[Fault], Request]:
        sha256 = hashlib.sha256(body).hexdigest()
        self._seen[sha256] += 1
        number = len(self.requests) + 1
        faults = [fault for fault in self.faults if fault.strikes(number, sha256, self._seen[sha256])]
        struck = ",".join(fault.kind for fault in faults) or None
        request = Request(number, path, sha256, headers.get("authorization", ""), headers, json.loads(body), struck)
        self.requests.append(request)
        self.arrived.set()
        if self._state is not None:
            with self._state.open("a") as log:
                log.write(json.dumps({"number": number, "path": path, "body_sha256": sha256, "fault": struck}) + "\n")
        return faults, request

    async def _answer(self, request: Request, fault: Fault | None, writer: asyncio.StreamWriter) -> _Reply | None:
        kind = fault.kind if fault else ""
        if kind in ("hang", "drip", "reset"):
            await _break(kind, writer)
            return None
        if kind in ERRORS:
            status, code = ERRORS[kind]
            retry = {"Retry-After": fault.retry_after} if kind == "rate_limited" and fault.retry_after else {}
            return _error(status, code, retry)
        if kind == "chat_only" and request.path == "/v1/completions":
            return _error(404, "not_found")
        if kind == "old_parameter" and "max_tokens" in request.body:
            body = {"error": {"message": "SECRET-ECHO", "code": "unsupported_parameter", "param": "max_tokens"}}
            return _Reply(400, json.dumps(body).encode())
        canned = _canned(fault)
        if canned is not None:
            return canned
        request.is_answered = True
        return _json(completion(request.body, is_chat="chat" in request.path, flaw=kind))


def _canned(fault: Fault | None) -> _Reply | None:
    """Return the reply of a fault that needs no answer of the model."""
    if fault is None:
        return None
    bodies = {
        "malformed": b'{"choices": [{"te',
        "html": b"<html>busy</html>",
        "no_choices": b'{"choices": []}',
        "huge": b" " * (fault.size if fault.kind == "huge" else 0),
        "body": fault.body,
    }
    if fault.kind == "redirect":
        return _Reply(status=307, headers={"Location": "/v1/models"})
    return _Reply(body=bodies[fault.kind], headers=fault.headers) if fault.kind in bodies else None


ERRORS = {
    "rate_limited": (429, "rate_limit_exceeded"),
    "server_error": (500, "server_error"),
    "unauthorized": (401, "invalid_api_key"),
    "quota": (429, "insufficient_quota"),
    "bad_request": (400, "invalid_request_error"),
    "missing_model": (404, "model_not_found"),
}


def completion(body: dict[str, Any], *, is_chat: bool, flaw: str = "") -> dict[str, Any]:
    """Return the whole answer to a request body; a function of the body alone."""
    prompt = "\n".join(str(m["content"]) for m in body["messages"]) if is_chat else str(body["prompt"])
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema") or body.get("json_schema")
    text = answer_for(prompt, int(body.get("seed", 0)), schema=schema, is_continuation=not is_chat)
    if flaw == "wrong_schema":
        text = '{"unexpected": true}'
    if flaw in ("empty", "refusal", "filtered"):
        text = ""
    if flaw == "truncated":
        text = text[: len(text) // 2]
    reason = {"truncated": "length", "filtered": "content_filter"}.get(flaw, "stop")
    choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
    if is_chat:
        refusal = "I cannot help with that." if flaw == "refusal" else None
        choice["message"] = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
    else:
        choice["text"] = text
    usage = {"prompt_tokens": len(prompt) // 4 + 1, "completion_tokens": len(text) // 4 + 1}
    return {"id": "fake", "object": "fake", "model": body.get("model"), "choices": [choice], "usage": usage}


async def _break(kind: str, writer: asyncio.StreamWriter) -> None:
    if kind == "hang":
        await asyncio.Event().wait()
    if kind == "drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
    linger_none = struct.pack("ii", 1, 0)  # closing then sends RST
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    writer.transport.abort()


def _encode(reply: _Reply) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} Fake\r\n{head}\r\n".encode() + reply.body


def _json(value: Any) -> _Reply:
    return _Reply(body=json.dumps(value).encode())


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> _Reply:
    body = {"error": {"message": "the prompt you sent was: SECRET-ECHO", "type": code, "code": code, "param": None}}
    return _Reply(status, json.dumps(body).encode(), headers or {})


def parse_fault(text: str) -> Fault:
    """Read ``kind`` or ``kind:name=value,...``, e.g. ``rate_limited:rate=0.05,retry_after=1`` or ``hang:at=3+7``."""
    kind, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        readers = {"at": lambda v: {int(n) for n in v.split("+")}, "every": int, "rate": float, "seconds": float}
        options[name] = readers.get(name, str)(value)
    return Fault(kind, **options)


def main(argv: Iterable[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; the first line printed is the address."""
    parser = argparse.ArgumentParser(description="A fake OpenAI endpoint on the loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="file that gets one JSON line per request")
    parser.add_argument(
        "--fault", action="append", default=[], type=parse_fault, help="kind[:at=1+2|every=N|rate=X,...]"
    )
    options = parser.parse_args(argv if argv is None else list(argv))
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with FakeOpenAI(*options.fault, port=options.port, state=options.state) as server:
        print(server.base_url, flush=True)  # noqa: T201 - how its starter learns the address
        ended.wait()


if __name__ == "__main__":
    main()
