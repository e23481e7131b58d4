"""One stay at an endpoint: open it, send what is open, mend it when it breaks, leave."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from resources.journal import Journal
from resources.llm.answers import UNREADABLE, BrokenError, Choice, Fault, NotConnectedError, OversizedError, meaning
from resources.llm.ledger import Ledger
from resources.llm.limits import STOPS, Purse, Row
from resources.llm.line import Line, named
from resources.llm.lookout import Lookout
from resources.llm.provider import Address
from resources.llm.schedule import Schedule
from resources.llm.warmth import load_sdk
from synth_assets.domain.ports import Call, Ending, Provider, Stop
from synth_assets.errors import StoppedError
from synth_assets.vocabulary import QuarantineReason

if TYPE_CHECKING:
    from resources.llm.wire import Wire


class Run:
    """Sends the open rows of a ledger, all to one provider; single use.

    Args:
        provider: a model of it, for calls that name none.

    Attributes:
        stop: why it ended early, None if it did not.
        paid_now: calls answered over the network.
    """

    def __init__(self, ledger: Ledger, journal: Journal, *, provider: Provider, line: Line) -> None:
        self._ledger, self._journal = ledger, journal
        self._provider, self._line = provider, line
        self._loop: asyncio.AbstractEventLoop | None = None
        self._schedule: Schedule | None = None
        self._wire: Wire | None = None
        self._mending = asyncio.Lock()
        self._interrupts = 0
        self.stop: Stop | None = None
        self.paid_now = 0

    def interrupt(self) -> None:
        """Ask the run to send nothing more, and the second time to abandon what is on the wire.

        May be called from a signal handler or another thread.
        """
        self.stop = self.stop or self._stop(QuarantineReason.STOPPED, STOPS[QuarantineReason.STOPPED])
        self._interrupts += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._pass_on_interrupt)

    async def work(self, purse: Purse, lookout: Lookout) -> None:
        """Send the open rows until all ended, something stops the run, or the batch is no longer ours."""
        self._loop = asyncio.get_running_loop()
        try:
            address, _ = await asyncio.gather(asyncio.to_thread(self._line.endpoint.open), asyncio.to_thread(load_sdk))
        except StoppedError as error:
            self.stop = self.stop or Stop(QuarantineReason.UNREACHABLE, error.where, error.fix)
            return
        if self.stop is None:
            await self._send_all(address, purse, lookout)

    async def send(self, call: Call) -> Choice | Fault:
        """Make one try over the present connection; see `schedule.Sender`."""
        wire = self._wire
        assert wire is not None  # noqa: S101 - set before the schedule runs
        try:
            reply = await wire.post(call)
        except OversizedError:
            return UNREADABLE
        except (NotConnectedError, BrokenError) as error:
            await self._mend(wire)
            is_sent = isinstance(error, BrokenError)
            return Fault(QuarantineReason.CONNECTION_FAILED, is_passing=True, is_sent=is_sent)
        return meaning(reply, (call.asks or self._provider).mode, now=datetime.now(UTC))

    async def _send_all(self, address: Address, purse: Purse, lookout: Lookout) -> None:
        self._wire = self._connect(address)
        self._schedule = Schedule(
            self._ledger.open_rows,
            sender=self,
            journal=self._journal,
            line=self._line,
            purse=purse,
            lookout=lookout,
            ended=self._settle,
        )
        try:
            await self._schedule.run()
        finally:
            self.stop, self.paid_now = self._schedule.stop, self._schedule.paid_now
            await self._wire.close()

    async def _mend(self, broken: "Wire") -> None:
        async with self._mending:
            if self._wire is not broken:
                return  # another try has mended it
            address = await asyncio.to_thread(self._line.endpoint.mend)
            if address != broken.address:
                self._wire = self._connect(address)
                await broken.close()

    def _connect(self, address: Address) -> "Wire":
        from resources.llm.wire import Wire

        return Wire(address, self._provider)

    def _settle(self, row: Row, ending: Ending) -> None:
        try:
            self._ledger.settle(row, ending)
        except KeyboardInterrupt:  # raised by `progress`
            self.interrupt()

    def _pass_on_interrupt(self) -> None:
        if self._schedule is None or self.stop is None:
            return
        if self._interrupts > 1:
            self._schedule.interrupt(self.stop)
        else:
            self._schedule.drain(self.stop)

    @property
    def where(self) -> str:
        """Names the provider, and the model if it is asked but for one, in a stop."""
        models = {(row.call.asks or self._provider).model for row in self._ledger.open_rows} or {self._provider.model}
        return named(self._provider) if models == {self._provider.model} else self._provider.name

    def _stop(self, reason: QuarantineReason, fix: str) -> Stop:
        return Stop(reason, self.where, fix)
