"""The marts: their figures, their audits, and the assets that keep them."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any, cast

import dagster as dg
import polars as pl
import pytest

from dbt_like_sql.audits import RULES, audits_of
from dbt_like_sql.compiler import shipped_models
from dbt_like_sql.header import AuditCall, Header
from resources.lake import DuckLake, open_lake
from synth_assets.assets.marts import HUB, MARTS, WRITTEN_BY, mart_assets
from synth_assets.definitions import build_defs
from synth_assets.domain.transactions import Change, Commit
from synth_assets.recipe import discover
from synth_assets.reports.funnel import status
from synth_assets.tables import TABLES, Column
from synth_assets.vocabulary import BATCH_STAGES
from tests.fakes.lake_rows import DATASET, GREEN, NOON, STOPPED, model_run, request, sample, small_lake
from tests.fakes.recipes import write_recipe
from tests.fakes.world import CHECKED, NEXT_DAY, QUIET, Ran, World, ran

MODELS = shipped_models()
NAMES = [model.name for model in MODELS.marts]

Rows = list[dict[str, Any]]


def computed(lake: DuckLake, name: str, **tables: pl.DataFrame) -> pl.DataFrame:
    """Return a model of the lake, with other rows in the place of some tables."""
    sql = MODELS.compiled(name)
    for table in tables:
        sql = re.sub(rf"\blake\.{table}\b", f"other_{table}", sql)
    return lake.select(sql, **{f"other_{table}": rows for table, rows in tables.items()})


def usage(action: str, actor: str, version: int, hour: int) -> dict[str, Any]:
    row = {"dataset": DATASET, "version": version, "action": action, "actor": actor, "details": "{}"}
    return {**row, "used_at": NOON.replace(hour=hour)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckLake]:
    """The lake whose numbers can be counted on the fingers, and four uses of its versions."""
    lake = small_lake(tmp_path_factory.mktemp("small"))
    used = [usage("train", "ada", 1, 14), usage("train", "ada", 1, 9), usage("train", "bo", 1, 9)]
    rows = TABLES["usage_log"].frame([*used, usage("export", "ada", 2, 9)])
    lake.commit(Commit(DATASET, "used", "by hand", "", {}, changes=[Change("usage_log", rows)]))
    yield lake
    lake.close()


class Past:
    """A dataset with a past: a failed provider, a superseded attempt, a stop, two versions and a model."""

    def __init__(self, folder: Path, engine: DuckLake) -> None:
        self.world = World(folder)
        self.engine = engine
        assert self.world.run().success
        assert self.world.release("v1").success
        assert self.world.train("v1").success
        assert self.world.run(regenerate=True).success
        assert self.world.release("v2").success
        self.world.generator.quarantines = 2
        self.world.generator.stop_after = 9
        assert not self.world.run(batch=NEXT_DAY).success

    def computed(self, name: str, **tables: pl.DataFrame) -> pl.DataFrame:
        return computed(self.engine, name, **{table: self.rows(table) for table in TABLES} | tables)

    def rows(self, table: str, **equals: Any) -> pl.DataFrame:
        return self.world.rows(table, **equals)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, small: DuckLake) -> Past:
    return Past(tmp_path_factory.mktemp("past"), small)


# --- what is described is what is there -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS.models)
def test_a_header_describes_the_columns_the_engine_returns(small: DuckLake, name: str) -> None:
    described = {column.name: column.dtype for column in MODELS.models[name].header.columns}

    found = dict(computed(small, name).schema)

    assert list(found) == list(described)
    assert found == described


@pytest.mark.parametrize("name", MODELS.models)
def test_a_model_of_an_empty_lake_has_the_same_columns_and_no_rows(new_lake: DuckLake, name: str) -> None:
    found = computed(new_lake, name)

    assert dict(found.schema) == {column.name: column.dtype for column in MODELS.models[name].header.columns}
    assert found.height == 0


@pytest.fixture
def new_lake(home: Path) -> Iterator[DuckLake]:
    lake = open_lake(home, {})
    yield lake
    lake.close()


@pytest.mark.parametrize("name", MODELS.models)
def test_the_grain_tells_the_rows_of_a_model_apart_and_orders_them(past: Past, name: str) -> None:
    rows = past.computed(name)
    grain = list(MODELS.models[name].header.grain)

    assert rows.height > 0
    assert rows.select(grain).is_unique().all()
    assert rows.equals(rows.sort(grain))


def test_a_mart_reads_only_tables_with_a_known_writer() -> None:
    read = {table for name in NAMES for table in MODELS.sources(name)}

    assert read <= set(WRITTEN_BY) <= set(TABLES)


# --- figures worked out by hand ---------------------------------------------------------------------------------------


def test_the_funnel_of_the_small_lake(small: DuckLake) -> None:
    names = ["batch", "is_green", "planned_count", "answered_count", "quarantined_count", "not_sent_count"]
    names += ["unended_count", "sample_count", "accepted_count", "rejected_count", "undecided_count", "cost_usd"]

    assert computed(small, "funnel").select(names).rows() == [
        (GREEN, True, 6, 5, 1, 0, 0, 5, 4, 1, 0, 0.06),
        (STOPPED, False, 4, 2, 1, 1, 0, 2, 0, 0, 2, None),
    ]


@pytest.mark.parametrize(
    ("stage", "said", "is_green"),
    [
        ("training_ready", {}, True),
        ("training_ready", {"passed": False}, False),
        ("curated", {"output_digest": "something else than training_ready read"}, False),
        ("training_ready", {"commit_seq": 99, "output_digest": "the same input judged again"}, True),
        ("scored", {"commit_seq": 0, "passed": False}, True),
    ],
    ids=["as it is", "red", "outdated", "judged again", "red before"],
)
def test_a_batch_is_green_by_the_latest_commit_of_each_stage(
    small: DuckLake, stage: str, said: dict[str, Any], is_green: bool
) -> None:
    commits = small.read("stage_commits")
    here = (pl.col("partition") == GREEN) & (pl.col("stage") == stage)
    other = commits.filter(here).with_columns(commit_seq=pl.col("commit_seq") + 1)
    other = other.with_columns(**{name: pl.lit(value) for name, value in said.items()}).cast(commits.schema)

    rows = computed(small, "funnel", stage_commits=pl.concat([commits, other]))

    assert rows.filter(batch=GREEN)["is_green"].item() is is_green


def test_a_cost_with_an_unknown_part_is_unknown(small: DuckLake) -> None:
    """Both prompts were sent in the batch nobody knows the price of."""
    rows = computed(small, "cost_per_accepted_sample")

    assert rows.drop("dataset").rows() == [
        ("critics", "1", 5, 4, 2, None, None),
        ("shorts", "1", 4, 3, 2, None, None),
    ]


def test_the_cost_by_label_adds_up_to_the_cost_by_prompt(past: Past) -> None:
    priced = past.rows("generations").filter(pl.col("outcome") != "quarantined")
    rows = past.computed("cost_by_label", generations=priced)
    whole = past.computed("cost_per_accepted_sample", generations=priced)

    wanted = past.rows("requests").filter(pl.col("request_id").is_in(priced["request_id"].implode()))
    assert set(rows.select("label", "prompt_name").rows()) == set(wanted.select("label", "prompt_name").rows())
    assert rows["label"].n_unique() > 1
    sums = (
        rows.group_by("prompt_name").agg(pl.col("sent_count", "accepted_count", "cost_usd").sum()).sort("prompt_name")
    )
    same = whole.select("prompt_name", "sent_count", "accepted_count", "cost_usd").sort("prompt_name")
    assert sums.drop("cost_usd").rows() == same.drop("cost_usd").rows()
    assert sums["cost_usd"].to_list() == pytest.approx(same["cost_usd"].to_list(), abs=1e-9)
    for row in rows.drop_nulls("cost_per_accepted_usd").iter_rows(named=True):
        assert row["cost_per_accepted_usd"] == pytest.approx(row["cost_usd"] / row["accepted_count"])


def test_the_performance_of_the_prompts_of_the_small_lake(small: DuckLake) -> None:
    rows = computed(small, "prompt_performance").drop("dataset")

    assert rows.rows() == [
        ("critics", "1", 5, 4, 4, 3, 2, 2, 2 / 3, 0.5, 75 / 2),
        ("shorts", "1", 5, 3, 3, 2, 2, 2, 1.0, 0.5, 60 / 2),
    ]


def test_the_reject_reasons_of_the_small_lake(small: DuckLake) -> None:
    assert computed(small, "reject_reasons").rows() == [(DATASET, GREEN, "length", 1, 0.2)]


def test_the_chain_of_every_sample_of_the_small_lake(small: DuckLake) -> None:
    rows = {row["sample_id"]: row for row in computed(small, "sample_lineage").iter_rows(named=True)}
    both = ", ".join(sorted([model_run(1), model_run(2)]))

    assert set(rows) == {*(sample(n) for n in range(5)), *(sample(n, STOPPED) for n in range(2))}
    chain = ("split", "versions", "model_run_ids")
    assert [tuple(rows[sample(n)][name] for name in chain) for n in range(4)] == [
        ("validation", "1, 2", both),
        ("train", "1", model_run(1)),
        ("train", "2", model_run(2)),
        (None, None, None),
    ]
    taken_down = rows[sample(1)]
    assert (taken_down["prompt_name"], taken_down["template_sha256"]) == ("shorts", "bb11")
    assert (taken_down["request_id"], taken_down["model"], taken_down["decision"]) == (
        request(GREEN, 1),
        "tiny",
        "accepted",
    )
    assert rows[sample(4)]["reason"] == "length"
    assert rows[sample(0, STOPPED)]["decision"] == "undecided"


def test_usage_counts_by_who_and_what(small: DuckLake) -> None:
    assert computed(small, "usage").rows() == [
        (DATASET, 1, "train", "ada", 2, NOON.replace(hour=9), NOON.replace(hour=14), True),
        (DATASET, 1, "train", "bo", 1, NOON.replace(hour=9), NOON.replace(hour=9), True),
        (DATASET, 2, "export", "ada", 1, NOON.replace(hour=9), NOON.replace(hour=9), False),
    ]


# --- figures worked out a second time, on a dataset with a past -------------------------------------------------------


def test_the_past_of_the_dataset_is_not_a_simple_one(past: Past) -> None:
    assert {"answered", "quarantined", "not_sent"} == set(past.world.counts("generations", "outcome"))
    assert {None, "superseded", "surplus"} <= set(past.world.counts("decisions", "reason"))
    assert past.rows("version_members")["removed_in"].drop_nulls().len() > 0
    assert past.world.batch(NEXT_DAY)["open_attempt"] == 1


def test_the_funnel_says_what_status_says(past: Past) -> None:
    rows = past.computed("funnel").rows(named=True)
    told = status(past.world.lake, "tiny")["batches"]

    assert len(rows) == len(told) == 2
    for row, facts in zip(rows, told, strict=True):
        same = ("batch", "promised", "attempts", "open_attempt", "cost_usd")
        assert {name: row[name] for name in same} == {name: facts[name] for name in same}
        counts = {"planned": facts["requested"], "quarantined": sum(facts["quarantined"].values())}
        counts |= {"rejected": sum(facts["rejected"].values()), "sample": facts["samples"]}
        counts |= {name: facts[name] for name in ("answered", "not_sent", "unended", "accepted", "undecided")}
        assert {name: row[f"{name}_count"] for name in counts} == counts
        assert row["is_green"] == (facts["held_by"] is None)
    assert rows[0]["cost_usd"] > 0


def test_a_batch_that_was_claimed_and_never_planned_is_in_no_funnel(past: Past) -> None:
    claimed = past.rows("batches").head(1).with_columns(pl.lit("2026-11-09").alias("batch"), attempts=pl.lit(0))

    found = past.computed("funnel", batches=pl.concat([past.rows("batches"), claimed], how="vertical_relaxed"))

    assert found["batch"].to_list() == past.rows("batches")["batch"].sort().to_list()


def test_reject_reasons_say_what_status_says(past: Past) -> None:
    told = {
        (facts["batch"], reason): count
        for facts in status(past.world.lake, "tiny")["batches"]
        for reason, count in facts["rejected"].items()
    }

    rows = past.computed("reject_reasons")

    assert {(row["batch"], row["reason"]): row["rejected_count"] for row in rows.iter_rows(named=True)} == told
    assert rows["rejected_share"].to_list() == pytest.approx(
        [row["rejected_count"] / past.rows("samples", batch=row["batch"]).height for row in rows.iter_rows(named=True)]
    )


def by_prompt(past: Past) -> dict[str, dict[str, Rows]]:
    """All requests, generations, samples and decisions as rows, by the name of their prompt."""
    prompt = dict(past.rows("requests").select("request_id", "prompt_name").rows())
    parent = dict(past.rows("samples").select("sample_id", "request_id").rows())
    found: dict[str, dict[str, Rows]] = {}
    for table in ("requests", "generations", "samples", "decisions"):
        for row in past.rows(table).iter_rows(named=True):
            name = prompt[row.get("request_id") or parent[row["sample_id"]]]
            found.setdefault(name, {}).setdefault(table, []).append(row)
    return found


def test_the_cost_of_an_accepted_sample_is_all_that_was_sent_by_what_was_accepted(past: Past) -> None:
    """The failed calls of the second day have no price, so the day is looked at without them."""
    priced = past.rows("generations").filter(pl.col("outcome") != "quarantined")
    assert past.computed("cost_per_accepted_sample")["cost_usd"].to_list() == [None]

    rows = past.computed("cost_per_accepted_sample", generations=priced).rows(named=True)

    assert [row["prompt_name"] for row in rows] == sorted(by_prompt(past))
    for row in rows:
        made = by_prompt(past)[row["prompt_name"]]
        cost = fsum(each["cost_usd"] for each in made["generations"] if each["outcome"] == "answered")
        accepted = sum(each["decision"] == "accepted" for each in made["decisions"])
        assert (row["accepted_count"], row["sample_count"]) == (accepted, len(made["samples"]))
        assert row["cost_usd"] == pytest.approx(cost, abs=1e-9)
        assert row["cost_per_accepted_usd"] == pytest.approx(cost / accepted, abs=1e-9)


def test_the_performance_of_a_prompt_is_that_of_its_samples(past: Past) -> None:
    rows = past.computed("prompt_performance").rows(named=True)

    assert [row["prompt_name"] for row in rows] == sorted(by_prompt(past))
    for row in rows:
        made = by_prompt(past)[row["prompt_name"]]
        judged = [each for each in made["decisions"] if each["reason"] != "superseded"]
        good = [each for each in judged if each["decision"] == "accepted" or each["reason"] == "surplus"]
        accepted = [each for each in judged if each["decision"] == "accepted"]
        tokens = sum((each["input_tokens"] or 0) + (each["output_tokens"] or 0) for each in made["generations"])
        scores = [each["quality_score"] for each in judged if each["quality_score"] is not None]
        assert (row["planned_count"], row["judged_count"], row["good_count"]) == (
            *(len(made["requests"]), len(judged), len(good)),
        )
        assert row["acceptance_share"] == pytest.approx(len(good) / len(judged))
        assert row["mean_quality_score"] == pytest.approx(sum(scores) / len(scores))
        assert row["tokens_per_accepted"] == pytest.approx(tokens / len(accepted))


def test_a_samples_chain_names_the_versions_and_models_that_have_it(past: Past) -> None:
    rows = past.computed("sample_lineage")
    members, consumed = past.rows("version_members"), past.rows("model_run_samples")

    assert rows.height == past.rows("samples").height
    assert rows["prompt_name"].null_count() == 0
    for row in rows.iter_rows(named=True):
        intervals = members.filter(pl.col("sample_id") == row["sample_id"]).select("added_in", "removed_in").rows()
        inside = [n for n in (1, 2) if any(a <= n and (r is None or n < r) for a, r in intervals)]
        runs = sorted(consumed.filter(pl.col("sample_id") == row["sample_id"])["model_run_id"])
        assert (row["versions"] or "") == ", ".join(map(str, inside))
        assert (row["model_run_ids"] or "") == ", ".join(runs)


def test_usage_has_every_release_and_training(past: Past) -> None:
    rows = past.computed("usage").select("version", "action", "use_count").rows()

    assert rows == [(1, "release", 1), (1, "train", 1), (2, "release", 1)]


# --- audits -----------------------------------------------------------------------------------------------------------

HEADER = Header(
    description="A test.",
    grain=("batch",),
    owner="team:tests",
    columns=(
        Column("batch", pl.String(), nullable=False, unit=None, meaning="Batch."),
        Column("whole", pl.Int64(), nullable=False, unit=None, meaning="Sum."),
        Column("part", pl.Float64(), nullable=True, unit=None, meaning="Part."),
        Column("rest", pl.Int64(), nullable=True, unit=None, meaning="Part."),
        Column("is_green", pl.Boolean(), nullable=True, unit=None, meaning="Flag."),
    ),
    audits=(),
    lines=dict.fromkeys(("batch", "whole", "part", "rest", "is_green"), 1),
)
FINE = {"batch": "a", "whole": 1, "part": 1.0, "rest": 0, "is_green": True}


@pytest.mark.parametrize(
    ("audit", "columns", "fine", "bad"),
    [
        ("unique_grain", (), [{}, {"batch": "b"}], [{}, {"rest": 7}]),
        ("not_null", (), [{"part": None}], [{"whole": None}]),
        ("not_negative", ("whole", "part"), [{"part": None}, {"whole": 0}], [{"part": -0.5}]),
        ("share", ("part",), [{"part": None}, {"part": 0.0}], [{"part": 1.5}]),
        ("at_most", ("part", "whole"), [{"part": None}], [{"part": 2.0}]),
        ("adds_up", ("whole", "part", "rest"), [{"whole": 3, "rest": 2}], [{"whole": 3}]),
        ("adds_up", ("whole", "part", "rest"), [{}], [{"part": None}]),
        ("zero_when", ("rest", "is_green"), [{"rest": 1, "is_green": False}, {"is_green": None}], [{"rest": 1}]),
    ],
)
def test_an_audit_finds_the_rows_that_break_it_and_no_others(
    small: DuckLake, audit: str, columns: tuple[str, ...], fine: Rows, bad: Rows
) -> None:
    (asked,) = audits_of("model", Header(**{**vars(HEADER), "audits": (AuditCall(audit, columns, 1),)}), pytest.fail)

    def offending(rows: Rows) -> list[Any]:
        schema = {column.name: column.dtype for column in HEADER.columns}
        frame = pl.DataFrame([FINE | row for row in rows], schema=schema)
        return small.select(asked.sql, model=frame)["batch"].to_list()

    assert offending(fine) == []
    assert offending([*bad, {"batch": "fine"}]) == ["a"] * len(bad)


def test_every_audit_was_shown_to_fail() -> None:
    shown = test_an_audit_finds_the_rows_that_break_it_and_no_others.pytestmark[0].args[1]

    assert {row[0] for row in shown} == set(RULES)


def red_audits(compute: Callable[..., pl.DataFrame], lake: DuckLake, **tables: pl.DataFrame) -> set[tuple[str, str]]:
    """Return (mart, audit) of every audit that finds something."""
    found = {model.name: compute(model.name, **tables) for model in MODELS.marts}
    return {
        (model.name, audit.name)
        for model in MODELS.marts
        for audit in model.audits
        if lake.select(audit.sql, **{model.name: found[model.name]}).height
    }


def test_every_audit_of_a_healthy_lake_is_green(small: DuckLake, past: Past) -> None:
    assert red_audits(partial(computed, small), small) == set()
    assert red_audits(past.computed, small) == set()


def without(table: str, **equals: str) -> tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]:
    return table, lambda rows: rows.remove(**equals)


def twice(table: str) -> tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]:
    return table, lambda rows: pl.concat([rows, rows.head(1)])


def saying(table: str, **values: float) -> tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]:
    return table, lambda rows: rows.with_columns(**{name: pl.lit(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("damage", "red"),
    [
        (without("decisions", sample_id=sample(0)), {"funnel": {"zero_when_undecided_count"}}),
        (without("generations", request_id=request(GREEN, 5)), {"funnel": {"zero_when_unended_count"}}),
        (
            without("requests", request_id=request(GREEN, 0)),
            {
                "funnel": {"adds_up_planned_count"},
                "cost_per_accepted_sample": {"not_null"},
                "cost_by_label": {"not_null"},
                "sample_lineage": {"not_null"},
            },
        ),
        (
            without("generations", request_id=request(GREEN, 0)),
            {"funnel": {"zero_when_unended_count"}, "sample_lineage": {"not_null"}},
        ),
        (twice("samples"), {"sample_lineage": {"unique_grain"}}),
        (twice("decisions"), {"sample_lineage": {"unique_grain"}}),
        (twice("generations"), {"funnel": {"adds_up_planned_count"}, "sample_lineage": {"unique_grain"}}),
        (twice("batches"), {"funnel": {"unique_grain"}}),
        (saying("decisions", quality_score=1.5), {"sample_lineage": {"share"}, "prompt_performance": {"share"}}),
        (
            saying("generations", cost_usd=-1.0),
            {
                "funnel": {"not_negative"},
                "cost_per_accepted_sample": {"not_negative"},
                "cost_by_label": {"not_negative"},
            },
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value[0],
)
def test_a_damaged_lake_turns_audits_red(
    small: DuckLake, damage: tuple[str, Callable[[pl.DataFrame], pl.DataFrame]], red: dict[str, set[str]]
) -> None:
    table, spoil = damage

    found = red_audits(partial(computed, small), small, **{table: spoil(small.read(table))})

    assert found == {(mart, audit) for mart, audits in red.items() for audit in audits}


# --- assets -----------------------------------------------------------------------------------------------------------


def materialized(lake: DuckLake, folder: Path) -> Ran:
    with dg.DagsterInstance.ephemeral(tempdir=str(folder / "dagster")) as instance:
        return ran(
            dg.materialize(
                mart_assets([]),
                instance=instance,
                resources={"lake": lake},
                run_config={"loggers": QUIET},
                raise_on_error=False,
            )
        )


@pytest.fixture(scope="module")
def kept(small: DuckLake, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return materialized(small, tmp_path_factory.mktemp("kept"))


def test_a_mart_is_kept_as_a_file_and_says_what_is_in_it(small: DuckLake, kept: Ran) -> None:
    assert (kept.success, kept.red, set(kept.materialized)) == (True, set(), set(NAMES))
    for name, shown in kept.materialized.items():
        rows = computed(small, name)
        assert pl.read_parquet(small.home / MARTS / f"{name}.parquet").equals(rows)
        assert shown["dagster/row_count"] == rows.height
        assert [record.data for record in shown["preview"].records] == [
            {key: str(value) if isinstance(value, datetime) else value for key, value in row.items()}
            for row in rows.iter_rows(named=True)
        ]
    assert {file.name for file in (small.home / MARTS).iterdir()} == {f"{name}.parquet" for name in NAMES}


def test_a_red_audit_is_shown_and_so_are_the_figures(small: DuckLake, tmp_path: Path) -> None:
    class Damaged:
        home = tmp_path / "damaged"

        def select(self, sql: str, **frames: pl.DataFrame) -> pl.DataFrame:
            undecided = small.read("decisions").clear()
            return small.select(sql.replace("lake.decisions", "undecided"), undecided=undecided, **frames)

    run = materialized(cast(DuckLake, Damaged()), tmp_path)

    assert run.red == {("funnel", "zero_when_undecided_count")}
    assert set(run.materialized) == set(NAMES)
    check = next(
        event.asset_check_evaluation_data
        for event in run.events
        if event.event_type_value == CHECKED and not event.asset_check_evaluation_data.passed
    )
    assert (check.severity, check.blocking) == (dg.AssetCheckSeverity.ERROR, False)
    assert check.metadata["offending_rows"].value == 1
    assert check.metadata["preview"].value.records[0].data["batch"] == GREEN


def test_a_mart_of_the_same_rows_has_the_same_data_version(small: DuckLake, kept: Ran, tmp_path: Path) -> None:
    again = materialized(small, tmp_path)

    versions = [{name: shown["data_version"] for name, shown in run.materialized.items()} for run in (kept, again)]
    assert versions[0] == versions[1]
    assert len(set(versions[0].values())) == len(NAMES)


@pytest.fixture(scope="module")
def two_datasets(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    root = tmp_path_factory.mktemp("recipes")
    write_recipe(root)
    write_recipe(root, dataset="other")
    return build_defs(discover(root))


def test_the_marts_hang_on_one_edge_of_each_dataset_whose_own_assets_stay_a_line(two_datasets: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in two_datasets.resolve_all_asset_specs()}
    deps = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()}

    between = [(up, down) for down, ups in deps.items() for up in ups if specs[up].group_name != specs[down].group_name]
    assert sorted(between) == [("other/model_run", f"marts/{HUB}"), ("tiny/model_run", f"marts/{HUB}")]
    assert [deps[f"marts/{name}"] for name in NAMES] == [{f"marts/{HUB}"}] * len(NAMES)
    line = ("generation_plan", *map(str, BATCH_STAGES), "dataset_version", "model_run")
    for before, after in pairwise(line):
        assert deps[f"tiny/{after}"] == {f"tiny/{before}"}
    assert all(specs[f"marts/{name}"].partitions_def is None for name in NAMES)


def test_a_mart_shows_what_its_header_says(two_datasets: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in two_datasets.resolve_all_asset_specs()}

    for model in MODELS.marts:
        spec = specs[f"marts/{model.name}"]
        assert spec.group_name == MARTS
        columns = spec.metadata["dagster/column_schema"].columns
        assert spec.description.startswith(f"{model.header.description}\n\n**Next:**")
        assert list(spec.owners) == [model.header.owner]
        assert [column.name for column in columns] == [column.name for column in model.header.columns]
        assert all(column.description for column in columns)


def test_the_marts_have_a_job_and_a_sensor_of_their_own(two_datasets: dg.Definitions) -> None:
    job = two_datasets.resolve_job_def("marts")

    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {
        f"marts/{name}" for name in NAMES
    }
    sensor = two_datasets.resolve_sensor_def("marts")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_the_writers_of_a_table_are_the_stages_that_change_it(tmp_path: Path) -> None:
    """A claim raises the fence of its batch in every stage; no mart reads it. Inputs register themselves."""
    world = World(tmp_path)
    wrote: dict[str, set[str]] = {}

    def rows(table: str) -> pl.DataFrame:
        return world.rows(table).drop("fence", strict=False)

    inputs = ("prompt_templates", "seeds")
    tables = WRITTEN_BY.keys() - set(inputs)
    steps = {"generation_plan": partial(world.run, *inputs, "generation_plan")}
    steps |= {str(stage): partial(world.run, str(stage)) for stage in BATCH_STAGES}
    steps |= {"dataset_version": partial(world.release, "v1"), "model_run": partial(world.train, "v1")}
    for name, step in steps.items():
        before = {table: rows(table) for table in tables}
        assert step().success
        for table in tables:
            if not rows(table).equals(before[table]):
                wrote.setdefault(table, set()).add(name)

    assert wrote == {table: {str(stage) for stage in WRITTEN_BY[table]} for table in tables}


# --- freshness --------------------------------------------------------------------------------------------------------


class Watched:
    """The graph of a world under the eye of the marts' sensor."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cursor: Any = None
        self.defs = build_defs([world.recipe], home=str(world.home))

    def tick(self, at: datetime | None = None) -> set[str]:
        """Return the marts the sensor asks for."""
        asked = dg.evaluate_automation_conditions(
            self.defs, self.world.instance, cursor=self.cursor, evaluation_time=at
        )
        self.cursor = asked.cursor
        return {name for name in NAMES if asked.get_num_requested(dg.AssetKey([MARTS, name]))}


OF_BATCHES = set(NAMES) - {"usage"}


def test_marts_follow_a_batch_though_most_batches_were_never_made(tmp_path: Path) -> None:
    watched = Watched(World(tmp_path))
    assert watched.tick() == set(), "nothing is there yet"

    assert watched.world.run().success
    assert watched.tick() == OF_BATCHES

    assert watched.world.run("training_ready").success
    assert "funnel" in watched.tick(), "what happens right after a request is not overlooked"
    assert watched.tick() == set()


def test_marts_follow_a_red_stage_each_time_it_is_judged(tmp_path: Path) -> None:
    watched = Watched(World(tmp_path))
    watched.tick()
    watched.world.generator.quarantines = 10
    assert not watched.world.run().success
    assert watched.tick() == OF_BATCHES
    assert watched.tick() == set()

    assert not watched.world.run("generated").success

    assert watched.tick() == OF_BATCHES


def test_a_watch_that_begins_late_catches_up_once(past: Past) -> None:
    watched = Watched(past.world)

    assert watched.tick() == set(NAMES)
    assert watched.tick() == set()


def test_marts_wait_for_the_end_of_a_run_but_no_longer_than_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, start = Watched(World(tmp_path)), datetime.now(UTC)
    watched.tick(start)
    seen = []
    generate = watched.world.generator.generate

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        seen.extend(watched.tick(start + timedelta(hours=later)) for later in (0, 1))
        return generate(*args, **kwargs)

    monkeypatch.setattr(watched.world.generator, "generate", meanwhile)
    assert watched.world.run().success

    assert seen == [set(), OF_BATCHES]
    assert watched.tick(start + timedelta(hours=1)) == OF_BATCHES


def test_every_mart_is_kept_fresh(two_datasets: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in two_datasets.resolve_all_asset_specs()}

    assert {name for name in NAMES if specs[f"marts/{name}"].automation_condition is None} == set()
    assert specs[f"marts/{HUB}"].automation_condition is None
