"""What names the batches of a dataset stays what it is once there is one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synth_assets.checks.calendar import gap_before, refuse_moved, said_of
from synth_assets.domain.chain import Chain, Entry
from synth_assets.errors import UsageError
from synth_assets.recipe import RecipeModel, load_recipe
from tests.fakes.recipes import RECIPE, write_recipe
from tests.fakes.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


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


@pytest.mark.parametrize(
    ("cadence", "timezone", "batch", "gap"),
    [
        ("daily", "UTC", "2026-11-22", None),
        ("daily", "UTC", "2026-11-23", timedelta(hours=36)),
        ("daily", "Asia/Tokyo", "2026-11-23", timedelta(hours=27)),
        ("daily", "UTC", "2027-12-26", timedelta(days=399, hours=12)),
        ("weekly", "UTC", "2026-11-27", None),
        ("weekly", "UTC", "2026-12-04", timedelta(days=12, hours=12)),
        ("hourly", "UTC", "2026-11-21T13", None),
        ("hourly", "UTC", "2026-11-21T14", timedelta(hours=2)),
        ("daily", "UTC", "2026-11-01", None),
    ],
)
def test_a_batch_more_than_a_period_after_all_that_was_written_down_is_said(
    cadence: str, timezone: str, batch: str, gap: timedelta | None
) -> None:
    start = "2026-11-20T00" if cadence == "hourly" else "2026-11-20"
    model = RecipeModel.model_validate(RECIPE | {"cadence": cadence, "timezone": timezone, "start": start})
    of_another = Entry(1, "a" * 64, "key", "generated", "", NOON, {})
    of_itself = Entry(2, "b" * 64, "key 2", "generation_plan", "", NOON + timedelta(days=400), {})
    chain = Chain("tiny", partitions={"2026-11-20": [of_another], batch: [of_itself]})

    assert gap_before(chain, model, batch) == gap
    assert gap_before(Chain("tiny", partitions={batch: [of_itself]}), model, batch) is None, "nothing tells"
    ahead = Entry(0, "c" * 64, "key 0", "generated", "", NOON + timedelta(days=900), {})
    chain.partitions["2026-11-19"] = [ahead]
    assert gap_before(chain, model, batch) == gap, "the clock of an entry before the last does not count"
    if gap is not None:
        assert f"{gap.days} days after anything tiny has written down" in said_of(gap, "tiny", batch)


def test_a_plan_that_lies_far_ahead_says_so_in_the_audit(tmp_path: Path) -> None:
    world = World(tmp_path, start="1990-01-01")
    assert world.run("prompt_templates", "seeds", "generation_plan", batch="1990-01-01").success
    for entries in world.lake.chain("tiny").partitions.values():
        entries[:] = [replace(each, entered_at=NOON.replace(year=1990)) for each in entries]

    assert world.run("generation_plan", batch="2026-11-02").success

    chain = world.lake.chain("tiny")
    said = [entries[-1].details.get("days_after_the_audit") for entries in chain.partitions.values()]
    assert said == [None, (datetime(2026, 11, 2, tzinfo=UTC) - NOON.replace(year=1990)).days]
