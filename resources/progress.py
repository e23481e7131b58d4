"""Progress of long work: whoever is interested subscribes; the web UI reads the log instead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int], None]
"""Called with (what, done, total)."""

ENDING = "ending"
"""Announced while calls on the wire are waited for after a person wanted to stop: seconds gone, of how many."""

LIMITED = "limited"
"""Announced while a provider's limit meets every call: seconds since the last answer, of how many are waited for."""

_listeners: list[Listener] = []


def announce(what: str, done: int, total: int) -> None:
    """Tell every listener of this process."""
    for listener in tuple(_listeners):
        listener(what, done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Subscribe for the length of a block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
