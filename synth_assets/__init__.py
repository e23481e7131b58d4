"""Synthetic training data as Dagster assets: from the prompt template to the model that consumed it."""

import importlib
from typing import Any

__all__ = ["load_dataset"]


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used: importing the package stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("synth_assets.api"), name)
