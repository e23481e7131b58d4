"""Whether endpoints can be used, for `synth doctor`: one look each, within a few seconds, and no prompt is sent."""

import http.client
import os
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

ENDPOINT_WAIT_S = 3.0


def problem_of_connection(host: str, port: int) -> str | None:
    """Open a connection and nothing more: no request, no key; return what went wrong."""

    def knock() -> str | None:
        socket.create_connection((host, port), timeout=ENDPOINT_WAIT_S).close()
        return None

    return _in_time(knock)


def problem_of_models(base_url: str, key: str) -> str | None:
    """Ask an endpoint for its list of models, as the client would; return what went wrong.

    Args:
        base_url: up to and including ``/v1``; neither redirects nor proxies are followed.
        key: sent if it is not empty, shown never.
    """
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection

    def ask() -> str | None:
        connection = kind(parts.hostname or "", parts.port, timeout=ENDPOINT_WAIT_S)
        try:
            connection.request("GET", f"{parts.path}/models", headers={"Authorization": f"Bearer {key}"} if key else {})
            status = connection.getresponse().status
        finally:
            connection.close()
        return None if status == HTTPStatus.OK else f"/models answers {status}"

    return _in_time(ask)


def _in_time(look: Callable[[], str | None]) -> str | None:
    problems: list[str | None] = ["no answer in time"]

    def run() -> None:
        try:
            problems[:] = [look()]
        except OSError as error:
            problems[:] = [os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__]
        except http.client.HTTPException as error:
            problems[:] = [type(error).__name__]

    caller = threading.Thread(target=run, daemon=True)  # looking a name up knows no time limit of ours
    caller.start()
    caller.join(ENDPOINT_WAIT_S)
    return problems[0]
