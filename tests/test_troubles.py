"""What a person would be called for: named while it lasts, told once, and told once more when it is over."""

import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData

from resources.daemon import DAEMON
from resources.instance import dagster_home, instance_for
from resources.lake import open_lake
from resources.owners import PARTITION_TAG, Owners
from resources.webhook import WEBHOOK
from sensors.alerts import alert_sensor
from sensors.switches import schedule_name, switched_on_at
from sensors.troubles import REGENERATION, missed_of, missed_periods, troubles
from synth_assets.recipe import Recipe, load_recipe
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.hanging import hanging_run
from tests.fakes.recipes import write_recipe
from tests.fakes.webhook import Webhook
from tests.fakes.world import World

PRICES = {"fake-model": {"input_usd_per_million": 0.0, "output_usd_per_million": 0.0, "as_of": "2026-11-01"}}
NOON = datetime(2026, 11, 6, 12, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_for(tmp_path / "dagster") as opened:
        yield opened


def switch(instance: dg.DagsterInstance, dataset: str, *, on_at: datetime, status: str = "RUNNING") -> None:
    """Do what the switch on the Automation page does to the instance."""
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("synth_assets"), "__repository__")
    origin = RemoteInstigatorOrigin(place, dataset if dataset == REGENERATION else schedule_name(dataset))
    data = ScheduleInstigatorData("0 6 * * *", on_at.timestamp())
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus(status), data))


def test_a_period_counts_as_missed_once_it_is_over_and_nobody_planned_it() -> None:
    keys = [f"2026-11-0{day}" for day in range(1, 7)]

    assert missed_periods(keys, {"2026-11-03"}, since="2026-11-02") == ["2026-11-02", "2026-11-04", "2026-11-05"]
    assert missed_periods(keys, set(keys), since="2026-11-02") == []
    assert missed_periods(keys, set(), since="2026-11-06") == []


def test_days_without_a_daemon_are_named_with_the_line_that_makes_up_for_them(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    assert missed_of(world.lake, instance, world.recipe, now=NOON) == [], "its schedule is off"
    world.run()
    switch(instance, DATASET, on_at=datetime(2026, 11, 1, 5, tzinfo=UTC))

    [missed] = missed_of(world.lake, instance, world.recipe, now=NOON)

    assert "2026-11-02, 2026-11-03, 2026-11-04 and 1 more" in missed.what
    assert missed.fix == f"`synth backfill {DATASET} --from 2026-11-02 --to 2026-11-05`"


@pytest.mark.parametrize(("hour", "first"), [(5, "2026-11-03"), (7, "2026-11-04")], ids=["before", "after"])
def test_a_day_whose_tick_was_over_when_the_schedule_was_switched_on_is_not_missed(
    instance: dg.DagsterInstance, tmp_path: Path, hour: int, first: str
) -> None:
    """It ticks at six."""
    world = World(tmp_path / "world")
    switch(instance, DATASET, on_at=datetime(2026, 11, 3, hour, tzinfo=UTC))

    [missed] = missed_of(world.lake, instance, world.recipe, now=NOON)

    assert missed.fix == f"`synth backfill {DATASET} --from {first} --to 2026-11-05`"


@pytest.mark.parametrize(
    ("by_recipe", "status", "is_on"),
    [
        ("stopped", None, False),
        ("running", None, False),
        ("running", "DECLARED_IN_CODE", True),
        ("stopped", "DECLARED_IN_CODE", False),
        ("stopped", "RUNNING", True),
        ("running", "STOPPED", False),
    ],
)
def test_a_schedule_is_on_by_a_person_or_by_its_recipe(
    instance: dg.DagsterInstance, tmp_path: Path, by_recipe: str, status: str | None, *, is_on: bool
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, automation={"schedule": by_recipe}))
    if status is not None:
        switch(instance, DATASET, on_at=NOON, status=status)

    assert switched_on_at(instance, recipe) == (NOON if is_on else None)


def test_a_dead_run_is_told_once_and_again_when_it_is_over(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(tmp_path / "home", {})
    cursor = ""

    def look() -> None:
        nonlocal cursor
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": lake})
        alert_sensor([])(context)
        cursor = context.cursor or ""

    with Webhook() as webhook, hanging_run(tmp_path / "dagster") as process:
        monkeypatch.setenv(WEBHOOK, webhook.address)
        look()
        assert webhook.bodies == []
        process.kill()
        process.wait()
        look()
        look()
        for run in instance.get_runs():
            instance.report_run_failed(run)
        look()
        look()

    lake.close()
    assert [(body["key"], body["is_over"]) for body in webhook.bodies] == [("runs/dead", False), ("runs/dead", True)]
    assert "look alive and their process is gone" in webhook.bodies[0]["text"]


def test_a_schedule_that_nobody_ticks_is_a_trouble_until_a_daemon_runs(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    recipe: Recipe = load_recipe(write_recipe(tmp_path))
    lake = open_lake(tmp_path / "home", {})
    owners = Owners(tmp_path / "dagster", None)

    def keys() -> list[str]:
        return [each.key for each in troubles(lake, instance, [recipe], now=NOON)]

    assert keys() == []
    switch(instance, DATASET, on_at=NOON)
    assert keys() == ["daemon/off"]
    assert owners.own(DAEMON)
    assert keys() == []
    owners.give_back(DAEMON)
    lake.close()


def test_a_batch_waits_for_a_person_unless_a_run_is_asked_for_or_it_goes_on_by_itself(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    world.generator.stop_after = 5
    world.run()

    def waiting() -> list[str]:
        found = troubles(world.lake, instance, [world.recipe], now=NOON)
        return [each.key for each in found if each.key.startswith(f"{DATASET}/")]

    assert waiting() == [f"{DATASET}/{BATCH}"]

    @dg.job
    def tiny_batch() -> None: ...

    tags = {PARTITION_TAG: BATCH}
    run = instance.create_run_for_job(tiny_batch, status=dg.DagsterRunStatus.STARTING, tags=tags)
    assert waiting() == []
    instance.report_run_canceled(run)
    assert waiting() == [f"{DATASET}/{BATCH}"]

    switch(instance, REGENERATION, on_at=NOON)
    assert waiting() == []


def test_the_doctor_names_what_waits_for_a_person_and_cures_the_dead(tmp_path: Path) -> None:
    with ChatProvider(repeats=1.0) as provider:
        home = Home(
            tmp_path / "home",
            provider.base_url,
            tiny(tmp_path, batch={"budget_usd": 1.0}, generator={"prices": PRICES}),
        )
        assert home.call(*RUN).code == 1
        with home.entered():
            folder = dagster_home()
        with hanging_run(folder) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()

            said = home.call("doctor")
            assert said.code == 1
            assert "1 run (" in said.out
            assert f"{DATASET} {BATCH} has been red for less than a minute" in said.out
            assert f"`synth run {DATASET} --batch {BATCH}`" in said.out

            assert f"verified {DATASET}: never" in said.out
            assert home.call("audit", "verify").code == 0

            cured = home.call("doctor", "--cure")
            assert cured.out.startswith("ended 1 dead run\n")
            assert "runs/dead" not in cured.out
            assert re.search(rf"verified {DATASET}: entry \d+ at \S+, 0 written since", cured.out)
            assert f"budget {DATASET}: {BATCH} used 0.0000 of 1.0000 USD" in cured.out
