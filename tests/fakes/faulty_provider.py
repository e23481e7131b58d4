"""A provider that answers everybody but one: the bytes that call gets are written out, byte for byte.

`FakeOpenAI` knows the faults tests of whole commands need; here a fault is any reply at all, HTTP or not. Everything a
fault says holds `CANARY`, so a test can look for it where no word of a provider belongs.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tests.fakes.openai_server import FakeOpenAI, Fault, Request, _break, _Reply, completion

CANARY = "PROVIDER-SAYS-THIS"
PIECE_BYTES = 256 * 1024
Then = Literal["keep", "close", "reset", "hang", "drip", "refuse", "leave"]
MOMENT_S = 0.05


@dataclass(frozen=True)
class Script:
    """What is written to the one call, and what becomes of the connection.

    Attributes:
        data: the bytes, or how they are made from the request's body when it comes.
        then: ``keep`` or ``close`` the connection, ``reset`` it, ``hang`` or ``drip`` for ever; with ``refuse`` it is
            closed and no other taken for a moment, with ``leave`` none ever.
        is_whole: whether what is written is a whole answer with status 200, which is paid.
    """

    data: bytes | Callable[[dict[str, Any]], bytes]
    then: Then = "keep"
    is_whole: bool = False


class FaultyProvider(FakeOpenAI):
    """The provider, in a thread of its own, for as long as the ``with`` block lasts.

    Args:
        script: what the one call gets.
        victim: its id; None means that every call is one.
        times: how many of its tries meet the fault; None means every one.
    """

    def __init__(self, script: Script, *, victim: str | None, times: int | None) -> None:
        super().__init__()
        self.script, self.victim, self.times = script, victim, times
        self.arrivals: list[float] = []
        """When each try of the one call came, on the monotonic clock."""
        self.whole: Counter[str] = Counter()
        """How often each call got a whole answer."""

    @property
    def tries(self) -> Counter[str]:
        """How often each call came."""
        return Counter(request.headers["idempotency-key"] for request in self.requests)

    async def _answer(self, request: Request, fault: Fault | None, writer: asyncio.StreamWriter) -> _Reply | None:
        call = request.headers["idempotency-key"]
        if call == (self.victim or call):
            self.arrivals.append(time.monotonic())
            if self.times is None or len(self.arrivals) <= self.times:
                return await self._perform(request, writer)
        self.whole[call] += 1
        return await super()._answer(request, None, writer)

    async def _perform(self, request: Request, writer: asyncio.StreamWriter) -> _Reply | None:
        script = self.script
        self.whole[request.headers["idempotency-key"]] += script.is_whole
        data = script.data if isinstance(script.data, bytes) else script.data(request.body)
        for start in range(0, len(data), PIECE_BYTES):
            writer.write(data[start : start + PIECE_BYTES])
            await writer.drain()
        if script.then == "keep":
            return _Reply(is_written=True)
        if script.then in ("hang", "reset"):
            await _break(script.then, writer)
        while script.then == "drip":
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
        if script.then in ("refuse", "leave"):
            self._server.close()
        if script.then == "refuse":
            self._back = asyncio.create_task(self._come_back())
        return None

    async def _come_back(self) -> None:
        await asyncio.sleep(MOMENT_S)
        await self._listen()


def http(status: str, body: bytes = b"", *headers: str, version: str = "1.1", length: int | None = None) -> bytes:
    """Return a reply as it goes over the wire.

    Args:
        status: code and phrase.
        body: its bytes, as sent.
        headers: lines, besides the content's type and length.
        version: of HTTP.
        length: a content length that is not the body's; -1 sends none.
    """
    length = len(body) if length is None else length
    lines = [f"HTTP/{version} {status}", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {length}"] if length >= 0 else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def error(code: str = "some_error") -> bytes:
    """Return an error as providers write it."""
    return orjson.dumps({"error": {"message": CANARY, "type": code, "code": code, "param": None}})


def healthy(body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer the call would have got."""
    return completion(body, is_chat=True)
