"""Where things are: the checkout, the recipes and the data, whatever the current folder is."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
"""The checkout: the folder of ``dagster.yaml``, ``recipes/`` and, unless told otherwise, ``data/``."""


def synth_home() -> Path:
    """Return the folder of everything the project stores: ``SYNTH_HOME``, or ``data/`` in the checkout."""
    return Path(os.environ.get("SYNTH_HOME") or PROJECT / "data").expanduser().absolute()


def recipes_folder() -> Path:
    """Return the folder of dataset folders: ``SYNTH_RECIPES``, or ``recipes/`` in the checkout."""
    return Path(os.environ.get("SYNTH_RECIPES") or PROJECT / "recipes").expanduser().absolute()
