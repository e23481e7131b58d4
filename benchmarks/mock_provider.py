"""A provider that costs as little as it can: a bare protocol in a process of its own, with latency, faults and a cap.

``with mock_provider(latency_s=0.2) as provider: ... provider.stats()``. It speaks just enough HTTP for a chat
completion, answers every request with the same text and a number, and keeps count by `Idempotency-Key`.
"""

import argparse
import asyncio
import dataclasses
import json
import random
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.request import urlopen

HEAD_END = b"\r\n\r\n"
ANSWER = "Answer %d: the stairs creak at night, the windows rattle in every storm, and nobody would want to leave. " * 3

SEEN_SENDS, SUSTAINED = 16, 8
"""From outside a cap can be recognised once so many of so many requests in a row were refused."""


@dataclass
class Behaviour:
    """What the provider does.

    Attributes:
        latency_s: mean time of an answer; faults of the server take as long, refusals come at once.
        sigma: of the log-normal distribution of that time; 0 makes it fixed.
        limited: share of requests refused with 429.
        broken: share of requests that end with 500.
        cap: answered requests per second; 0 is no cap.
        burst: requests a rested cap lets through at once.
        retry_after: seconds named with every 429, as sent.
        on_the_wire_s: how long after a refusal a request may still arrive that was sent before the refusal was read.
    """

    latency_s: float = 0.0
    sigma: float = 0.0
    limited: float = 0.0
    broken: float = 0.0
    cap: float = 0.0
    burst: float = 100.0
    retry_after: str = "1"
    on_the_wire_s: float = 0.05


@dataclass
class Provider:
    """The decisions and the books; the clock is an argument."""

    does: Behaviour
    counts: Counter[str] = field(default_factory=Counter)
    tries: Counter[bytes] = field(default_factory=Counter)
    answered: Counter[bytes] = field(default_factory=Counter)
    closed_until: dict[bytes, float] = field(default_factory=dict)
    lately: deque[bool] = field(default_factory=lambda: deque(maxlen=SEEN_SENDS))
    gate: tuple[float, float] = (0.0, 0.0)
    is_recognised: bool = False
    first_at: float | None = None
    allowance: float = 0.0
    filled_at: float = 0.0

    def judge(self, key: bytes, now: float) -> tuple[int, float]:
        """Return status and delay of one request."""
        if self.first_at is None:
            self.first_at, self.filled_at, self.allowance = now, now, self.does.burst
        self.tries[key] += 1
        self._watch(key, now)
        dice = random.Random(key + b"%d" % self.tries[key])  # noqa: S311 - repeatable faults
        drawn = dice.random()
        if drawn < self.does.limited or not self._admits(now):
            self._refuse(key, now)
            return 429, 0.0
        self.lately.append(False)
        delay = self.does.latency_s
        if self.does.sigma:
            delay *= dice.lognormvariate(-(self.does.sigma**2) / 2, self.does.sigma)  # this mean is 1
        if drawn < self.does.limited + self.does.broken:
            self.counts["broken"] += 1
            return 500, delay
        self.answered[key] += 1
        return 200, delay

    def _watch(self, key: bytes, now: float) -> None:
        self.counts["requests"] += 1
        if now < self.closed_until.get(key, 0.0):
            self.counts["same row in its window"] += 1
        if self.gate[0] + self.does.on_the_wire_s < now < self.gate[1]:
            self.counts["any row in a window"] += 1

    def _admits(self, now: float) -> bool:
        if not self.does.cap:
            return True
        gained = (now - self.filled_at) * self.does.cap
        self.allowance, self.filled_at = min(self.does.burst, self.allowance + gained), now
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True

    def _refuse(self, key: bytes, now: float) -> None:
        self.counts["refused"] += 1
        self.lately.append(True)
        self.closed_until[key] = until = now + float(self.does.retry_after)
        self.is_recognised |= bool(self.does.cap) and sum(self.lately) >= SUSTAINED
        if self.is_recognised:
            self.gate = (max(now, self.gate[0]) if now < self.gate[1] else now, until)

    def stats(self) -> dict[str, Any]:
        """Return the books; ``first_at`` is on the clock all processes of the machine share."""
        paid = Counter(self.answered.values())
        return {**self.counts, "first_at": self.first_at, "answered": sum(self.answered.values()), "paid": paid}


class Connection(asyncio.Protocol):
    """One connection; requests on it follow one another."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self._data += data
        end = self._data.find(HEAD_END)
        if end < 0:
            return
        head = self._data[:end].lower()
        length = _header(head, b"content-length")
        if len(self._data) < end + len(HEAD_END) + int(length or 0):
            return
        self._data = b""
        if head.startswith(b"get "):
            self._send(_reply(200, json.dumps(self._provider.stats()).encode()))
            return
        status, delay = self._provider.judge(_header(head, b"idempotency-key"), self._loop.time())
        reply = self._replied(status)
        if delay > 0:
            self._loop.call_later(delay, self._send, reply)
        else:
            self._send(reply)

    def _replied(self, status: int) -> bytes:
        if status == 429:  # noqa: PLR2004
            return _reply(status, b'{"error": {"code": "rate_limit_exceeded"}}', self._provider.does.retry_after)
        if status != 200:  # noqa: PLR2004
            return _reply(status, b'{"error": {"code": "server_error"}}')
        return _reply(status, COMPLETION % ((self._provider.counts["requests"],) * 3))

    def _send(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)


COMPLETION = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "mock-1",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER, "refusal": None}}
        ],
        "usage": {"prompt_tokens": 60, "completion_tokens": 66, "total_tokens": 126},
    }
).encode()


def _header(head: bytes, name: bytes) -> bytes:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def _reply(status: int, body: bytes, retry_after: str = "") -> bytes:
    wait = b"Retry-After: %b\r\n" % retry_after.encode() if retry_after else b""
    head = b"HTTP/1.1 %d Mock\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
    return head % (status, len(body), wait) + body


@dataclass(frozen=True)
class Running:
    """A provider in another process."""

    base_url: str

    def stats(self) -> dict[str, Any]:
        """Return its books."""
        with urlopen(f"{self.base_url}/stats") as answer:  # noqa: S310 - the loopback
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def mock_provider(**behaviour: Any) -> Iterator[Running]:
    """Run a provider for the length of a block; see `Behaviour`."""
    command = [sys.executable, "-m", "benchmarks.mock_provider", json.dumps(behaviour)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        try:
            assert child.stdout is not None
            yield Running(child.stdout.readline().strip())
        finally:
            child.terminate()


async def _serve(behaviour: Behaviour) -> None:
    provider = Provider(behaviour)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(provider), "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until terminated; the first line printed is the address."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ", ".join(each.name for each in dataclasses.fields(Behaviour))
    parser.add_argument("behaviour", nargs="?", default="{}", help=f"JSON with any of {names}")
    asyncio.run(_serve(Behaviour(**json.loads(parser.parse_args().behaviour))))


if __name__ == "__main__":
    main()
