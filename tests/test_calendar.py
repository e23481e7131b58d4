"""What names the batches of a dataset stays what it is once there is one."""

from pathlib import Path

import pytest

from synth_assets.checks.calendar import refuse_moved
from synth_assets.errors import UsageError
from synth_assets.recipe import load_recipe
from tests.fakes.recipes import write_recipe
from tests.fakes.world import World


def test_an_edited_calendar_is_refused_before_anything_is_planned(tmp_path: Path) -> None:
    world = World(tmp_path)
    refuse_moved(world.lake, world.recipe)
    assert world.run("prompt_templates", "seeds", "generation_plan").success
    refuse_moved(world.lake, world.recipe)

    for name, before, now in (
        ("timezone", "UTC", "Europe/Berlin"),
        ("start", "2026-11-01", "2026-10-30"),
        ("cadence", "daily", "weekly"),
    ):
        world.edit(**{name: now})
        with pytest.raises(UsageError, match=f"{name} from {before} to {now}: batches of tiny exist") as refused:
            refuse_moved(world.lake, world.recipe)
        assert "set them back" in refused.value.fix
    world.edit(start="2026-10-30")
    requests = world.rows("requests").height
    told = world.run("generation_plan", batch="2026-11-02").told
    assert told["exit_code"] == 2
    assert "start from 2026-11-01 to 2026-10-30" in told["what"]
    assert world.rows("requests").height == requests

    world.edit(cron="0 7 * * *")
    assert world.run("generation_plan", batch="2026-11-02").success


@pytest.mark.parametrize("start", ["9999-12-31", "1900-01-01"])
def test_a_start_beyond_any_calendar_is_refused_in_a_sentence(start: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies outside 1970 to 2199"):
        load_recipe(write_recipe(tmp_path, start=start))
