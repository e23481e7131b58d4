"""Posting a notice to an address a person chose; a notice that cannot be delivered never fails what it tells of."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

WEBHOOK = "SYNTH_WEBHOOK_URL"
"""Variable with the address of a chat channel or the like."""

TIMEOUT_S = 10


def post(address: str, notice: Mapping[str, Any]) -> str:
    """Post a notice as JSON and return how that went, for the log.

    The address may carry a secret, so only its host is ever said. Redirects are not followed.

    Args:
        address: http or https.
        notice: plain values.
    """
    import httpx2

    host = _host(address)
    if host is None:
        return "the webhook's address is no http or https address; nothing was sent"
    try:
        answer = httpx2.post(
            address,
            content=orjson.dumps(dict(notice)),
            headers={"content-type": "application/json"},
            timeout=TIMEOUT_S,
            follow_redirects=False,
        )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"the webhook at {host} could not be reached ({type(error).__name__})"
    return f"the webhook at {host} answered {answer.status_code}"


def _host(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        return parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:  # an IPv6 address without its closing bracket
        return None
