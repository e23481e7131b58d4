"""Reading what others change meanwhile: two reads that contradict each other may just have a commit between them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from synth_assets.domain.transactions import Lake
from synth_assets.errors import IntegrityError

LOOKS = 3
"""How often is looked while others go on committing, before one look at which nobody may."""

P = ParamSpec("P")
T = TypeVar("T")


def settled(look: Callable[[], T], alone: Callable[[], AbstractContextManager[None]]) -> T:
    """Return what a look finds once the store says the same in all its places.

    Args:
        look: reads several places and compares them.
        alone: keeps every process from committing meanwhile.

    Raises:
        IntegrityError: they contradict each other even while nobody commits.
    """
    for _ in range(LOOKS):
        try:
            return look()
        except IntegrityError:
            continue
    with alone():
        return look()


def settling(read: Callable[Concatenate[Lake, P], T]) -> Callable[Concatenate[Lake, P], T]:
    """Let a function that reads a lake and compares look again, see `settled`."""

    @wraps(read)
    def looked(lake: Lake, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return settled(lambda: read(lake, *args, **kwargs), lake.standing_still)

    return looked
