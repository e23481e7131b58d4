"""The whole graph, from template to model: what runs, what is held back, what is paid and what is never paid twice."""

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import polars as pl
import pytest
from dagster._serdes import serialize_value

from resources.lake import open_lake
from resources.wiring import ClaimsResource, LakeResource
from synth_assets.assets.factory import dataset_assets
from synth_assets.assets.partitions import batch_job, model_job, version_job
from synth_assets.canonical import sha256
from synth_assets.checks.evidence import Evidence
from synth_assets.checks.gates import GATES
from synth_assets.checks.verdict import Verdict
from synth_assets.domain.standing import State, standing
from synth_assets.jobs import BATCH_ASSETS, dataset_jobs
from synth_assets.recipe import load_recipe
from synth_assets.stages import cutting
from synth_assets.stages.prospects import next_attempt
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Assessment, Stage
from tests.fakes.embedder import HashedWords
from tests.fakes.generator import CANARY, FakeGenerator, FakeGenerators
from tests.fakes.real_data import FakeRealData, protecting
from tests.fakes.recipes import ANY_SHARE, FILES, RECIPE, write_recipe
from tests.fakes.world import CHECKED, DAY, NEXT_DAY, QUIET, Ran, World, ran

PLANNED = 18
"""Requests of a first attempt: 6 of each of two labels, times an overdraw of 1.5."""

STAGES = [str(stage) for stage in BATCH_STAGES]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A dataset nothing was made of yet."""
    return World(tmp_path)


@pytest.fixture(scope="module")
def green_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("green"))
    assert world.run().success
    return world


@pytest.fixture
def green(green_world: World, tmp_path: Path) -> World:
    """A dataset with one green batch."""
    return green_world.copy(tmp_path)


@pytest.fixture(scope="module")
def released_world(green_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = green_world.copy(tmp_path_factory.mktemp("released"))
    assert world.release("v1").success
    return world


@pytest.fixture
def released(released_world: World, tmp_path: Path) -> World:
    """A dataset with one green batch and a version made of it."""
    return released_world.copy(tmp_path)


@dataclass(frozen=True)
class Whole:
    """Template to model on the real lake, and everything Dagster knows of it."""

    home: Path
    runs: list[Ran]
    stored: str

    @property
    def materialized(self) -> dict[str, dict[str, Any]]:
        return {name: metadata for run in self.runs for name, metadata in run.materialized.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    recipe = load_recipe(write_recipe(folder, real_data={"reader": "invented", "test_rows": 100}))
    open_lake(folder / "home", {}).close()
    lake = LakeResource(home=str(folder / "home"))
    defs = dg.Definitions(
        assets=dataset_assets(recipe),
        jobs=dataset_jobs(recipe),
        resources={
            "lake": lake,
            "claims": ClaimsResource(home=str(folder / "home"), lake=lake),
            "generators": FakeGenerators(FakeGenerator()),
            "embedder": HashedWords(),
            "real_data": FakeRealData(),
        },
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral(tempdir=str(folder / "dagster")) as instance:
        instance.add_dynamic_partitions("tiny_versions", ["v1"])
        jobs = {batch_job("tiny"): DAY, version_job("tiny"): "v1", model_job("tiny"): "v1"}
        results = [
            defs.resolve_job_def(job).execute_in_process(
                instance=instance, partition_key=key, run_config={"loggers": QUIET}, raise_on_error=False
            )
            for job, key in jobs.items()
        ]
        stored = "\n".join(serialize_value(record) for result in results for record in instance.all_logs(result.run_id))
    return Whole(folder / "home", [ran(result) for result in results], stored)


# --- what a run shows -------------------------------------------------------------------------------------------------


def test_template_to_model_runs_green(whole: Whole) -> None:
    assert [run.told for run in whole.runs] == [{}, {}, {}], whole.runs[0].told.get("crash", "")[-1500:]
    assert [run.red for run in whole.runs] == [set(), set(), set()]
    assert set(whole.materialized) == {*map(str, BATCH_ASSETS), "dataset_version", "model_run"}


def test_every_materialization_counts_its_rows_and_names_its_content(whole: Whole) -> None:
    lake = open_lake(whole.home, {})
    wrote = {"prompt_templates": "prompt_templates", "seeds": "seeds", "generation_plan": "requests"}
    wrote |= {"generated": "generations", "scored": "assessments", "curated": "decisions"}
    wrote |= {"training_ready": "training_examples", "model_run": "evaluations"}
    counted = {asset: lake.read(table).height for asset, table in wrote.items()}
    digests = {row["stage"]: row["output_digest"][:32] for row in lake.read("stage_commits").iter_rows(named=True)}
    lake.close()

    shown = whole.materialized
    assert {asset: shown[asset]["dagster/row_count"] for asset in wrote} == counted
    assert {asset: shown[asset]["data_version"] for asset in digests} == digests
    assert all(re.fullmatch("[0-9a-f]{32}", metadata["data_version"]) for metadata in shown.values())


def test_every_stage_shows_numbers_that_can_be_plotted(whole: Whole) -> None:
    wanted = {
        "generated": {"planned", "answered", "quarantined", "not_sent", "samples", "paid_now", "cost_usd"},
        "scored": {"samples", "measured", "assessments", "mean_words"},
        "curated": {"samples", "accepted", "rejected", "promised", "acceptance", "quality_score"},
        "training_ready": {"examples", "train"},
        "dataset_version": {"version", "num_samples", "added", "removed", "batches"},
        "model_run": {"model_accuracy", "low", "high", "baseline_majority_accuracy", "test_rows"},
    }
    for asset, names in wanted.items():
        numbers = {name for name, value in whole.materialized[asset].items() if isinstance(value, int | float)}
        assert names <= numbers, asset


def test_every_check_shows_the_funnel_and_what_it_counted(whole: Whole) -> None:
    checks = [
        event.asset_check_evaluation_data
        for run in whole.runs
        for event in run.events
        if event.event_type_value == CHECKED
    ]
    assert len(checks) == sum(len(gates) for gates in GATES.values()) + 6 + 3
    assert all("funnel" in check.metadata for check in checks)
    assert all(check.blocking for check in checks)
    assert all(check.partition in (DAY, "v1") for check in checks)


def test_every_asset_shows_its_columns_with_type_unit_and_meaning(whole: Whole, world: World) -> None:
    specs = {spec.key.path[-1]: spec for asset in dataset_assets(world.recipe) for spec in asset.specs}
    tables = {"generation_plan": "requests", "generated": "generations", "scored": "assessments", "seeds": "seeds"}
    tables |= {"curated": "decisions", "training_ready": "training_examples", "dataset_version": "version_members"}
    tables |= {"model_run": "evaluations", "prompt_templates": "prompt_templates"}

    assert set(specs) == set(tables)
    for asset, table in tables.items():
        columns = specs[asset].metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(TABLES[table].dtypes)
        assert all(column.description for column in columns)
    cost = next(c for c in specs["generated"].metadata["dagster/column_schema"].columns if c.name == "cost_usd")
    assert (cost.type, cost.constraints.nullable, "[USD]" in cost.description) == ("float", True, True)


def test_previews_hold_scalars_of_ids_labels_and_scores(whole: Whole) -> None:
    previews = {asset: metadata["preview"] for asset, metadata in whole.materialized.items() if "preview" in metadata}

    assert set(previews) == {*STAGES, "prompt_templates", "generation_plan", "model_run"}
    for asset, shown in previews.items():
        assert 1 <= len(shown.records) <= 20, asset
        named = {column.name for column in shown.schema.columns}
        assert not named & {"text", "prompt", "opening", "fields", "body", "answer"}, asset


def test_no_text_reaches_dagster_or_the_catalog(whole: Whole) -> None:
    """The canary is in every answer; the prompts' own words must not travel either."""
    prompt = "sentences:"
    assert prompt in FILES["prompts/lines.md"]
    assert len(whole.stored) > 10_000
    assert CANARY not in whole.stored
    assert prompt not in whole.stored
    for file in sorted(whole.home.rglob("*")):
        if file.is_file() and file.relative_to(whole.home).parts[0] not in ("objects", "releases"):
            assert CANARY.encode() not in file.read_bytes(), file

    lake = open_lake(whole.home, {})
    for name in TABLES:
        rows = lake.read(name)
        said = [row for row in rows.rows() if CANARY in str(row) or prompt in str(row)]
        assert not said, name
    lake.close()
    assert CANARY.encode() in (whole.home / "releases/tiny/v1/samples.jsonl").read_bytes()


# --- gates ------------------------------------------------------------------------------------------------------------


def forbid(monkeypatch: pytest.MonkeyPatch, stage: Stage, name: str) -> None:
    """Let one gate of a stage say no, whatever it is asked."""

    def no(evidence: Evidence) -> Verdict:
        return Verdict(name, passed=False, facts={"failed": 1})

    gates = tuple(replace(gate, ask=no) if gate.name == name else gate for gate in GATES[stage])
    monkeypatch.setitem(GATES, stage, gates)


def too_few_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.generator.quarantines = 10


def a_scorer_left_somebody_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, Stage.SCORED, "every_sample_is_assessed")


def nothing_but_refusals(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.generator.refuses = True


def personal_data_no_rule_asks_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.edit(rules={name: rule for name, rule in RECIPE["rules"].items() if name != "pii"})
    world.generator.tail = " Write to jane.doe@cinema-club.net."


@pytest.mark.parametrize(
    ("spoil", "stage", "gate"),
    [
        (too_few_answers, "generated", "answered_share"),
        (a_scorer_left_somebody_out, "scored", "every_sample_is_assessed"),
        (nothing_but_refusals, "curated", "minimum_count"),
        (personal_data_no_rule_asks_for, "training_ready", "no_pii"),
    ],
)
def test_a_red_stage_holds_back_everything_after_it_now_and_later(
    world: World, monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., None], stage: str, gate: str
) -> None:
    spoil(world, monkeypatch)
    before, after = STAGES[: STAGES.index(stage)], STAGES[STAGES.index(stage) + 1 :]

    run = world.run()

    assert not run.success
    assert (stage, gate) in run.red
    assert run.started == {"prompt_templates", "seeds", "generation_plan", *before, stage}
    assert [name for name in STAGES if world.is_materialized(name)] == before

    for name in after:
        later = world.run(name)
        assert not later.success
        assert later.materialized == {}
        assert later.told["exit_code"] == 3
        assert f"{stage} is failed at " in later.told["what"]
        assert gate in later.told["what"]
        assert f"synth run tiny --batch {DAY}" in later.told["fix"]
    nothing = world.release("v1")
    assert nothing.told["exit_code"] == 3
    assert "nothing to release" in nothing.told["what"]
    assert world.rows("dataset_versions").is_empty()


def test_a_red_stage_shows_its_funnel_all_the_same(world: World) -> None:
    world.generator.quarantines = 10

    run = world.run()

    failed = [event.asset_check_evaluation_data for event in run.events if event.event_type_value == CHECKED]
    shown = next(check for check in failed if check.check_name == "answered_share")
    assert not shown.passed
    assert shown.metadata["answered"].value == 8
    funnel = {row.data["what"]: row.data["count"] for row in shown.metadata["funnel"].records}
    assert funnel["quarantined"] == 10.0
    assert (shown.metadata["value"].value, shown.metadata["at_least"].value) == (pytest.approx(8 / 18), 0.5)
    assert shown.metadata["threshold"].value["because"] == RECIPE["gates"]["answered_share"]["because"]
    assert shown.metadata["rule"].value == "min 0.5: Less means that the provider is broken."
    assert "quarantined 10" in shown.metadata["counts"].value.split(", ")


def test_a_stage_whose_input_changed_since_is_held_back_until_it_runs_again(green: World) -> None:
    green.edit(quality_score={"words": {"weight": 1, "worst": 0, "best": 60}})
    assert green.run("curated").success

    where = standing(green.rows("stage_commits", partition=DAY))
    assert where.states[Stage.TRAINING_READY] is State.OUTDATED
    assert where.first_not_passed == Stage.TRAINING_READY
    assert green.release("v1").success, "what was green before is still there to be released"
    assert green.run("training_ready").success
    assert "nothing to release" in green.release("v2").told["what"], "the same samples are the same version"


def test_a_stage_before_any_plan_says_what_to_do_first(world: World) -> None:
    run = world.run("generated")

    assert run.told.get("exit_code") == 3, run.told
    assert "has no generation_plan" in run.told["what"]
    assert "materialize generation_plan first" in run.told["fix"]
    assert world.generator.asked == []


# --- attempts and what they cost --------------------------------------------------------------------------------------


def test_a_green_batch_costs_nothing_more(green: World) -> None:
    before = {name: green.rows(name).rows() for name in ("requests", "generations", "samples", "assessments")}
    asked = len(green.generator.asked)

    again = green.run()

    assert again.success
    assert len(green.generator.asked) == asked
    assert green.paid == PLANNED
    assert {name: green.rows(name).rows() for name in before} == before
    assert green.batch()["attempts"] == 1
    assert again.materialized["scored"]["measured"] == 0


def test_a_top_up_asks_for_the_deficit_and_judges_new_samples_only(world: World) -> None:
    world.generator.quarantines = 8
    assert world.run().red >= {("curated", "minimum_count")}
    first = world.rows("assessments")
    accepted = world.rows("samples").join(world.rows("decisions", decision="accepted"), on="sample_id", how="semi")
    missing = {label: 6 - accepted.filter(pl.col("label") == label).height for label in RECIPE["labels"]}
    asked_before, world.generator.quarantines = len(world.generator.asked), 0

    second = world.run()

    wanted = {label: math.ceil(count * 1.5) for label, count in missing.items() if count}
    assert 0 < sum(wanted.values()) < PLANNED
    assert second.success
    assert world.counts("requests", "label", attempt=2) == wanted
    assert [len(calls) for calls in world.generator.asked[asked_before:]] == [sum(wanted.values())]
    assert second.materialized["scored"]["measured"] == sum(wanted.values())
    kept = world.rows("assessments").join(first, on="sample_id", how="semi").sort("sample_id", "name")
    assert kept.equals(first.sort("sample_id", "name"))
    assert world.counts("decisions", "decision")["accepted"] == 12
    assert max(world.generator.paid.values()) == 1


def test_a_red_batch_gets_one_attempt_a_run_until_they_are_used_up(world: World) -> None:
    world.edit(batch={"max_attempts": 2}, gates=ANY_SHARE)
    world.generator.refuses = True

    attempts = []
    for _ in range(4):
        assert not world.run().success
        attempts.append((world.batch()["attempts"], world.paid))

    assert attempts == [(1, 18), (2, 36), (2, 36), (2, 36)]
    assert world.rows("generations").height == 36
    assert not world.is_materialized("curated")


def test_a_gate_that_more_attempts_cannot_cure_opens_none_until_the_recipe_changes(world: World) -> None:
    world.generator.refuses = True

    attempts = []
    for _ in range(3):
        assert not world.run().success
        attempts.append((world.batch()["attempts"], world.paid))
    because = next_attempt(world.lake, world.recipe, DAY).because
    world.edit(gates={"acceptance_share": {"min": 0.0, "because": "Loosened on purpose."}})
    world.generator.refuses = False

    assert attempts == [(1, 18)] * 3
    assert because == "curated failed at acceptance_share, which another attempt with the same recipe does not cure"
    assert world.run().success
    assert world.batch()["attempts"] == 2


def test_a_crash_between_two_stages_costs_nothing_twice(world: World) -> None:
    world.run("prompt_templates", "seeds", "generation_plan")
    planned = world.rows("requests").rows()
    world.run("generated")

    run = world.run()

    assert run.success
    assert world.rows("requests").rows() == planned
    assert world.batch()["attempts"] == 1
    assert world.paid == PLANNED
    assert len(world.generator.asked) == 1


def test_a_stop_leaves_the_attempt_open_and_the_next_run_asks_only_for_what_is_missing(world: World) -> None:
    world.generator.stop_after = 5

    stopped = world.run()

    assert stopped.told["exit_code"] == 1
    assert "quota_exhausted" in stopped.told["what"]
    assert world.batch()["open_attempt"] == 1
    assert world.counts("generations", "outcome") == {"answered": 5, "not_sent": 13}
    assert world.rows("samples").height == 5
    assert not world.is_materialized("generated")
    assert "held back" in world.run("scored").told["what"]

    world.generator.stop_after = None
    resumed = world.run()

    assert resumed.success
    assert resumed.materialized["generated"]["paid_now"] == 13
    assert world.counts("generations", "outcome") == {"answered": 18}
    assert (world.batch()["attempts"], world.batch()["open_attempt"]) == (1, None)
    assert set(world.generator.paid.values()) == {1}


def test_a_batch_that_was_stopped_ends_like_one_that_was_not(world: World, green: World) -> None:
    world.generator.stop_after = 7
    while not world.run().success:
        assert len(world.generator.asked) < 5

    assert len(world.generator.asked) == 3
    columns = ["sample_id", "content_sha256", "split"]
    assert world.rows("training_examples").select(columns).equals(green.rows("training_examples").select(columns))


def test_regenerating_supersedes_every_old_sample(green: World) -> None:
    old = green.rows("samples")["sample_id"].to_list()

    run = green.run(regenerate=True)

    assert run.success
    assert green.batch()["attempts"] == 2
    assert green.paid == 2 * PLANNED
    assert set(green.rows("decisions", sample_id=old)["reason"]) == {"superseded"}
    assert green.counts("decisions", "decision")["accepted"] == 12
    assert not set(green.rows("training_examples")["sample_id"]) & set(old)
    assert green.run().success
    assert green.paid == 2 * PLANNED


def test_regenerating_never_leaves_paid_answers_behind(world: World) -> None:
    world.run("prompt_templates", "seeds", "generation_plan")

    run = world.run("generation_plan", regenerate=True)

    assert run.told["exit_code"] == 3
    assert "may hold paid answers" in run.told["what"]
    assert world.batch()["attempts"] == 1


def test_a_bigger_promise_promotes_surplus_before_anything_is_paid(green: World) -> None:
    surplus = green.counts("decisions", "reason")["surplus"]
    assert surplus >= 2

    assert green.run(accept=14).success
    assert green.paid == PLANNED
    assert green.batch()["promised"] == 14
    assert green.rows("training_examples").height == 14

    assert green.run(accept=30).success
    missing = 30 - 12 - surplus
    assert green.paid == PLANNED + sum(math.ceil(each * 1.5) for each in (missing // 2, missing - missing // 2))
    assert green.rows("training_examples").height == 30

    assert green.run().success
    assert (green.batch()["promised"], green.rows("training_examples").height) == (30, 30)


def test_a_smaller_promise_makes_surplus_of_the_rest(green: World) -> None:
    assert green.run(accept=6).success

    assert green.paid == PLANNED
    assert green.rows("training_examples").height == 6
    assert green.counts("training_examples", "label") == {"positive": 3, "negative": 3}


STRICT = {"words": {"min": 40, "max": 60, "because": "Longer than anything the model says."}}


def test_judging_again_by_another_rule_pays_nothing_and_flips_the_verdict(green: World) -> None:
    green.edit(rules=RECIPE["rules"] | STRICT)
    tighter = green.run()
    assert ("curated", "minimum_count") in tighter.red
    assert set(green.rows("decisions")["reason"]) == {"length"}

    green.edit()
    looser = green.run("curated", "training_ready")

    assert looser.success
    assert green.paid == PLANNED
    assert green.batch()["attempts"] == 1


def test_a_loosened_rule_is_tried_before_anything_new_is_paid_for(world: World) -> None:
    world.edit(rules=RECIPE["rules"] | STRICT)
    assert ("curated", "minimum_count") in world.run().red

    world.edit()
    looser = world.run()

    assert looser.success
    assert world.paid == PLANNED
    assert world.batch()["attempts"] == 1


def test_judging_again_by_another_threshold_pays_nothing_and_flips_the_verdict(green: World) -> None:
    green.edit(
        gates={"drift": RECIPE["gates"]["drift"]} | {"answered_share": {"min": 1.1, "because": "More than all."}}
    )
    assert green.run().red == {("generated", "answered_share")}

    green.edit()
    assert green.run().success
    assert green.paid == PLANNED


# --- templates --------------------------------------------------------------------------------------------------------

CHANGED = {"prompts/lines.md": FILES["prompts/lines.md"].replace("list of", "long list of")}
RAISED = {name: text.replace('version: "1"', 'version: "2"') for name, text in CHANGED.items()}
RENAMED = {"prompts/rows.md": FILES["prompts/lines.md"].replace("name: lines", "name: rows")}
AS_JSON = {name: text.replace("format: line", "format: json") for name, text in RAISED.items()}


def test_a_template_that_changed_under_its_old_version_is_refused_before_anything_is_planned(green: World) -> None:
    green.edit(files=CHANGED)

    run = green.run(batch=NEXT_DAY)

    assert run.told["exit_code"] == 3
    assert "changed its text but not its version" in run.told["what"]
    assert "generation_plan" not in run.started
    assert green.rows("batches", batch=NEXT_DAY).is_empty()
    assert green.paid == PLANNED


def test_a_template_with_a_new_version_is_used_from_the_next_plan_on(green: World) -> None:
    before = green.rows("requests").rows()
    green.edit(files=RAISED)

    assert green.run().success
    assert green.rows("requests").rows() == before
    assert green.paid == PLANNED

    assert green.run(batch=NEXT_DAY).success
    assert green.counts("requests", "prompt_version", batch=NEXT_DAY) == {"2": PLANNED}
    assert sorted(green.rows("prompt_templates", prompt_name="lines")["prompt_version"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("files", "prompts"),
    [(RAISED, ["lines"]), (AS_JSON, ["lines"]), (RENAMED, ["rows"])],
    ids=["other text", "other reply", "other prompt"],
)
def test_an_open_attempt_is_finished_as_it_was_planned(world: World, files: dict[str, str], prompts: list[str]) -> None:
    world.generator.stop_after = 5
    world.run()
    planned = world.rows("requests").rows()

    world.generator.stop_after = None
    world.edit(files=files, prompts=[{"name": name} for name in (*prompts, "talk")])
    run = world.run()

    assert run.told == {}
    assert run.success
    assert world.rows("requests").rows() == planned
    assert world.counts("generations", "outcome") == {"answered": PLANNED}
    assert world.paid == PLANNED


# --- versions and models ----------------------------------------------------------------------------------------------


def folder_of(world: World, version: str) -> Path:
    return world.home / "releases" / "tiny" / version


def test_a_version_holds_what_the_green_batches_hold(released: World) -> None:
    members = released.rows("version_members")
    lines = [orjson.loads(line) for line in (folder_of(released, "v1") / "samples.jsonl").read_bytes().splitlines()]

    assert sorted(members["sample_id"]) == sorted(released.rows("training_examples")["sample_id"])
    assert sorted(line["sample_id"] for line in lines) == sorted(members["sample_id"])
    assert set(members["added_in"]) == {1}
    assert released.rows("dataset_aliases").select("alias", "version").rows() == [("latest", 1)]


@pytest.mark.parametrize(("made", "key"), [("world", "v1"), ("released", "v2")])
def test_with_nothing_new_there_is_nothing_to_release(request: pytest.FixtureRequest, made: str, key: str) -> None:
    dataset: World = request.getfixturevalue(made)

    run = dataset.release(key)

    assert run.told["exit_code"] == 3
    assert "nothing to release" in run.told["what"]
    assert run.materialized == {}
    assert not folder_of(dataset, key).exists()


def test_the_next_version_only_adds_and_the_first_one_stays_what_it_was(released: World) -> None:
    files = {file: file.read_bytes() for file in folder_of(released, "v1").rglob("*") if file.is_file()}
    assert released.run(batch=NEXT_DAY).success

    second = released.release("v2").materialized["dataset_version"]

    assert (second["added"], second["removed"], second["num_samples"]) == (12, 0, 24)
    assert released.counts("version_members", "added_in") == {1: 12, 2: 12}
    assert released.rows("version_members")["removed_in"].null_count() == 24
    first = released.release("v1")
    assert first.success
    assert first.materialized["dataset_version"]["was_verified"]
    assert {file: file.read_bytes() for file in files} == files
    assert released.rows("heads")["head_version"].to_list() == [2]


@pytest.mark.parametrize("key", ["v3", "v0", "latest", "1.5", "v-1"])
def test_a_key_that_is_no_version_is_refused_and_names_the_command(released: World, key: str) -> None:
    run = released.release(key)

    assert run.told["exit_code"] == 3
    assert "the latest version is v1" in run.told["what"]
    assert "synth release tiny" in run.told["fix"]
    assert not list((released.home / "releases/tiny").glob(".staged-*"))
    assert sorted(path.name for path in (released.home / "releases/tiny").iterdir()) == ["v1"]


def changed_line(folder: Path) -> None:
    file = folder / "samples.jsonl"
    file.write_bytes(file.read_bytes().replace(CANARY.encode(), b"wombat", 1))


def changed_line_with_a_manifest_that_fits(folder: Path) -> None:
    changed_line(folder)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["samples.jsonl"]["sha256"] = sha256((folder / "samples.jsonl").read_bytes())
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))


def lost_file(folder: Path) -> None:
    (folder / "meta.json").unlink()


def stray_file(folder: Path) -> None:
    (folder / "data" / "notes.txt").write_text("hello")


def broken_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    "tamper", [changed_line, changed_line_with_a_manifest_that_fits, lost_file, stray_file, broken_manifest]
)
def test_a_release_that_was_tampered_with_is_no_version_and_nothing_trains_on_it(
    released: World, tamper: Callable[[Path], None]
) -> None:
    tamper(folder_of(released, "v1"))

    run = released.release("v1")

    assert run.told["exit_code"] == 4
    assert run.materialized == {}
    assert not released.is_materialized("dataset_version", "v1")
    assert released.train("v1").told["exit_code"] == 4
    assert released.rows("model_runs").is_empty()


def test_rows_that_are_not_those_a_stage_wrote_are_not_released(green: World) -> None:
    """Half the assessments vanish behind the gates' back."""
    kept = green.rows("assessments").filter(pl.col("name") != Assessment.WORDS)
    green.lake._tables["assessments"] = kept

    run = green.release("v1")

    assert run.told["exit_code"] == 4
    assert "assessments holds other rows" in run.told["what"]
    assert green.rows("dataset_versions").is_empty()
    assert not folder_of(green, "v1").exists()
    assert green.rows("heads")["head_version"].to_list() == [0]


def test_a_red_version_can_be_cut_once_its_fault_is_mended(green: World) -> None:
    whole = green.rows("assessments")
    green.lake._tables["assessments"] = whole.head(5)
    assert not green.release("v1").success
    green.lake._tables["assessments"] = whole

    assert green.release("v1").success
    assert folder_of(green, "v1").is_dir()


def test_two_that_cut_the_same_version_leave_the_winners_folder_alone(
    green: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival comes when the files are made but not yet in their place, and has one batch more."""
    rivals: list[Ran] = []
    stage_folder = cutting.stage_folder

    def late(*args: Any, **more: Any) -> Path:
        if not rivals:
            assert green.run(batch=NEXT_DAY).success
            rivals.append(green.release("v1"))
        return stage_folder(*args, **more)

    monkeypatch.setattr(cutting, "stage_folder", late)
    mine = green.release("v1")

    assert sorted([mine.success, rivals[0].success]) == [False, True]
    loser = rivals[0] if mine.success else mine
    assert loser.told["exit_code"] == 3
    assert green.release("v1").success
    assert green.rows("dataset_versions")["version"].to_list() == [1]


def test_editing_the_recipe_turns_no_version_red(released: World) -> None:
    released.edit(rules=RECIPE["rules"] | STRICT, gates={"answered_share": {"min": 1.1, "because": "More than all."}})

    assert released.release("v1").success


def test_a_model_is_trained_once_on_a_version_and_read_again_afterwards(released: World) -> None:
    first = released.train("v1").materialized["model_run"]
    lists, model = released.embedder.lists, released.rows("model_runs").rows()

    second = released.train("v1").materialized["model_run"]

    assert (first["was_trained_before"], second["was_trained_before"]) == (False, True)
    assert released.embedder.lists == lists
    assert released.rows("model_runs").rows() == model
    assert second["model_accuracy"] == first["model_accuracy"]
    assert sorted(released.rows("model_run_samples")["sample_id"]) == sorted(
        released.rows("version_members")["sample_id"]
    )


@pytest.mark.parametrize("is_trained", [False, True])
@pytest.mark.parametrize(
    ("tamper", "what", "where"),
    [
        (changed_line, "a file of the release was changed", "samples.jsonl"),
        (lost_file, "a file of the release is gone", "meta.json"),
        (shutil.rmtree, "the manifest of the release is gone", "manifest.json"),
    ],
)
def test_a_training_says_first_whether_its_release_still_is_what_was_released(
    released: World, tamper: Callable[[Path], None], what: str, where: str, *, is_trained: bool
) -> None:
    if is_trained:
        assert released.train("v1").success
    folder = folder_of(released, "v1")
    tamper(folder)

    run = released.train("v1")

    assert (run.told["exit_code"], run.told["what"], run.told["where"]) == (4, what, str(folder / where))
    assert run.told["fix"] == "restore the release folder from a backup"
    assert run.materialized == {}
    assert released.rows("model_runs").height == is_trained


def test_a_release_and_a_training_are_written_down_with_what_they_used(released: World) -> None:
    version = released.rows("dataset_versions").row(0, named=True)
    run = released.train("v1").materialized["model_run"]["model_run_id"]
    released.train("v1")

    used = {row["action"]: row | orjson.loads(row["details"]) for row in released.rows("usage_log").to_dicts()}
    assert released.counts("usage_log", "action") == {"release": 1, "train": 1}
    assert {row["digest"] for row in used.values()} == {version["digest"]}
    assert all(row["run_id"] and row["actor"] == "tester" and row["version"] == 1 for row in used.values())
    assert used["train"]["model_run_id"] == run
    entry = orjson.loads(released.rows("audit_log", action="dataset_version").row(0, named=True)["details"])
    assert entry["manifest_sha256"] == version["manifest_sha256"] == used["release"]["manifest_sha256"]
    assert entry["version"] == 1


def test_a_model_that_ate_a_test_row_is_red(released: World) -> None:
    eaten = released.lake.payload("texts", {"sample_id": pl.String, "field": pl.String, "text": pl.String})["text"]
    real = released.real_data.data
    seen = replace(real.test, rows=pl.DataFrame({"text": eaten, "label": ["positive"] * len(eaten)}))
    released.real_data.data = replace(real, protected=protecting(real.test, seen))

    run = released.train("v1")

    assert run.red == {("model_run", "no_contamination")}
    assert not released.is_materialized("model_run", "v1")


def test_a_version_nobody_released_is_not_trained_on(released: World) -> None:
    for key in ("v2", "nonsense"):
        run = released.train(key)
        assert run.told["exit_code"] == 3
        assert "was not released" in run.told["what"]
        assert "synth release tiny" in run.told["fix"]
