"""Reports over a small lake whose numbers were counted by hand."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from resources.lake import DuckLake, open_lake
from synth_assets.domain.transactions import Change, Commit
from synth_assets.errors import IntegrityError, UsageError
from synth_assets.reports.funnel import _stop, funnel, known_datasets, status
from synth_assets.reports.lineage import of_model_run, of_prompt, of_sample, of_version
from synth_assets.reports.nodes import Node
from synth_assets.reports.releases import released_files, version_number, versions
from tests.fakes.lake_rows import DATASET, GREEN, NOON, STOPPED, model_run, request, sample, small_lake


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("small") / "home"
    small_lake(home).close()
    return home


@pytest.fixture(scope="module")
def lake(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckLake]:
    """For tests that only read; a copy, so that the home itself is never open."""
    lake = open_lake(shutil.copytree(small_home, tmp_path_factory.mktemp("shared") / "home"), {})
    yield lake
    lake.close()


@pytest.fixture
def own_lake(small_home: Path, copy_of: Callable[[Path], Path]) -> Iterator[DuckLake]:
    lake = open_lake(copy_of(small_home), {})
    yield lake
    lake.close()


def every(nodes: list[Node], kind: str) -> list[Node]:
    """All nodes of a kind, at any depth."""
    below = [found for node in nodes for found in every(node["children"], kind)]
    return [node for node in nodes if node["kind"] == kind] + below


def ids_of(nodes: list[Node], kind: str) -> list[str]:
    return [node["id"] for node in every(nodes, kind)]


def test_a_funnel_counts_every_request_and_every_sample_once(lake: DuckLake) -> None:
    facts = funnel(lake, DATASET, GREEN)

    counts = {name: facts[name] for name in ("requested", "answered", "samples", "accepted", "promised", "attempts")}
    assert counts == {"requested": 6, "answered": 5, "samples": 5, "accepted": 4, "promised": 4, "attempts": 1}
    assert facts["quarantined"] == {"truncated": 1}
    assert facts["rejected"] == {"length": 1}
    assert facts["accepted_by_label"] == {"pos": 4}
    assert (facts["input_tokens"], facts["output_tokens"], facts["calls"], facts["tries"]) == (60, 30, 6, 8)
    assert facts["cost_usd"] == 0.06
    assert facts["short_by"] == 0


def test_both_sums_are_shown_part_by_part(lake: DuckLake) -> None:
    sums = funnel(lake, DATASET, GREEN)["sums"]

    assert sums["requests"] == {"planned": 6, "answered": 5, "quarantined": 1, "not_sent": 0, "holds": True}
    assert sums["samples"] == {"samples": 5, "accepted": 4, "rejected": 1, "pending_review": 0, "holds": True}


def test_a_sum_that_does_not_hold_says_so_and_what_is_missing(lake: DuckLake) -> None:
    facts = funnel(lake, DATASET, STOPPED)

    assert facts["sums"]["requests"]["holds"]
    assert not facts["sums"]["samples"]["holds"]
    assert facts["undecided"] == 2


def test_a_green_batch_is_held_by_nothing(lake: DuckLake) -> None:
    facts = funnel(lake, DATASET, GREEN)

    assert facts["held_by"] is None
    assert [each["state"] for each in facts["stages"]] == ["passed"] * 5


def test_a_stopped_batch_names_the_gate_of_its_latest_try_only(lake: DuckLake) -> None:
    facts = funnel(lake, DATASET, STOPPED)

    assert (facts["held_by"]["stage"], facts["held_by"]["state"]) == ("generated", "failed")
    assert [gate["gate"] for gate in facts["held_by"]["failed_gates"]] == ["budget"]
    assert facts["held_by"]["failed_gates"][0]["facts"] == {"spent": 2}
    assert [each["state"] for each in facts["stages"]] == ["passed", "failed", "missing", "missing", "missing"]
    assert facts["not_sent_because"] == {"budget_spent": 1}
    assert facts["open_attempt"] == 1


def test_a_cost_with_an_unknown_part_is_unknown(lake: DuckLake) -> None:
    assert funnel(lake, DATASET, STOPPED)["cost_usd"] is None


def test_planned_requests_without_outcome_are_counted_as_such(own_lake: DuckLake) -> None:
    empty = Change(
        "generations", own_lake.read("generations").clear(), {"dataset": DATASET, "batch": GREEN, "attempt": 1}
    )
    own_lake.commit(Commit(DATASET, "forget", "by hand", "", {}, changes=[empty]))

    facts = funnel(own_lake, DATASET, GREEN)

    assert (facts["unended"], facts["cost_usd"], facts["input_tokens"]) == (6, 0.0, 0)
    assert not facts["sums"]["requests"]["holds"]


def test_an_unknown_batch_is_refused(lake: DuckLake) -> None:
    with pytest.raises(UsageError, match="has no batch '1999-01-01'"):
        funnel(lake, DATASET, "1999-01-01")


def test_status_knows_the_next_version_and_what_it_would_change(lake: DuckLake) -> None:
    facts = status(lake, DATASET)

    assert (facts["head_version"], facts["next_version"]) == (2, 3)
    assert facts["is_release_due"]
    assert facts["pending"] == {"added": 1, "removed": 0}
    assert facts["batches_left_out"] == {STOPPED: "generated"}
    assert facts["aliases"] == {"latest": 2, "production": 1}
    assert [each["batch"] for each in facts["batches"]] == [GREEN, STOPPED]


def test_status_and_funnel_say_the_same_of_a_batch(lake: DuckLake) -> None:
    assert status(lake, DATASET)["batches"] == [funnel(lake, DATASET, batch) for batch in (GREEN, STOPPED)]


def test_status_lists_no_batch_that_was_claimed_and_never_planned(own_lake: DuckLake) -> None:
    green = own_lake.read("batches", dataset=DATASET, batch=GREEN)
    claimed = green.with_columns(pl.lit("2026-11-03").alias("batch"), pl.lit(0).cast(pl.Int64).alias("attempts"))
    own_lake.commit(Commit(DATASET, "refused", "claim", "", {}, changes=[Change("batches", claimed)]))

    assert [each["batch"] for each in status(own_lake, DATASET)["batches"]] == [GREEN, STOPPED]


def test_a_dataset_without_batches_has_an_empty_status(lake: DuckLake) -> None:
    facts = status(lake, "nothing_yet")

    assert (facts["batches"], facts["head_version"], facts["is_release_due"]) == ([], 0, False)
    assert known_datasets(lake) == [DATASET]


def test_versions_say_what_each_changed_and_how_its_models_did(lake: DuckLake) -> None:
    first, second = versions(lake, DATASET)

    assert (first["added"], first["removed"], second["added"], second["removed"]) == (2, 0, 1, 1)
    assert (first["aliases"], second["aliases"]) == (["production"], ["latest"])
    assert [run["accuracy"] for run in second["model_runs"]] == [0.72]
    assert first["is_marked"]


def test_model_runs_stand_in_the_order_of_the_chain_whatever_the_clock_said(own_lake: DuckLake) -> None:
    old = own_lake.read("model_runs", model_run_id=model_run(2))
    for number in range(2):
        said = {"model_run_id": f"run {number}", "trained_at": NOON + timedelta(days=365 - number)}
        row = old.with_columns(pl.lit(value).cast(old.schema[name]).alias(name) for name, value in said.items())
        told = {"model_run_id": said["model_run_id"]}
        own_lake.commit(Commit(DATASET, f"t{number}", "model_run", "", told, changes=[Change("model_runs", row, told)]))

    runs = versions(own_lake, DATASET)[-1]["model_runs"]

    assert [each["model_run_id"] for each in runs] == [model_run(2), "run 0", "run 1"]


@pytest.mark.parametrize(("name", "number"), [("v1", 1), ("2", 2), ("latest", 2), ("production", 1)])
def test_a_version_is_found_by_number_and_by_alias(lake: DuckLake, name: str, number: int) -> None:
    assert version_number(lake, DATASET, name) == number


@pytest.mark.parametrize("name", ["v3", "nightly", "", "v", "v01", "9" * 5000, "[red]"])
def test_an_unknown_version_is_refused_with_those_there_are(lake: DuckLake, name: str) -> None:
    with pytest.raises(UsageError, match="versions: v1, v2, latest, production"):
        version_number(lake, DATASET, name)


def test_a_sample_leads_up_to_its_template_by_real_ids(lake: DuckLake) -> None:
    up = of_sample(lake, sample(0))["up"]

    assert ids_of(up, "generation") == lake.read("samples", sample_id=sample(0))["generation_id"].to_list()
    assert ids_of(up, "request") == [request(GREEN, 0)]
    assert ids_of(up, "prompt") == ["films/critics@1"]
    assert ids_of(up, "seed") == ["5eed"]
    (asked,) = every(up, "request")
    assert asked["facts"]["axes"] == {"style": "plain"}
    assert (asked["facts"]["seed"], asked["facts"]["params"]) == (100, {"temperature": 0.9})
    (template,) = every(up, "prompt")
    assert template["facts"]["template_sha256"] == "aa11"


def test_a_sample_leads_down_to_every_version_and_model_that_had_it(lake: DuckLake) -> None:
    down = of_sample(lake, sample(0))["down"]

    assert ids_of(down, "version") == ["films@v1", "films@v2"]
    assert ids_of(down, "model_run") == [model_run(1), model_run(2)]
    assert [run["facts"]["accuracy"] for run in every(down, "model_run")] == [0.71, 0.72]
    assert ids_of(down, "decision") == ["accepted"]
    assert [each["facts"]["run_id"] for each in every(down, "curated")] == [f"run-{GREEN}-1"]
    assert ids_of(down, "assessment") == ["words"]


def test_a_sample_that_was_taken_down_shows_when_it_left_and_why(lake: DuckLake) -> None:
    down = of_sample(lake, sample(1))["down"]

    (interval,) = every(down, "membership")
    assert interval["facts"] == {"added_in": 1, "removed_in": 2, "cause": "disable", "split": "train"}
    assert ids_of(down, "version") == ["films@v1"]
    assert ids_of(down, "model_run") == [model_run(1)]


def test_a_sample_nobody_decided_on_yet_still_has_its_chain(lake: DuckLake) -> None:
    chain = of_sample(lake, sample(0, STOPPED))

    assert ids_of(chain["up"], "request") == [request(STOPPED, 0)]
    assert chain["down"] == []


def test_six_characters_that_only_one_sample_has_are_enough(lake: DuckLake) -> None:
    assert of_sample(lake, sample(2)[:6].upper())["subject"]["id"] == sample(2)


@pytest.mark.parametrize("given", [sample(0)[:5], "", "%", "[red]\x1b[31m", "nothex", "000000' or 1=1"])
def test_what_is_no_id_is_refused_harmlessly(lake: DuckLake, given: str) -> None:
    with pytest.raises(UsageError, match="is no id of a sample") as refused:
        of_sample(lake, given)

    assert "\x1b" not in str(refused.value)


def test_an_unknown_id_is_refused(lake: DuckLake) -> None:
    with pytest.raises(UsageError, match="no sample has an id that begins with 000000"):
        of_sample(lake, "000000")


def test_an_ambiguous_prefix_is_refused_with_some_that_fit(own_lake: DuckLake) -> None:
    row = own_lake.read("samples", sample_id=sample(0))
    twins = pl.concat([row.with_columns(pl.lit(f"abcdef{place:026d}").alias("sample_id")) for place in range(7)])
    own_lake.commit(Commit(DATASET, "twins", "by hand", "", {}, changes=[Change("samples", twins)]))

    with pytest.raises(UsageError, match="7 samples have an id that begins with abcdef") as refused:
        of_sample(own_lake, "abcdef")

    assert str(refused.value).count("abcdef0000") == 5


def test_a_prompt_version_leads_down_to_the_models_that_ate_its_samples(lake: DuckLake) -> None:
    down = of_prompt(lake, DATASET, "critics", "1")["down"]

    asked = [request(GREEN, ordinal) for ordinal in (0, 2, 4)] + [request(STOPPED, ordinal) for ordinal in (0, 2)]
    assert ids_of(down, "request") == asked
    assert ids_of(down, "sample") == [*(sample(ordinal) for ordinal in (0, 2, 4)), sample(0, STOPPED)]
    assert [node["facts"]["samples"] for node in every(down, "version")] == [1, 2]
    assert [node["facts"]["consumed_samples"] for node in every(down, "model_run")] == [1, 2]
    assert every(down, "sample")[2]["facts"]["reason"] == "length"


def test_a_prompt_without_version_shows_all_its_versions_even_unused_ones(lake: DuckLake) -> None:
    chain = of_prompt(lake, DATASET, "critics", None)

    assert [node["id"] for node in chain["down"]] == ["films/critics@1", "films/critics@2"]
    assert chain["down"][1]["children"] == []


@pytest.mark.parametrize(("name", "version"), [("nobody", None), ("critics", "9")])
def test_an_unknown_prompt_is_refused_with_those_there_are(lake: DuckLake, name: str, version: str | None) -> None:
    with pytest.raises(UsageError, match="registered: critics@1, critics@2, shorts@1"):
        of_prompt(lake, DATASET, name, version)


def test_a_version_leads_up_to_its_templates_and_down_to_its_model(lake: DuckLake) -> None:
    chain = of_version(lake, DATASET, 2)

    assert ids_of(chain["up"], "sample") == [sample(0), sample(2)]
    assert ids_of(chain["up"], "prompt") == ["films/critics@1"] * 2
    assert ids_of(chain["up"], "batch") == [GREEN]
    assert every(chain["up"], "batch")[0]["facts"]["prompts"] == {"critics@1": 2}
    assert ids_of(chain["down"], "model_run") == [model_run(2)]
    assert [node["kind"] for node in chain["subject"]["children"]] == ["dataset_version"]


def test_what_a_version_was_made_from_holds_no_model(lake: DuckLake) -> None:
    chain = of_version(lake, DATASET, 2)

    assert every([chain["subject"], *chain["up"]], "model_run") == []


def test_a_model_run_leads_back_to_the_samples_it_consumed(lake: DuckLake) -> None:
    chain = of_model_run(lake, model_run(1)[:6])

    assert chain["subject"]["id"] == model_run(1)
    assert ids_of(chain["up"], "version") == ["films@v1"]
    assert ids_of(chain["up"], "sample") == [sample(0), sample(1)]
    assert ids_of(chain["up"], "prompt") == ["films/critics@1", "films/shorts@1"]
    assert {node["id"]: node["facts"]["value"] for node in chain["down"]} == {"model": 0.71, "baseline:majority": 0.5}


def test_a_model_run_shows_the_commit_that_wrote_it(lake: DuckLake) -> None:
    judged = {number: of_model_run(lake, model_run(number))["subject"]["children"] for number in (1, 2)}

    assert {number: [node["facts"]["run_id"] for node in nodes] for number, nodes in judged.items()} == {
        1: [],
        2: ["run-v2-1"],
    }


def test_a_release_is_handed_out_only_if_it_is_what_was_recorded(own_lake: DuckLake) -> None:
    releases = own_lake.home / "releases"
    folder = releases / DATASET / "v2"
    assert set(released_files(own_lake, releases, DATASET, 2)) == {
        "README.md",
        "data/train.parquet",
        "manifest.json",
        "meta.json",
        "samples.jsonl",
    }

    (folder / "extra.txt").write_text("x")
    with pytest.raises(IntegrityError, match="its manifest does not name"):
        released_files(own_lake, releases, DATASET, 2)
    (folder / "extra.txt").unlink()
    (folder / "meta.json").write_text("[]\n")
    with pytest.raises(IntegrityError, match="was changed"):
        released_files(own_lake, releases, DATASET, 2)
    (folder / "meta.json").unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        released_files(own_lake, releases, DATASET, 2)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(IntegrityError, match="manifest of the release is not the one"):
        released_files(own_lake, releases, DATASET, 2)


def test_a_look_that_failed_later_takes_nothing_away_from_a_released_version(own_lake: DuckLake) -> None:
    """Earlier code stored such looks; the entry that cut the version decides."""
    last = own_lake.read("stage_commits", dataset=DATASET, partition="v2", stage="dataset_version")
    failed = last.with_columns(pl.lit("later").alias("commit_key"), pl.lit(value=False).alias("passed"))
    details = {"batch": "v2", "passed": False, "input": "2", "output": "2"}
    own_lake.commit(Commit(DATASET, "later", "dataset_version", "", details, changes=[Change("stage_commits", failed)]))

    assert "samples.jsonl" in released_files(own_lake, own_lake.home / "releases", DATASET, 2)


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        (["budget_spent", "answered"], "budget_spent"),
        (["stopped", "stopped"], "interrupted"),
        (["stopped", "quota_exhausted"], "quota_exhausted"),
        ([], "interrupted"),
    ],
    ids=["out of money", "by a person", "a reason of its own goes first", "killed before it left a word"],
)
def test_an_open_attempt_says_why_it_stopped_and_not_which_gate_noticed(reasons: list[str], told: str) -> None:
    rows = [
        {"attempt": 1, "outcome": "answered" if each == "answered" else "not_sent", "reason": each} for each in reasons
    ]
    generations = pl.DataFrame(rows, schema={"attempt": pl.Int64, "outcome": pl.String, "reason": pl.String})

    assert _stop({"open_attempt": 1, "tripped_attempt": None}, generations) == told
    assert _stop({"open_attempt": 1, "tripped_attempt": 1}, generations) == "broken_prompt"
    assert _stop({"open_attempt": None, "tripped_attempt": 1}, generations) is None
