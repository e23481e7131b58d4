"""The HTTP transport under the SDK: aiohttp, at half the CPU of the SDK's own, with a capped body.

It follows no redirect, reads no proxy from the environment and keeps no cookie.
"""

import zlib
from contextlib import suppress
from http import HTTPStatus

import aiohttp
import httpx2

from resources.llm.answers import BrokenError, NotConnectedError, OversizedError
from resources.llm.light import Response

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Largest body read, after decompression; the longest answers are a hundred times smaller."""

MAX_ERROR_BYTES = 64 * 1024
"""Of the body of a refusal only the beginning is read: its status says enough."""

CHUNK_BYTES = 16 * 1024
CONNECT_S = 15.0
"""Longest wait for a connection, in seconds; the call's own deadline ends everything else."""

SENT_HEADERS = ("authorization", "content-type", "idempotency-key", "accept", "user-agent")
"""No others: the SDK adds organisation, project and custom headers of its own environment, and facts about the host."""

KEPT_HEADERS = ("retry-after", "retry-after-ms")


class Transport(httpx2.AsyncBaseTransport):
    """Reads every reply to its end before handing it on; bound to one event loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the scheduler limits the calls in flight
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=False,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            NotConnectedError: nothing was sent.
            BrokenError: the connection broke, or what came was no HTTP.
            OversizedError: the body of an answer exceeds the cap.
        """
        headers = {name: request.headers[name] for name in SENT_HEADERS if name in request.headers}
        headers["accept-encoding"] = "identity"
        try:
            async with self._session.request(
                request.method, str(request.url), data=request.content, headers=headers, allow_redirects=False
            ) as response:
                is_answer = HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES
                body = await (_read_capped(response) if is_answer else _read_beginning(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnectedError(type(error).__name__) from None
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise BrokenError(type(error).__name__) from None
        kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return Response(response.status, kept, body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


async def _read_beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read the beginning of a refusal's body; one that is too long, compressed or cut off changes nothing of it."""
    body = bytearray()
    with suppress(aiohttp.ClientError, ConnectionError):
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                break
    return bytes(body)


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """Read and decompress a body without ever holding more than the cap; what does not decompress is read as empty."""
    encoding = response.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ("identity", "gzip", "deflate"):
        raise OversizedError(encoding)
    inflate = None if encoding == "identity" else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        try:
            body += inflate.decompress(chunk, MAX_BODY_BYTES + 1 - len(body)) if inflate else chunk
        except zlib.error:
            return b""
        if len(body) > MAX_BODY_BYTES:
            raise OversizedError
    return bytes(body)
