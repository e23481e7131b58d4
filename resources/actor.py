"""Who acts, for the audit."""

import os
from collections.abc import Mapping
from getpass import getuser


def acting_as(environ: Mapping[str, str]) -> str:
    """Return ``SYNTH_ACTOR``, or the system user; their number where the system has no name for them."""
    named = environ.get("SYNTH_ACTOR", "").strip()
    if named:
        return named
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return f"uid {os.getuid()}"
