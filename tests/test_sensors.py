"""Every sensor acts when it should, says why it is silent, and does not act twice on the same state."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.claims import Claims
from resources.webhook import WEBHOOK, post
from sensors.failures import failure_sensor, notice
from sensors.regeneration import MAX_RESUMES, RETRY_AFTER, regeneration_sensor, topups
from sensors.releases import Candidate, due, release_sensor
from sensors.templates import Inputs, changed, template_sensor
from synth_assets.assets import batch as assets
from synth_assets.definitions import build_defs
from synth_assets.jobs import dataset_jobs
from synth_assets.reports.unfinished import Case, unfinished
from synth_assets.stages.inputs import register_templates
from tests.fakes.recipes import ANY_SHARE, FILES
from tests.fakes.webhook import Webhook
from tests.fakes.world import DAY, NEXT_DAY, World

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

SHORT = Case(
    dataset="tiny",
    batch=DAY,
    attempt=2,
    is_open=False,
    refusal=None,
    is_unjudged=False,
    is_tripped=False,
    is_busy=False,
    stops=0,
    is_silent=False,
    looked_at=NOON,
    last_seq=7,
    money_left_usd=None,
)
"""A batch that fell short and may try again."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def looked_at(world: World, maker: Any) -> dg.SensorResult:
    """Evaluate a sensor once, as the daemon would."""
    jobs = {job.name: job for job in dataset_jobs(world.recipe)}
    return maker([world.recipe], jobs)(dg.build_sensor_context(resources={"lake": world.lake}, instance=world.instance))


def asked(result: dg.SensorResult) -> list[tuple[str, str | None, str]]:
    """What a look asked for: job, partition, run key."""
    return [(each.job_name, each.partition_key, each.run_key) for each in result.run_requests or []]


def reason(result: dg.SensorResult) -> str:
    return result.skip_reason.skip_message


# --- regeneration: the decision


def test_a_short_batch_is_topped_up_and_its_key_names_the_attempt() -> None:
    wanted, silent = topups([SHORT], now=NOON)

    assert [(each.dataset, each.batch, each.key) for each in wanted] == [("tiny", DAY, f"tiny/{DAY}/attempt-2")]
    assert silent == []


def test_an_attempt_is_asked_for_under_one_key_however_often_the_sensor_looks() -> None:
    keys = {topups([SHORT], now=NOON + timedelta(minutes=minute))[0][0].key for minute in range(100)}

    assert len(keys) == 1


def test_batches_are_asked_for_oldest_first() -> None:
    wanted, _ = topups([replace(SHORT, batch=NEXT_DAY), SHORT], now=NOON)

    assert [each.batch for each in wanted] == [DAY, NEXT_DAY]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"refusal": "all 3 attempts are used up"}, "all 3 attempts are used up"),
        ({"refusal": "it was accepted short"}, "it was accepted short"),
        ({"is_busy": True}, "somebody works on it"),
        ({"money_left_usd": 0.0}, "its budget is spent"),
        ({"is_silent": True}, "the provider failed; next try after 12:10 UTC"),
        ({"is_open": True, "stops": MAX_RESUMES + 1}, "attempt 2 was stopped 4 times; a person should look"),
    ],
)
def test_a_batch_is_left_alone_for_a_reason(change: dict[str, Any], why: str) -> None:
    wanted, silent = topups([replace(SHORT, **change)], now=NOON)

    assert wanted == []
    assert silent == [f"tiny {DAY}: {why}"]


def test_a_provider_that_failed_is_asked_again_after_a_while() -> None:
    case = replace(SHORT, is_silent=True)

    assert topups([case], now=NOON + RETRY_AFTER - timedelta(seconds=1))[0] == []
    assert len(topups([case], now=NOON + RETRY_AFTER)[0]) == 1


def test_every_resume_of_an_open_attempt_has_a_key_of_its_own_and_there_are_few() -> None:
    stopped = [replace(SHORT, is_open=True, stops=stops, refusal="attempt 2 is still open") for stops in range(10)]

    keys = [each.key for case in stopped for each in topups([case], now=NOON)[0]]

    assert keys == [f"tiny/{DAY}/attempt-2/resume-{stops}" for stops in range(MAX_RESUMES + 1)]


def test_judging_what_is_there_is_free_so_no_budget_holds_it_back() -> None:
    unfinished = replace(SHORT, is_unjudged=True, money_left_usd=0.0, refusal="curated has not judged")

    assert [each.key for each in topups([unfinished], now=NOON)[0]] == [f"tiny/{DAY}/judge-7"]


# --- regeneration: the shell


def test_a_batch_that_fell_short_is_topped_up_until_its_attempts_are_used_up(world: World) -> None:
    """No attempt can bring what is missing: every answer declines."""
    world.edit(gates=ANY_SHARE)
    world.generator.refuses = True
    world.run()
    keys = []
    for _ in range(5):
        result = looked_at(world, regeneration_sensor)
        if not asked(result):
            break
        keys += asked(result)
        world.run()

    assert keys == [("tiny_batch", DAY, f"tiny/{DAY}/attempt-{number}") for number in (2, 3)]
    assert "all 3 attempts are used up" in reason(result)
    assert world.batch()["attempts"] == 3


def test_raising_max_attempts_on_disk_counts_at_the_next_look(world: World) -> None:
    world.edit(batch={"max_attempts": 1})
    world.generator.refuses = True
    world.run()
    assert "all 1 attempts are used up" in reason(looked_at(world, regeneration_sensor))
    loaded = world.recipe

    world.edit(batch={"max_attempts": 2})
    world.recipe = loaded

    assert asked(looked_at(world, regeneration_sensor)) == [("tiny_batch", DAY, f"tiny/{DAY}/attempt-2")]


def test_green_batches_and_an_empty_store_are_left_alone(world: World) -> None:
    assert reason(looked_at(world, regeneration_sensor)) == "every batch kept its promise"

    assert world.run().success
    assert reason(looked_at(world, regeneration_sensor)) == "every batch kept its promise"


def test_a_batch_somebody_works_on_is_left_alone(world: World) -> None:
    world.edit(gates=ANY_SHARE)
    world.generator.refuses = True
    world.run()
    claims = Claims(world.lake, world.home)
    claims.hold(world.recipe.model, DAY)
    try:
        assert "somebody works on it" in reason(looked_at(world, regeneration_sensor))
    finally:
        claims.release()

    assert asked(looked_at(world, regeneration_sensor)) != []


def test_a_batch_nobody_planned_is_nobodys_debt(world: World) -> None:
    """A refused run or ingest has claimed its batch; topping it up would pay for a typing error."""
    claims = Claims(world.lake, world.home)
    claims.hold(world.recipe.model, DAY)
    claims.release()
    assert world.batch()["promised"] == 12

    assert reason(looked_at(world, regeneration_sensor)) == "every batch kept its promise"


def test_a_run_that_died_between_two_stages_is_finished(world: World) -> None:
    world.run("prompt_templates", "seeds", "generation_plan", "generated")
    asked_for = asked(looked_at(world, regeneration_sensor))

    assert [key.rpartition("-")[0] for _, _, key in asked_for] == [f"tiny/{DAY}/judge"]
    assert world.run().success
    assert world.paid == 18
    assert asked(looked_at(world, regeneration_sensor)) == []


def test_a_stopped_attempt_is_resumed_later_and_not_opened_anew(world: World) -> None:
    world.generator.stop_after = 5
    world.run()
    [case] = unfinished(world.lake, world.recipe, is_busy=lambda batch: False)
    assert case.looked_at is not None

    now, later = case.looked_at, case.looked_at + RETRY_AFTER
    assert topups([case], now=now)[0] == []
    assert [each.key for each in topups([case], now=later)[0]] == [f"tiny/{DAY}/attempt-1/resume-1"]


def test_a_stop_that_a_clock_ahead_has_dated_keeps_nobody_waiting_until_then() -> None:
    stopped = replace(SHORT, is_silent=True, looked_at=NOON + timedelta(days=365))

    assert [each.batch for each in topups([stopped], now=NOON)[0]] == [DAY]


def test_the_last_stage_of_a_batch_says_when_it_was_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.generator.stop_after = 5
    with monkeypatch.context() as patch:
        ahead = datetime.now(UTC) + timedelta(days=365)
        patch.setattr(assets, "now", lambda: ahead)
        world.run()
    world.run()

    [case] = unfinished(world.lake, world.recipe, is_busy=lambda batch: False)

    assert case.looked_at is not None
    assert case.looked_at < ahead


def test_a_spent_budget_is_silent_until_it_is_raised(world: World) -> None:
    world.generator.refuses = True
    world.run()
    spent = math.fsum(world.rows("generations")["cost_usd"])
    assert spent > 0

    world.edit(batch={"budget_usd": spent})
    assert "its budget is spent" in reason(looked_at(world, regeneration_sensor))
    world.edit(batch={"budget_usd": 2 * spent})
    assert len(asked(looked_at(world, regeneration_sensor))) == 1


def test_a_red_batch_that_generating_cannot_help_is_judged_again_when_its_recipe_changes(world: World) -> None:
    world.edit(gates={"drift": {"max": -1.0, "because": "No distance is below zero."}})
    assert ("curated", "drift") in world.run().red
    assert reason(looked_at(world, regeneration_sensor)) == f"tiny {DAY}: the promise is kept"

    world.edit()
    [(_, batch, key)] = asked(looked_at(world, regeneration_sensor))
    assert (batch, key.startswith(f"tiny/{DAY}/judge-")) == (DAY, True)
    assert world.run().success
    assert world.paid == 18
    assert asked(looked_at(world, regeneration_sensor)) == []


def test_a_recipe_that_cannot_be_read_any_more_is_said_and_stops_nobody_else(world: World) -> None:
    (world.recipe.folder / "recipe.yaml").write_text("dataset: [", encoding="utf-8")

    assert "tiny cannot be read" in reason(looked_at(world, regeneration_sensor))


# --- release


def test_enough_new_samples_make_a_version_under_a_key_of_its_content() -> None:
    enough = Candidate("tiny", 2, added=12, needed=12, digest="d" * 64)

    wanted, silent = due([enough, replace(enough, dataset="other", added=11)])

    assert [(each.dataset, each.partition, each.key) for each in wanted] == [("tiny", "v2", f"tiny/v2/{'d' * 16}")]
    assert silent == ["other: 11 of 12 new accepted samples for v2"]


def test_a_green_batch_is_released_and_trained_on_and_nothing_is_asked_for_twice(world: World) -> None:
    assert reason(looked_at(world, release_sensor)) == "tiny: 0 of 12 new accepted samples for v1"
    assert world.run().success

    result = looked_at(world, release_sensor)
    [(job, partition, key)] = asked(result)
    [added] = result.dynamic_partitions_requests

    assert (job, partition) == ("tiny_release", "v1")
    assert (added.partitions_def_name, list(added.partition_keys)) == ("tiny_versions", ["v1"])
    assert asked(looked_at(world, release_sensor)) == [(job, partition, key)], "until it is cut, one key"
    assert world.release("v1").success
    assert reason(looked_at(world, release_sensor)) == "tiny: 0 of 12 new accepted samples for v2"


def test_the_recipe_says_how_many_samples_make_a_version(world: World) -> None:
    world.edit(automation={"release_after": 13})
    assert world.run().success

    assert reason(looked_at(world, release_sensor)) == "tiny: 12 of 13 new accepted samples for v1"


def test_the_release_job_trains_only_where_there_is_real_data_to_measure_on(world: World) -> None:
    def assets() -> set[str]:
        defs = build_defs([world.recipe])
        return {key.path[-1] for key in defs.resolve_job_def("tiny_release").asset_layer.selected_asset_keys}

    assert assets() == {"dataset_version", "model_run"}
    world.edit(real_data=None)
    assert assets() == {"dataset_version"}


# --- changed templates


def test_only_what_is_new_on_disk_is_registered_and_only_where_something_was_planned() -> None:
    now = {"lines@1": "a", "words[0]": "b"}

    assert changed([Inputs("tiny", now, frozenset(), is_planned=False)]) == []
    assert changed([Inputs("tiny", now, frozenset("a"), is_planned=False)]) == [], "the first plan is registering them"
    assert changed([Inputs("tiny", now, frozenset("ab"), is_planned=True)]) == []
    [found] = changed([Inputs("tiny", now, frozenset("a"), is_planned=True)])
    assert (found.dataset, found.names) == ("tiny", ("words[0]",))


def test_a_new_template_version_is_registered_once_and_counts_from_the_next_plan(world: World) -> None:
    assert reason(looked_at(world, template_sensor)) == "every template and seed is registered"
    assert world.run().success
    assert asked(looked_at(world, template_sensor)) == []

    edited = FILES["prompts/lines.md"].replace('version: "1"', 'version: "1.1"').replace("sentences", "short sentences")
    world.edit(files={"prompts/lines.md": edited})
    first = asked(looked_at(world, template_sensor))
    assert first == asked(looked_at(world, template_sensor))
    assert [(job, partition) for job, partition, _ in first] == [("tiny_inputs", None)]

    register_templates(world.recipe, world.lake, run_id="", at=NOON)
    assert asked(looked_at(world, template_sensor)) == []
    assert set(world.rows("requests")["prompt_version"]) == {"1"}
    assert world.run(batch=NEXT_DAY).success
    assert set(world.rows("requests", batch=NEXT_DAY)["prompt_version"]) == {"1.1"}


# --- failed runs


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server


@dg.op
def declines() -> None:
    told = {"what": "no money left", "where": "the endpoint", "fix": "top up the account"}
    raise dg.Failure("told", metadata=told)


@dg.op
def crashes() -> None:
    raise ValueError("a sample says quokka")


def failed(op: dg.OpDefinition, name: str) -> tuple[dg.DagsterInstance, dg.ExecuteInProcessResult]:
    instance = dg.DagsterInstance.ephemeral()
    job = dg.GraphDefinition(name=name, node_defs=[op]).to_job()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    tags = {"dagster/partition": DAY}
    return instance, job.execute_in_process(instance=instance, raise_on_error=False, run_config=quiet, tags=tags)


def tell(op: dg.OpDefinition, name: str) -> None:
    instance, result = failed(op, name)
    tell_of(instance, result.get_run_failure_event())


def tell_of(instance: dg.DagsterInstance, failure: dg.DagsterEvent) -> None:
    (run,) = instance.get_runs()
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure", dagster_instance=instance, dagster_run=run, dagster_event=failure
    ).for_run_failure()
    failure_sensor()(context)


def test_a_refusal_is_posted_with_its_cure(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)

    tell(declines, "tiny_batch")

    [body] = webhook.bodies
    assert body["text"] == f"tiny_batch, {DAY} failed: no money left (the endpoint). top up the account"
    assert (body["job"], body["partition"], body["step"], body["fix"]) == (
        *("tiny_batch", DAY, "declines", "top up the account"),
    )


def test_the_words_of_an_unforeseen_error_stay_inside(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)

    tell(crashes, "tiny_batch")

    [body] = webhook.bodies
    assert "quokka" not in str(body)
    assert "ValueError" in body["what"]


def test_without_an_address_a_failure_is_only_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)

    tell(declines, "tiny_batch")


def test_a_red_gate_is_named_with_its_stage(world: World, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    impossible = {"min": 1.5, "because": "More than every one can never be accepted."}
    world.edit(gates={"acceptance_share": impossible})

    [failure] = [event for event in world.run().events if event.is_job_failure]
    tell_of(world.instance, failure)

    [body] = webhook.bodies
    assert body["what"] == "gates that did not hold: curated.acceptance_share"


def test_a_red_gate_dagster_kept_no_record_of_is_called_one() -> None:
    said = notice(job="j", partition=None, run_id="r", step="s", told={}, kind="DagsterAssetCheckFailedError")

    assert said.text == "j failed: a gate did not hold (Dagster run r). `make ui` shows the run and its checks"


@pytest.mark.parametrize("address", ["ftp://h/x", "http://[::1", "file:///etc/passwd", "no address"])
def test_a_webhook_that_is_no_web_address_is_refused(address: str) -> None:
    assert post(address, {}) == "the webhook's address is no http or https address; nothing was sent"


def test_a_webhook_that_is_away_is_said_without_its_secret(webhook: Webhook) -> None:
    assert post(webhook.address, {"a": 1}) == "the webhook at 127.0.0.1 answered 204"
    webhook.close()

    assert post(webhook.address, {}) == "the webhook at 127.0.0.1 could not be reached (ConnectError)"
    assert "s3cret" in webhook.address
