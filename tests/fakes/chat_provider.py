"""A chat provider that does as the prompt says and knows who asked for what: `FakeOpenAI` for tests of whole commands.

It speaks chat only, answers in the JSON object a prompt asks for, can hold requests until it is told to go on, and can
repeat itself. Its log has the call id of every request, so a test can say what was paid twice.
"""

import asyncio
import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

from tests.fakes.openai_server import FakeOpenAI, Fault, Request, _Reply

CHAT_ONLY = "/v1/chat/completions"
ASKED_FOR = re.compile(r'\{"(\w+)": "<')
"""A prompt that wants JSON shows the object it wants."""


class ChatProvider(FakeOpenAI):
    """The provider, in a thread of its own, for as long as the ``with`` block lasts.

    Args:
        faults: as in `FakeOpenAI`.
        repeats: share of the calls that all get one and the same review per label.
        latency_s: time every answer takes.
    """

    def __init__(self, *faults: Fault, repeats: float = 0.0, latency_s: float = 0.0) -> None:
        super().__init__(*faults)
        self.repeats = repeats
        self.latency_s = latency_s
        self._open = threading.Event()
        self._open.set()
        self._free = 0

    def hold(self, after: int = 0) -> None:
        """Answer nothing until `go`, but the first so many requests."""
        self._free = after
        self._open.clear()

    def go(self) -> None:
        """Answer what was held, and everything after it."""
        self._open.set()

    @property
    def call_ids(self) -> list[str]:
        """The call of every request, in the order they came."""
        return [request.headers["idempotency-key"] for request in self.requests]

    @property
    def paid_calls(self) -> Counter[str]:
        """How often each call was answered, that is, paid."""
        return Counter(r.headers["idempotency-key"] for r in self.requests if r.is_answered)

    def keys_seen(self) -> set[str]:
        return {request.authorization for request in self.requests}

    async def _answer(self, request: Request, fault: Fault | None, writer: asyncio.StreamWriter) -> _Reply | None:
        while not self._open.is_set() and request.number > self._free:
            await asyncio.sleep(0.01)
        await asyncio.sleep(self.latency_s)
        if request.path != CHAT_ONLY:
            fault = Fault("chat_only")
        reply = await super()._answer(request, fault, writer)
        if reply is None or not request.is_answered or (fault is not None and fault.kind != "latency"):
            return reply
        document = json.loads(reply.body)
        message = document["choices"][0]["message"]
        message["content"] = self._as_asked(request.body, message["content"])
        return replace(reply, body=json.dumps(document).encode())

    def _as_asked(self, body: dict[str, Any], review: str) -> str:
        prompt = "\n".join(message["content"] for message in body["messages"])
        draw = int.from_bytes(hashlib.sha256(str(body["seed"]).encode()).digest()[:6]) / 2**48
        if draw < self.repeats:
            mood = re.findall(r"positive|negative", prompt)[-1]
            review = f"Everybody in the cinema agreed that this was a very {mood} evening among strangers."
        wanted = ASKED_FOR.search(prompt)
        return json.dumps({wanted[1]: review}) if wanted else review
