"""Tags through the whole graph: written with the assessments, rewritten when judged again, released, and queried."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from resources.lake import open_lake
from resources.lake.query import run_query
from synth_assets.checks.evidence import read_evidence
from synth_assets.checks.gates import judge
from synth_assets.domain.tagging import source_id
from synth_assets.domain.transactions import Change, Commit
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Stage
from tests.fakes.generator import CANARY, NOON
from tests.fakes.lake_rows import sample as sample_of
from tests.fakes.lake_rows import small_lake
from tests.fakes.world import DAY, World

TAGS: dict[str, Any] = {
    "place": {"kind": "axis", "axis": "part"},
    "animal": {"kind": "words", "values": {"marsupial": [CANARY], "bird": ["emu"]}},
    "size": {"kind": "buckets", "of": "words", "values": {"any": 0, "endless": 900}},
    "never": {"kind": "words", "values": {"seen": ["xylophone"]}},
    "topic": {"kind": "centroids", "values": {"film": ["the film"]}, "min_similarity": -1},
}


@pytest.fixture(scope="module")
def tagged_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("tagged"), tags=TAGS)
    ran = world.run()
    assert ran.success, ran.told
    assert ran.materialized["scored"]["tag_animal"] == {"marsupial": 18}
    assert ran.materialized["scored"]["tag_never"] == {}
    return world


@pytest.fixture
def tagged(tagged_world: World, tmp_path: Path) -> World:
    return tagged_world.copy(tmp_path)


def test_every_sample_has_its_tags_and_a_rule_that_finds_nothing_leaves_no_row(tagged: World) -> None:
    rows = tagged.rows("tags")

    assert dict(rows.group_by("name").len().rows()) == {"place": 18, "animal": 18, "size": 18, "topic": 18}
    assert set(rows.filter(pl.col("name") == "size")["value"]) == {"any"}
    assert set(rows["batch"]) == {DAY}
    TABLES["tags"].schema.validate(rows)


def test_a_tag_says_which_rule_it_comes_from(tagged: World) -> None:
    rules = tagged.recipe.model.tags
    sources = dict(tagged.rows("tags").select("name", "source_id").unique().rows())

    assert sources == {name: source_id(rules[name], embedder="hashed-words") for name in TAGS if name != "never"}


def test_an_axis_tag_is_what_the_request_was_dealt(tagged: World) -> None:
    drawn = tagged.rows("requests").select("request_id", "axes")
    samples = tagged.rows("samples").select("sample_id", "request_id").join(drawn, on="request_id")
    wanted = {row["sample_id"]: orjson.loads(row["axes"])["part"] for row in samples.iter_rows(named=True)}

    assert dict(tagged.rows("tags", name="place").select("sample_id", "value").rows()) == wanted


def test_judging_again_rewrites_the_tags_pays_nothing_and_leaves_the_batch_green(tagged: World) -> None:
    paid, measured = tagged.paid, tagged.rows("assessments")
    tagged.edit(tags={"animal": {"kind": "constant", "value": "none"}})

    assert tagged.run("scored").success

    assert tagged.counts("tags", "value") == {"none": 18}
    assert tagged.rows("assessments").equals(measured)
    assert tagged.paid == paid
    assert tagged.release("v1").success


def test_a_rule_that_left_the_recipe_takes_its_tags_along(tagged: World) -> None:
    tagged.edit()

    assert tagged.run("scored").success

    assert tagged.rows("tags").is_empty()


def test_a_release_carries_tags_and_sources_and_the_digest_does_not_know_them(tagged: World, tmp_path: Path) -> None:
    untagged = tagged.copy(tmp_path / "untagged")
    untagged.edit()
    assert untagged.run("scored").success
    assert tagged.release("v1").success
    assert untagged.release("v1").success

    lines = (tagged.home / "releases/tiny/v1/samples.jsonl").read_bytes().splitlines()
    first = orjson.loads(lines[0])
    assert set(first["tags"]) == set(first["tag_sources"]) == {"part", "tone", "place", "animal", "size", "topic"}
    assert first["tags"]["animal"] == "marsupial"
    assert first["tags"]["place"] == first["tags"]["part"]
    assert first["tag_sources"]["part"] == "drawn"
    assert first["tag_sources"]["animal"].startswith("words@1:")
    frame = pl.read_parquet(tagged.home / "releases/tiny/v1/data/train.parquet")
    assert set(frame["tag_animal"]) == {"marsupial"}
    digests = {world.rows("dataset_versions")["digest"][0] for world in (tagged, untagged)}
    assert len(digests) == 1


def test_a_tag_without_value_breaks_the_contract_of_its_stage(tagged: World) -> None:
    whole = read_evidence(tagged.lake, tagged.recipe.model, DAY, protected=())
    torn = replace(whole, tags=whole.tags.with_columns(pl.lit(None, pl.String).alias("value")))

    for evidence, passes in ((whole, True), (torn, False)):
        verdicts = {verdict.gate: verdict.passed for verdict in judge(Stage.SCORED, evidence)}
        assert verdicts == {"contract": passes, "every_sample_is_assessed": True}


def test_a_query_reads_tags_beside_the_texts(home: Path) -> None:
    small_lake(home).close()
    lake = open_lake(home, {})
    here = {"dataset": "tiny", "batch": "2026-11-01", "source_id": "words@1:0f3a5c21d4e6", "tagged_at": NOON}
    rows = [{**here, "sample_id": sample_of(n), "name": "mood", "value": "wry", "score": n / 2} for n in (1, 2)]
    lake.commit(Commit("tiny", "tags", "by hand", "", {}, changes=[Change("tags", TABLES["tags"].frame(rows))]))
    lake.close()

    frame = run_query(
        home, {}, "SELECT value, sum(score) AS s, count(text) AS n FROM tags JOIN texts USING (sample_id) GROUP BY 1"
    )

    assert frame.rows() == [("wry", 1.5, 2)]
