"""Calls sent as files to a provider's batch endpoint: uploaded, polled, collected; days may lie in between.

`dispatch: batch` of a recipe. It does for the open rows of a ledger what `run.Run` does call by call: paid answers go
into the journal before anything else, a passing fault is submitted again, and a stop keeps what is finished. What is
under way is remembered in `submissions`, so a process that died, or was interrupted, goes on waiting where it was.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from resources.journal import Failure, Journal
from resources.llm.answers import UNREADABLE, Choice, Fault, Reply, answer_of, ending_of, meaning
from resources.llm.ledger import Ledger
from resources.llm.limits import STOPS, Purse, Row
from resources.llm.line import Line, named, without
from resources.llm.lookout import Lookout
from resources.llm.provider import Address
from resources.llm.submissions import Submission, Submissions
from synth_assets.domain.ports import Ending, Provider, Stop
from synth_assets.errors import StoppedError
from synth_assets.vocabulary import Outcome, QuarantineReason

if TYPE_CHECKING:
    import openai

MAX_CALLS = 50_000
MAX_FILE_BYTES = 100 * 1024 * 1024
"""Largest file submitted; providers take 200 MB, and half of it leaves room for how they count."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Longest line of a result that is read, as with a body online."""

FIRST_POLL_S, LAST_POLL_S = 1.0, 60.0
WINDOW = "24h"
KEY = "synth_assets_key"
"""Metadata under which the provider keeps a submission's key."""

LISTED = 100
"""Latest batches looked through for one that a crash left without a name."""

FINAL = frozenset({"completed", "expired", "cancelled", "failed"})


class BulkRun:
    """Sends the open rows of a ledger as files; single use; see `run.Run` for its attributes."""

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        submissions: Submissions,
        *,
        provider: Provider,
        line: Line,
    ) -> None:
        self._ledger, self._journal, self._submissions = ledger, journal, submissions
        self._provider, self._line = provider, line
        self._endpoint, self._patience = line.endpoint, line.patience
        self._rows = {row.call.call_id: row for row in ledger.open_rows}
        self._first_poll_s = line.poll_s or FIRST_POLL_S
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupted = asyncio.Event()
        self.stop: Stop | None = None
        self.paid_now = 0

    @property
    def where(self) -> str:
        """Names the provider in a stop."""
        return f"{named(self._provider)}, batch files"

    def interrupt(self) -> None:
        """Ask the run to stop waiting; the provider works on, and the next run collects."""
        fix = "run the same command again: it goes on waiting for what was submitted, and pays for none of it again"
        self.stop = self.stop or Stop(QuarantineReason.STOPPED, self.where, fix)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._interrupted.set)

    async def work(self, purse: Purse, lookout: Lookout) -> None:
        """Submit, wait and collect until every row ended or something stops the run."""
        self._loop = asyncio.get_running_loop()
        try:
            address = await asyncio.to_thread(self._endpoint.open)
        except StoppedError as error:
            self.stop = self.stop or Stop(QuarantineReason.UNREACHABLE, error.where, error.fix)
            return
        client = _client(address)
        try:
            await self._rounds(client, purse, lookout)
        except Exception as error:
            stop = self._stop_of(error)
            if stop is None:
                raise
            self.stop = self.stop or stop
        finally:
            await client.close()

    async def _rounds(self, client: "openai.AsyncOpenAI", purse: Purse, lookout: Lookout) -> None:
        """Wait for what is under way, then submit what is left, again and again."""
        held_back: set[str] = set()
        while not self._interrupted.is_set() and self.stop is None:
            waiting = self._submissions.unfinished()
            if not waiting:
                waiting = self._open(purse, held_back)
            if not waiting:
                break
            for submission in waiting:
                await self._see_through(client, submission, purse, lookout)
                if self._interrupted.is_set() or self.stop is not None:
                    return
        if held_back & self._rows.keys() and self.stop is None:
            self.stop = Stop(QuarantineReason.BUDGET_SPENT, self.where, STOPS[QuarantineReason.BUDGET_SPENT])

    def _open(self, purse: Purse, held_back: set[str]) -> list[Submission]:
        """Remember the next files; a row that the money left may not cover is held back."""
        rows: list[Row] = []
        for row in self._rows.values():
            if purse.allows(row.call):
                rows.append(row)
            else:
                held_back.add(row.call.call_id)
        return [
            self._submissions.open([row.call.call_id for row in part], round=part[0].tries, at=time.time())
            for part in _parts(rows, self._provider)
        ]

    async def _see_through(
        self, client: "openai.AsyncOpenAI", submission: Submission, purse: Purse, lookout: Lookout
    ) -> None:
        if submission.remote_id is None:
            self.stop = self.stop or await lookout.look(self.where)  # a file is paid for once it is handed over
            if self.stop is not None:
                return
            submission = await self._hand_over(client, submission)
        held = [self._rows[each].call for each in submission.call_ids if each in self._rows]
        handed_over = frozenset(submission.call_ids)
        batch = await self._finished(client, str(submission.remote_id))
        if batch is None:
            return
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            async for line in _lines(client, file):
                await self._take(line, submission, handed_over, purse)
        self._after(str(batch.status), submission)
        self._submissions.close(submission)
        for call in held:
            purse.release(call)

    async def _hand_over(self, client: "openai.AsyncOpenAI", submission: Submission) -> Submission:
        """Find the work at the provider, for a crash may have come in between, or hand it over."""
        known = await client.batches.list(limit=LISTED)
        remote = next((each.id for each in known.data if (each.metadata or {}).get(KEY) == submission.key), None)
        if remote is None:
            rows = [self._rows[each] for each in submission.call_ids if each in self._rows]
            data = b"".join(_line(row, self._provider) for row in rows)
            file = await client.files.create(file=(f"{submission.key}.jsonl", data), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id,
                endpoint=_endpoint(self._provider),
                completion_window=WINDOW,
                metadata={KEY: submission.key},
            )
            remote = batch.id
        return self._submissions.name(submission, remote)

    async def _finished(self, client: "openai.AsyncOpenAI", remote_id: str) -> Any:
        """Poll, ever more rarely, until the provider is done; None if a person does not want to wait."""
        wait_s = self._first_poll_s
        while True:
            batch = await client.batches.retrieve(remote_id)
            if batch.status in FINAL:
                return batch
            try:
                async with asyncio.timeout(wait_s):
                    await self._interrupted.wait()
                return None
            except TimeoutError:
                wait_s = min(LAST_POLL_S, 2 * wait_s)

    async def _take(self, line: bytes, submission: Submission, handed_over: frozenset[str], purse: Purse) -> None:
        """Journal what one line of a result says, and end its row; a call that nobody waits for is kept too."""
        call_id, found = _result(line, self._provider)
        if call_id not in handed_over or self._journal.get(call_id) is not None:
            return  # a line that is ours ends its row once, however often it comes
        row = self._rows.get(call_id)
        if row is not None:
            row.tries = submission.round + 1
        if isinstance(found, Choice):
            waited_s, now = max(0.0, time.time() - submission.submitted_at), datetime.now(UTC)
            answer = answer_of(found, call_id, tries=submission.round + 1, latency_s=waited_s, at=now)
            await self._journal.append(row.call.request_id if row else "", answer)
            self.paid_now += 1
            if row is not None:
                purse.pay(row.call, answer)
                self._end(row, ending_of(row.call.request_id, answer))
        elif row is not None:
            await self._fail(row, found, purse)

    async def _fail(self, row: Row, fault: Fault, purse: Purse) -> None:
        if fault.is_paid:
            purse.pay_unread(row.call)
            await self._journal.append(row.call.request_id, Failure(row.call.call_id, fault.reason, row.tries))
        if fault.is_stop:
            fix = STOPS.get(fault.reason, STOPS[QuarantineReason.STOPPED])
            if fault.parameter is not None:
                fix = without(fault.parameter, self._line, row.call.asks or self._provider)
            self.stop = self.stop or Stop(fault.reason, self.where, fix)
        elif not fault.is_passing or row.tries >= self._patience.max_tries:
            call = row.call
            self._end(row, Ending(call.request_id, call.call_id, Outcome.QUARANTINED, fault.reason, None, row.tries))

    def _after(self, status: str, submission: Submission) -> None:
        """Decide about the rows no line spoke of."""
        left = [self._rows[each] for each in submission.call_ids if each in self._rows]
        silent = [row for row in left if row.tries == submission.round]
        for row in silent:
            row.tries = submission.round + 1
        if status == "cancelled" and left:
            self.stop = Stop(QuarantineReason.STOPPED, self.where, "somebody cancelled it; run the same command again")
        is_refused = status == "failed"
        for row in silent:
            if is_refused or row.tries >= self._patience.max_tries:
                reason = QuarantineReason.BAD_REQUEST if is_refused else QuarantineReason.DEADLINE_EXCEEDED
                call = row.call
                self._end(row, Ending(call.request_id, call.call_id, Outcome.QUARANTINED, reason, None, row.tries))

    def _end(self, row: Row, ending: Ending) -> None:
        self._rows.pop(row.call.call_id, None)
        try:
            self._ledger.settle(row, ending)
        except KeyboardInterrupt:  # raised by `progress`
            self.interrupt()

    def _stop_of(self, error: Exception) -> Stop | None:
        """Return what a fault of the provider's batch endpoint means; None for an error that is ours."""
        import openai

        if isinstance(error, StoppedError):
            return Stop(QuarantineReason.STOPPED, error.where, error.fix)
        if isinstance(error, openai.NotFoundError):
            fix = "this provider has no batch endpoint, or it forgot the batch: set `dispatch: online` in the recipe"
            return Stop(QuarantineReason.NOT_FOUND, self.where, fix)
        if isinstance(error, openai.APIStatusError):
            fault = meaning(Reply(error.status_code, {}, error.response.content), "chat", now=datetime.now(UTC))
            reason = fault.reason if isinstance(fault, Fault) else QuarantineReason.SERVER_ERROR
            return Stop(reason, self.where, STOPS.get(reason, STOPS[QuarantineReason.STOPPED]))
        if isinstance(error, openai.APIConnectionError):
            return Stop(QuarantineReason.UNREACHABLE, self.where, STOPS[QuarantineReason.UNREACHABLE])
        return None


def _client(address: Address) -> "openai.AsyncOpenAI":
    """Return the SDK as it comes, with its own few retries: uploads and polls are few and pay for nothing."""
    import httpx2
    import openai

    http = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=60)
    return openai.AsyncOpenAI(api_key=address.api_key, base_url=address.base_url, http_client=http)


def _endpoint(provider: Provider) -> Any:
    return "/v1/chat/completions" if provider.mode == "chat" else "/v1/completions"


def _line(row: Row, provider: Provider) -> bytes:
    from resources.llm.wire import body_of

    head = {"custom_id": row.call.call_id, "method": "POST", "url": _endpoint(provider)}
    return orjson.dumps(
        {**head, "body": orjson.Fragment(body_of(row.call, provider))}, option=orjson.OPT_APPEND_NEWLINE
    )


def _parts(rows: Sequence[Row], provider: Provider) -> list[list[Row]]:
    """Divide rows among files that providers take; rows of one file were tried equally often."""
    parts: list[list[Row]] = []
    size = 0
    for row in sorted(rows, key=lambda each: each.tries):
        length = len(_line(row, provider))
        last = parts[-1] if parts else []
        fits = last and len(last) < MAX_CALLS and size + length <= MAX_FILE_BYTES and last[0].tries == row.tries
        if not fits:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += length
    return parts


async def _lines(client: "openai.AsyncOpenAI", file_id: str) -> AsyncIterator[bytes]:
    """Yield the lines of a result; one beyond the cap comes cut off, and so cannot be read."""
    rest = b""
    async with client.files.with_streaming_response.content(file_id) as response:
        async for chunk in response.iter_bytes():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line
            rest = rest[:MAX_LINE_BYTES]
    if rest:
        yield rest


def _result(line: bytes, provider: Provider) -> tuple[str, Choice | Fault]:
    """Return the call a line speaks of, empty if it cannot be told, and what became of it."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "", UNREADABLE
    if not isinstance(document, dict) or not isinstance(document.get("custom_id"), str):
        return "", UNREADABLE
    response = document.get("response")
    if not isinstance(response, dict):
        expired = Fault(QuarantineReason.DEADLINE_EXCEEDED, is_passing=True)
        return document["custom_id"], expired
    status = response.get("status_code")
    body = orjson.dumps(response.get("body"))
    reply = Reply(status if isinstance(status, int) else HTTPStatus.BAD_GATEWAY, {}, body)
    return document["custom_id"], meaning(reply, provider.mode, now=datetime.now(UTC))
