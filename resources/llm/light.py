"""Requests and responses as the SDK handles them, without the work of httpx2's own constructors.

Both hold a whole body and a dict of headers with names in lower case; nothing is encoded, copied or streamed again.
"""

from collections.abc import Mapping

import httpx2


class Request(httpx2.Request):
    """What the SDK built."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> None:
        self.method, self.url, self.headers, self._content = method, url, headers, content
        self.extensions = {}


class Response(httpx2.Response):
    """What came back, read to its end; the SDK takes it for closed and reads nothing of it itself."""

    def __init__(self, status_code: int, headers: Mapping[str, str], content: bytes) -> None:
        self.status_code, self.headers, self._content = status_code, headers, content
        self.extensions = {}
        self.is_closed, self.is_stream_consumed = True, False
