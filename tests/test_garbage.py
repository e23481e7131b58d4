"""The garbage collector looks rarely while a batch is worked off, and as ever before and after."""

import gc
from collections.abc import Iterator

import pytest

from resources.garbage import YOUNG, rarely_collected


@pytest.fixture(autouse=True)
def usual() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    assert gc.get_threshold() == before


def test_only_the_last_one_to_leave_makes_everything_as_before(usual: tuple[int, int, int]) -> None:
    with rarely_collected():
        with rarely_collected():
            assert gc.get_threshold() == (YOUNG, *usual[1:])
        assert gc.get_threshold() == (YOUNG, *usual[1:])
    assert gc.get_threshold() == usual


def test_an_error_leaves_nothing_behind() -> None:
    @rarely_collected()
    def failing() -> None:
        raise LookupError("nothing there")

    for _ in range(2):
        with pytest.raises(LookupError, match="nothing there"):
            failing()
