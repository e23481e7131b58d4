"""Fewer collections of garbage while a batch is worked off.

Python looks through what a process holds whenever enough new objects have come, and calls and rows make new ones all
the time: of 6,000 calls a fifth of the CPU went there, nearly all of it into libraries and rows that are no garbage.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 20_000
"""New objects between two looks at them; Python's own number is 700. A call makes about a hundred."""

_usual = gc.get_threshold()
_lock = threading.Lock()
_users = 0


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look at new objects rarely until the end of the block; the last one to leave makes everything as before."""
    global _users  # noqa: PLW0603 - the collector is one for the whole process
    with _lock:
        _users += 1
        gc.set_threshold(YOUNG, *_usual[1:])
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                gc.set_threshold(*_usual)
