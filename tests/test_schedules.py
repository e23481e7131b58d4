"""Schedules: one per recipe, asking for the batch in whose period the tick falls, never for a future one."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.schedules import batch_schedule, cron_of, current_batch
from synth_assets.definitions import build_defs
from synth_assets.errors import UsageError
from synth_assets.recipe import Recipe, load_recipe
from synth_assets.recipe.cron import FIELDS, refuse_no_cron
from synth_assets.stages.inputs import register_templates
from tests.fakes.recipes import write_recipe
from tests.fakes.world import World


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def dataset(folder: Path, **changes: Any) -> Recipe:
    return load_recipe(write_recipe(folder, **changes))


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("changes", "tick", "batch"),
    [
        ({}, at("2026-11-21T06:00"), "2026-11-21"),
        ({}, at("2026-11-21T00:00"), "2026-11-21"),
        ({}, at("2026-10-31T23:59"), None),
        ({"timezone": "Asia/Tokyo"}, at("2026-11-20T23:30"), "2026-11-21"),
        ({"timezone": "America/New_York"}, at("2026-11-21T03:00"), "2026-11-20"),
        ({"cadence": "hourly", "start": "2026-11-01T00"}, at("2026-11-21T06:59"), "2026-11-21T06"),
        ({"cadence": "weekly"}, at("2026-11-21T06:00"), "2026-11-15"),
        ({"timezone": "Europe/Berlin", "start": "2026-10-01"}, at("2026-10-25T02:30", "Europe/Berlin"), "2026-10-25"),
    ],
)
def test_a_tick_means_the_batch_in_whose_period_it_falls(
    folder: Path, changes: dict[str, Any], tick: datetime, batch: str | None
) -> None:
    assert current_batch(dataset(folder, **changes).model, tick) == batch


@pytest.mark.parametrize("first", ["2026-03-27", "2026-10-23"], ids=["an hour less", "an hour more"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "0 6 * * *", "59 23 * * *"])
def test_every_day_has_its_batch_when_the_clocks_are_changed(folder: Path, cron: str, first: str) -> None:
    """Half past two does not come on one of these days, and comes twice on another."""
    model = dataset(folder, timezone="Europe/Berlin", start="2026-01-01", cron=cron).model
    begin = at(f"{first}T00:00", "Europe/Berlin")
    ticks = list(islice(cron_string_iterator(begin.timestamp(), cron, "Europe/Berlin"), 5))

    assert [current_batch(model, tick) for tick in ticks] == [
        f"{begin + timedelta(days=day):%Y-%m-%d}" for day in range(5)
    ]


def test_a_batch_is_asked_for_once_however_often_its_schedule_ticks(tmp_path: Path) -> None:
    world = World(tmp_path)
    schedule = batch_schedule(world.recipe)
    instance = dg.DagsterInstance.local_temp(str(tmp_path))

    def tick(text: str) -> Any:
        return schedule(
            dg.build_schedule_context(
                instance=instance, scheduled_execution_time=at(text), resources={"lake": world.lake}
            )
        )

    assert tick("2026-11-01T06:00").skip_message.startswith("nothing was ever made in this home")
    register_templates(world.recipe, world.lake, run_id="", at=at("2026-11-01T05:00"))
    first = tick("2026-11-01T06:00")
    assert (schedule.job_name, first.partition_key, first.run_key) == ("tiny_batch", "2026-11-01", "2026-11-01")
    world.generator.refuses = True
    world.run()
    assert tick("2026-11-01T06:01").skip_message.startswith("2026-11-01 was started before")
    assert tick("2026-11-02T06:00").partition_key == "2026-11-02"
    assert tick("2026-10-01T06:00").skip_message == "tiny starts at 2026-11-01"


@pytest.mark.parametrize(
    ("changes", "cron"),
    [
        ({}, "0 6 * * *"),
        ({"cadence": "hourly", "start": "2026-11-01T00"}, "0 * * * *"),
        ({"cadence": "weekly"}, "0 6 * * 0"),
        ({"cadence": "weekly", "start": "2026-11-02"}, "0 6 * * 1"),
        ({"cron": "*/5 8-18 * * mon-fri"}, "*/5 8-18 * * mon-fri"),
    ],
)
def test_a_schedule_ticks_once_per_period_unless_the_recipe_says_otherwise(
    folder: Path, changes: dict[str, Any], cron: str
) -> None:
    assert cron_of(dataset(folder, **changes).model) == cron


def test_every_dataset_has_a_schedule_that_is_off_unless_its_recipe_switches_it_on(tmp_path: Path) -> None:
    quiet = dataset(tmp_path, timezone="Europe/Berlin")
    busy = dataset(tmp_path, dataset="busy", automation={"schedule": "running"})
    schedules = {each.name: each for each in build_defs([quiet, busy]).schedules or []}

    assert {name: each.default_status.value for name, each in schedules.items()} == {
        "tiny_schedule": "STOPPED",
        "busy_schedule": "RUNNING",
    }
    assert schedules["tiny_schedule"].execution_timezone == "Europe/Berlin"


def test_what_is_on_from_the_start_pays_nothing(tmp_path: Path) -> None:
    sensors = {each.name: each.default_status.value for each in build_defs([dataset(tmp_path)]).sensors or []}

    assert {name for name, status in sensors.items() if status == "RUNNING"} == {
        "template_change",
        "inbox",
        "marts",
        "run_failure",
        "alerts",
    }
    assert {name for name, status in sensors.items() if status == "STOPPED"} == {"regeneration", "release"}


# --- cron expressions


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("@daily", "1 fields; five are needed"),
        ("60 * * * *", "'60' is no minute"),
        ("0 6 0 * *", "'0' is no day of the month"),
        ("0 6 * * fri-mon", "'fri-mon' is no day of the week"),
        ("0 6 31 feb *", "never comes"),
        ("*/0 * * * *", "'*/0' is no minute"),
    ],
)
def test_a_cron_that_cannot_be_is_refused_with_its_line(folder: Path, cron: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        dataset(folder, cron=cron)

    assert words in refusal.value.what
    line = int(refusal.value.where.rpartition(":")[2])
    assert "cron:" in (folder / "tiny/recipe.yaml").read_text().splitlines()[line - 1]


def one_field(low: int, high: int, words: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A field as a person might write it, mostly well."""
    value = st.integers(low, high).map(str) | st.sampled_from([*words, str(high + 1), "*"])
    part = st.one_of(st.just("*"), value, st.tuples(value, value).map("-".join))
    stepped = st.tuples(part, st.sampled_from(["", "", "/2", "/0"])).map("".join)
    return st.lists(stepped, min_size=1, max_size=2).map(",".join)


@given(st.tuples(*(one_field(low, high, words) for _, low, high, words in FIELDS)).map(" ".join))
@settings(max_examples=500)
def test_whatever_is_admitted_dagster_takes(cron: str) -> None:
    """An expression Dagster refuses would take down every dataset's graph, not only its own."""
    try:
        refuse_no_cron(cron)
    except ValueError:
        return
    assert is_valid_cron_string(cron)


def test_the_clock_of_a_tick_is_the_ticks_own(folder: Path) -> None:
    past = datetime(2026, 11, 3, 6, tzinfo=UTC)

    assert current_batch(dataset(folder).model, past) == "2026-11-03"
