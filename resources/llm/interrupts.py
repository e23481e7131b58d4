"""Event loop and signals: where the synchronous world meets the asynchronous one."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = 2
"""The first lets what is on the wire end, the second abandons it."""


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Turn the first two SIGINT or SIGTERM into calls of ``interrupt``; the next has its usual effect.

    Signals reach the main thread only; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    left = INTERRUPTS

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal left
        left -= 1
        if not left:
            restore()
        interrupt()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def run_async(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a coroutine to its end, also where an event loop is already running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work())
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()
