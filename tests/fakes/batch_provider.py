"""A provider with a batch endpoint: files go in, work is done when the test says so, files come out."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.openai_server import FakeOpenAI, Fault, _error, _json, _Reply, completion

PART = re.compile(rb'name="(\w+)"[^\r\n]*(?:\r\n[^\r\n]+)*\r\n\r\n(.*?)\r\n--', re.DOTALL)


@dataclass
class Batch:
    """One batch as the provider knows it."""

    id: str
    input_file: str
    endpoint: str
    metadata: dict[str, str]
    status: str = "in_progress"
    output_file: str | None = None
    error_file: str | None = None


@dataclass
class Plan:
    """What the provider does with a batch, by its place from 1; what is not named is answered well.

    Attributes:
        polls: how often it is asked for before it is done.
        expires_after: calls done when it expires; None lets it complete.
        fails: whether the input file is refused as a whole.
        faults: status of the reply to every n-th call, by n.
        twice: whether every line of the result comes twice.
        strangers: whether the result begins with lines that are no answers to anything asked.
    """

    polls: int = 1
    expires_after: int | None = None
    fails: bool = False
    faults: dict[int, int] = field(default_factory=dict)
    twice: bool = False
    strangers: bool = False


class BatchProvider(FakeOpenAI):
    """The provider; ``plans`` by place of the batch, the last one goes on for ever."""

    def __init__(self, *plans: Plan, has_batches: bool = True) -> None:
        super().__init__(Fault("bad_request"))  # online calls are not what it is for
        self.plans = list(plans) or [Plan()]
        self.has_batches = has_batches
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.uploads = 0
        self.polled = 0
        self.answered: list[str] = []
        self.forgets_replies_to: set[str] = set()
        self.on_poll: Callable[[int], None] = lambda polled: None

    async def _handle(self, method: str, path: str, headers: dict[str, str], body: bytes, writer: Any) -> _Reply | None:
        route = path.split("?", maxsplit=1)[0]
        if not self.has_batches or not route.startswith(("/v1/files", "/v1/batches")):
            return await super()._handle(method, path, headers, body, writer)
        what = f"{method} {re.sub('_[0-9]+', '_N', route)}"
        reply = self._routes(method, route, body)
        if what in self.forgets_replies_to:  # it did the work, and its reply is lost
            writer.transport.abort()
            return None
        return reply

    def _routes(self, method: str, route: str, body: bytes) -> _Reply:
        if (method, route) == ("POST", "/v1/files"):
            return self._upload(body)
        if (method, route) == ("POST", "/v1/batches"):
            return self._create(json.loads(body))
        if (method, route) == ("GET", "/v1/batches"):
            return _json({"object": "list", "data": [self._shown(each) for each in reversed(self.batches.values())]})
        if route.startswith("/v1/batches/") and route.split("/")[3] in self.batches:
            return self._poll(self.batches[route.split("/")[3]])
        if route.endswith("/content") and route.split("/")[3] in self.files:
            return _Reply(body=self.files[route.split("/")[3]])
        return _error(404, "not_found")

    def _upload(self, body: bytes) -> _Reply:
        self.uploads += 1
        parts = dict(PART.findall(body))
        name = f"file_{self.uploads}"
        self.files[name] = parts[b"file"]
        return _json({"id": name, "object": "file", "purpose": parts[b"purpose"].decode()})

    def _create(self, asked: dict[str, Any]) -> _Reply:
        batch = Batch(f"batch_{len(self.batches) + 1}", asked["input_file_id"], asked["endpoint"], asked["metadata"])
        self.batches[batch.id] = batch
        return _json(self._shown(batch))

    def _poll(self, batch: Batch) -> _Reply:
        self.polled += 1
        self.on_poll(self.polled)
        plan = self.plans[min(len(self.plans), int(batch.id.split("_")[1])) - 1]
        plan.polls -= 1
        if batch.status == "in_progress" and plan.polls <= 0:
            self._work(batch, plan)
        return _json(self._shown(batch))

    def _work(self, batch: Batch, plan: Plan) -> None:
        if plan.fails:
            batch.status = "failed"
            return
        lines = [json.loads(line) for line in self.files[batch.input_file].splitlines()]
        done = lines if plan.expires_after is None else lines[: plan.expires_after]
        out: list[bytes] = [b"no json\n", b'{"custom_id": "stranger", "response": null}\n'] if plan.strangers else []
        for place, line in enumerate(done, start=1):
            status = next((status for n, status in plan.faults.items() if place % n == 0), 200)
            body = completion(line["body"], is_chat=True) if status == 200 else {"error": {"code": "server_error"}}
            if status == 200:
                self.answered.append(line["custom_id"])
            result = {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}
            out += [json.dumps(result).encode() + b"\n"] * (2 if plan.twice else 1)
        batch.output_file = f"{batch.id}_out"
        self.files[batch.output_file] = b"".join(reversed(out) if not plan.strangers else out)
        batch.status = "completed" if plan.expires_after is None else "expired"
        if batch.status == "expired":
            batch.error_file = f"{batch.id}_errors"
            left = [{"custom_id": line["custom_id"], "response": None, "error": {"code": "x"}} for line in lines]
            self.files[batch.error_file] = b"".join(json.dumps(each).encode() + b"\n" for each in left[len(done) :])

    def _shown(self, batch: Batch) -> dict[str, Any]:
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "input_file_id": batch.input_file,
            "completion_window": "24h",
            "created_at": 0,
            "status": batch.status,
            "metadata": batch.metadata,
            "output_file_id": batch.output_file,
            "error_file_id": batch.error_file,
        }
