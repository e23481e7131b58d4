"""Judging what is stored by today's gates says what would differ, of what was judged."""

from pathlib import Path

from synth_assets.reports.recheck import recheck
from tests.fakes.world import DAY, World


def test_what_a_later_stage_has_not_judged_yet_differs_from_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.run().success
    protected = tuple(world.real_data.data.protected.rows["text"])
    whole = recheck(world.lake, world.recipe, [DAY], protected=protected)
    assert whole.differing == []

    world.generator.quarantines = 10
    assert not world.run(regenerate=True).success

    again = recheck(world.lake, world.recipe, [DAY], protected=protected)
    assert again.differing == []
    assert 0 < again.gates < whole.gates
