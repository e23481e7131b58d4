"""The HTTP client given to the SDK: its requests go straight to the transport.

An httpx2 client would merge addresses, parse them three times, keep cookies and walk through redirects, authentication
and event hooks, none of which is used here, and take more CPU for that than everything else a request needs.
"""

from typing import Any

import httpx2

from resources.llm.light import Request
from resources.llm.transport import SENT_HEADERS, Transport


class DirectClient(httpx2.AsyncClient):
    """Sends what the SDK builds, and nothing it did not build; bound to one event loop."""

    def __init__(self) -> None:
        transport = Transport()
        super().__init__(transport=transport, trust_env=False, follow_redirects=False)
        self._straight = transport

    def build_request(self, method: str, url: Any, **parts: Any) -> httpx2.Request:
        """Keep what the transport sends: method, address, the headers it passes on, and the body."""
        headers = {lower: value for name, value in parts["headers"] if (lower := name.lower()) in SENT_HEADERS}
        return Request(method.upper(), str(url), headers, parts["content"])

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Return the whole reply; faults are those of the transport."""
        response = await self._straight.handle_async_request(request)
        response.request = request
        return response
