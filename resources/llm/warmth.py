"""Importing the SDK, which takes most of a second, while something else is done."""

import threading


def warm_up() -> None:
    """Begin to import the SDK and return; whoever opens a lake meanwhile has it for nothing."""
    threading.Thread(target=load_sdk, name="warm-up").start()


def load_sdk() -> None:
    """Import the SDK, or wait until whoever began has it."""
    import resources.llm.wire  # noqa: F401 - imported for its effect
