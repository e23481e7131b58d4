"""Whether the batch is still ours to work on, looked at while it is worked on: before a wave of requests, not each."""

import asyncio
import math
import time
from collections.abc import Callable

from synth_assets.domain.ports import Stop
from synth_assets.errors import StoppedError
from synth_assets.vocabulary import QuarantineReason

LOOK_EVERY_S = 1.0
"""How long a look is good for; a process that was stopped for longer looks before it sends anything."""

SILENT_S = 60.0
"""How long a server of claims may say nothing: it takes a minute to free the claim of a host that it cannot reach."""


class Lookout:
    """Looks for every run of one `generate`, whoever is asked.

    Args:
        is_ours: see `Generator.generate`; may ask a server, so it is called beside the event loop.
    """

    def __init__(self, is_ours: Callable[[], bool]) -> None:
        self._is_ours = is_ours
        self._looked_at = -math.inf
        self._heard_at = time.monotonic()
        self._stop: Stop | None = None

    async def look(self, where: str) -> Stop | None:
        """Return why nothing more may be sent; None while something may.

        Args:
            where: names the provider in a stop.
        """
        if self._stop is None and time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._stop = await self._looked(where)
            self._looked_at = time.monotonic()
        return self._stop

    async def _looked(self, where: str) -> Stop | None:
        try:
            is_ours = await asyncio.to_thread(self._is_ours)
        except StoppedError as error:  # nobody can tell, and for now nobody can take it over
            is_bearable = time.monotonic() - self._heard_at < SILENT_S
            return None if is_bearable else Stop(QuarantineReason.STOPPED, error.where, error.fix)
        self._heard_at = time.monotonic()
        return None if is_ours else Stop(QuarantineReason.STOPPED, where, "another process works on the batch")
