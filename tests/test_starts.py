"""A run that never began is asked for again; one under way, or begun in vain too often, is not. Looking is free."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from resources.claims import Claims, is_free
from resources.locks import FileLock
from sensors.starts import MAX_STARTS, START_AFTER, Started, keys_of, launched_on, next_key
from synth_assets.assets.partitions import current_batch
from tests.fakes.world import DAY, World

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LONG_AGO = Started(NOW - 2 * START_AFTER)


def test_the_keys_of_a_run_count_the_attempts_to_start_it() -> None:
    known: dict[str, Started] = {}
    asked = []
    while (key := next_key("tiny/a", known.get, now=NOW)[0]) is not None:
        asked.append(key)
        known[key] = LONG_AGO

    assert asked == keys_of("tiny/a") == ["tiny/a", "tiny/a/start-2", "tiny/a/start-3", "tiny/a/start-4"]
    assert next_key("tiny/a", known.get, now=NOW)[1] == (
        f"{MAX_STARTS} runs for it ended without a trace; a person should look"
    )


@pytest.mark.parametrize(
    ("run", "because"),
    [
        (Started(None), "a run for it is under way"),
        (Started(NOW - timedelta(minutes=1)), "its run ended without a trace; next try after 12:09 UTC"),
    ],
)
def test_a_run_under_way_and_one_that_just_ended_are_left_alone(run: Started, because: str) -> None:
    assert next_key("k", {"k": run}.get, now=NOW) == (None, because)


def test_runs_are_found_by_their_key(tmp_path: Path) -> None:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        @dg.job
        def broken() -> None:
            @dg.op
            def fails() -> None:
                raise ValueError

            fails()

        broken.execute_in_process(instance=instance, raise_on_error=False, tags={"dagster/run_key": "tiny/a"})
        found = launched_on(instance)

        assert found("tiny/b") is None
        run = found("tiny/a")
        assert run is not None
        assert run.ended_at is not None
        assert next_key("tiny/a", found, now=run.ended_at + START_AFTER)[0] == "tiny/a/start-2"


def test_a_look_at_a_claim_never_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    assert is_free(world.home, "tiny", DAY)
    assert not (world.home / "claims").exists(), "looking writes nothing"
    claims = Claims(world.lake, world.home)
    claims.hold(world.recipe.model, DAY)
    assert not is_free(world.home, "tiny", DAY)

    claims.release()
    taken = []
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: taken.append(True))

    assert is_free(world.home, "tiny", DAY)
    assert taken == []


def test_a_batch_that_lies_in_the_future_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    world = World(tmp_path, start=tomorrow)

    told = world.run(batch=tomorrow)

    assert told.told["exit_code"] == 2
    assert "in the future" in told.told["what"]
    assert (world.paid, world.rows("batches").height) == (0, 0)
    assert current_batch(world.recipe.model, datetime.now(UTC)) is None


def test_a_promise_is_not_recorded_where_the_run_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, batch={"budget_usd": 1.0})
    world.generator.provider = replace(world.generator.provider, price=None)

    refused = world.run(accept=200)

    assert refused.told["exit_code"] == 2
    assert world.batch()["promised"] == 12
