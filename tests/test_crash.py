"""Killed at any moment, a command started again ends where one that was never killed ends, and pays nothing twice."""

from pathlib import Path

import pytest

from tests.aims import AIMS, LATENCY_S, Place, steps
from tests.command import Home, tiny
from tests.deadly import POINTS
from tests.fakes.chat_provider import ChatProvider
from tests.torture import SETTINGS, check, never_killed, torture

KILLS, SEED = 20, 2
"""With this seed a release dies last between its commit and the ledger: nothing is new when it is run again."""


@pytest.mark.slow
def test_a_pipeline_killed_again_and_again_ends_as_one_that_never_was(tmp_path: Path) -> None:
    twin = never_killed(tmp_path / "unkilled", KILLS, SEED)
    with ChatProvider(latency_s=LATENCY_S) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, **SETTINGS))

        story = torture(home, provider, KILLS, SEED)

        print(story)  # noqa: T201 - shown by `pytest -rP` or -s
        assert len(story.kills) == KILLS, story.missed
        check(story, twin)


def test_the_plan_of_a_torture_has_every_kill_and_every_named_point() -> None:
    aims = [aim for step in steps(100, SEED) for aim in step.aims]

    assert len(aims) == 100
    assert {aim.point for aim in aims if isinstance(aim, Place)} == set(POINTS)
    assert [step.arguments[0] for step in steps(KILLS, SEED)] == [*AIMS] * 2
