"""The `synth` command in a process that kills itself at a named point: ``python -m tests.deadly POINT N ARGUMENTS...``.

A point is a function of the product and a side of it; at the N-th call the process dies there by SIGKILL, as it would
for lack of memory. Nothing of this is in the product.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """Before or after a call of a function.

    Attributes:
        place: ``module:function`` or ``module:Class.method``.
        within: name of a folder that must be part of the path the call is about; empty counts every call.
    """

    place: str
    is_after: bool
    within: str = ""


POINTS = {
    "journal written": Point("resources.segment:_sync", is_after=False),
    "journal synced": Point("resources.segment:_sync", is_after=True),
    "object written": Point("pathlib:Path.replace", is_after=False, within="objects"),
    "object renamed": Point("pathlib:Path.replace", is_after=True, within="objects"),
    "rows written, not committed": Point("resources.lake.store:DuckLake._apply", is_after=True),
    "committed, not in the ledger": Point("resources.lake.store:DuckLake._transact", is_after=True),
    "in the ledger": Point("resources.lake.ledger:Ledger.append", is_after=True),
    "release staged": Point("pathlib:Path.replace", is_after=False, within="releases"),
    "release renamed": Point("pathlib:Path.replace", is_after=True, within="releases"),
}


def die_at(point: Point, number: int) -> None:
    """Kill this process at the n-th call from now on, whatever thread makes it."""
    module, _, name = point.place.partition(":")
    *owners, name = name.split(".")
    owner: Any = functools.reduce(getattr, owners, import_module(module))
    original: Callable[..., Any] = getattr(owner, name)
    counted = 0

    @functools.wraps(original)
    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal counted
        counts = not point.within or point.within in Path(arguments[0]).parts
        counted += counts
        is_due = counts and counted == number
        if is_due and not point.is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        returned = original(*arguments, **named)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return returned

    setattr(owner, name, deadly)


def main() -> None:
    """Patch, then be the command."""
    from synth_assets.cli.main import main as synth

    die_at(POINTS[sys.argv[1]], int(sys.argv[2]))
    sys.argv = ["synth", *sys.argv[3:]]
    synth()


if __name__ == "__main__":
    main()
