"""The web UI as a person uses it: partitions launched and backfilled, what they show, and what a red one holds back.

One server for all; the tests stand in the order of a first day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from resources.places import PROJECT
from synth_assets.jobs import BATCH_ASSETS
from synth_assets.vocabulary import BATCH_STAGES
from tests.command import BATCH, DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.web import Web, wait_for, web_ui

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD, RED = BATCH, "2026-11-02", "2026-11-03", "2026-11-04"
STAGES = tuple(map(str, BATCH_STAGES))
CHAIN = tuple(map(str, BATCH_ASSETS))
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
PLANNED, PROMISED = 18, 12
LOOSE = {"drift": {"max": 1.0, "because": "Batches of twelve differ by chance alone."}}


@dataclass(frozen=True)
class Open:
    """The page of a home, and the provider its runs ask."""

    web: Web
    provider: ChatProvider

    def shown(self, asset: str, partition: str) -> dict[str, Any]:
        """What the latest materialization of a partition shows: numbers and rows of tables, by label."""
        found = self.web.materializations(DATASET, asset, partition)
        return {label: value_of(entry) for label, entry in found[0].items()} if found else {}

    def made(self, partition: str) -> list[str]:
        return [stage for stage in STAGES if self.shown(stage, partition)]


def value_of(entry: dict[str, Any]) -> Any:
    table = entry.get("table")
    return table["records"] if table else entry.get("intValue", entry.get("floatValue"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    folder = tmp_path_factory.mktemp("ui")
    with ChatProvider() as provider:
        home = Home(folder / "home", provider.base_url, tiny(folder, gates=LOOSE))
        with web_ui(home, folder / "log") as web:
            yield Open(web, provider)


def test_nothing_a_newcomer_may_open_is_undescribed(page: Open) -> None:
    found = page.web.ask(DESCRIBED)["repositoriesOrError"]["nodes"][0]

    assets = {"/".join(each["assetKey"]["path"]): each for each in found["assetNodes"]}
    assert {f"{DATASET}/{asset}" for asset in CHAIN} < set(assets)
    for name, asset in assets.items():
        checks = asset["assetChecksOrError"].get("checks", [])
        entries = {entry["label"]: entry for entry in asset["metadataEntries"]}
        columns = entries["dagster/column_schema"]["schema"]["columns"]
        missing = [check["name"] for check in checks if not check["description"]]
        missing += [column["name"] for column in columns if not column["description"]]
        assert missing == [], name
        assert "**Next:**" in asset["description"], name
        assert asset["owners"], name
        assert asset["kinds"], name
        assert asset["groupName"] == name.partition("/")[0]
        docs, _, heading = entries["docs"]["path"].partition("#")
        assert f"## {heading}\n" in (PROJECT / docs).read_text(encoding="utf-8").lower(), name
    others = [*found["pipelines"], *found["schedules"], *found["sensors"], *found["allTopLevelResourceDetails"]]
    assert [each["name"] for each in others if not each["description"] and each["name"] != "__ASSET_JOB"] == []


def test_a_partition_is_launched_and_shows_its_numbers_its_rows_and_its_checks(page: Open) -> None:
    run = page.web.launch(DATASET, CHAIN, FIRST)
    assert page.web.ended(run) == "SUCCESS"

    assert page.made(FIRST) == list(STAGES)
    generated, curated = page.shown("generated", FIRST), page.shown("curated", FIRST)
    assert generated["dagster/row_count"] == PLANNED
    assert [len(generated["preview"]), len(curated["preview"])] == [PLANNED, curated["samples"]]
    assert (curated["accepted"], curated["promised"]) == (PROMISED, PROMISED)
    assert curated["samples"] == curated["accepted"] + curated["rejected"] + curated["pending_review"]
    assert 0 < curated["quality_score"] <= 1
    checks = {stage: page.web.checks(DATASET, stage, FIRST) for stage in STAGES}
    assert all(found and all(found.values()) for found in checks.values()), checks


def test_a_backfill_makes_every_day_in_a_run_of_its_own(page: Open) -> None:
    backfill = page.web.backfill(DATASET, CHAIN, [SECOND, THIRD])

    def ended() -> list[tuple[str, str]] | None:
        tagged = [run | {tag["key"]: tag["value"] for tag in run["tags"]} for run in page.web.runs()]
        days = [run for run in tagged if run.get("dagster/backfill") == backfill and "dagster/partition" in run]
        found = sorted((run["dagster/partition"], run["status"]) for run in days)
        return found if len(found) >= 2 and {status for _, status in found} <= ENDED else None

    assert wait_for(ended) == [(SECOND, "SUCCESS"), (THIRD, "SUCCESS")]
    for day in (SECOND, THIRD):
        assert page.made(day) == list(STAGES)
        assert page.shown("training_ready", day)["dagster/row_count"] == PROMISED
        assert all(page.web.checks(DATASET, "curated", day).values())
    assert max(page.provider.paid_calls.values()) == 1


def test_a_red_partition_is_failed_and_its_checks_show_the_funnel(page: Open) -> None:
    page.provider.repeats = 0.95
    run = page.web.launch(DATASET, CHAIN, RED)
    assert page.web.ended(run) == "FAILURE"

    assert page.made(RED) == ["generated", "scored"]
    green = dict.fromkeys((FIRST, SECOND, THIRD), "MATERIALIZED")
    assert page.web.partitions(DATASET, "curated") == green | {RED: "FAILED"}
    assert page.web.partitions(DATASET, "training_ready") == green | {RED: "FAILED"}
    found = page.web.checks(DATASET, "curated", RED)
    assert {name for name, passed in found.items() if not passed} >= {"acceptance_share", "minimum_count"}
    assert found["second_sum"]
    facts = page.web.check_metadata(DATASET, "curated", "minimum_count", RED)
    funnel = facts["funnel"]
    assert funnel["promised"] == PROMISED > funnel["accepted"]
    assert funnel["samples"] == funnel["accepted"] + funnel["rejected"] + funnel["pending_review"]
    assert funnel["rejected_exact_duplicate"] > 0
    plotted = page.web.check_metadata(DATASET, "curated", "acceptance_share", RED)
    assert 0.0 <= plotted["value"] < plotted["at_least"], "the number that is plotted is held against its threshold"
    assert all(page.web.checks(DATASET, "curated", FIRST).values()), "another day's checks are its own"


def test_the_next_stage_alone_is_refused_and_told_which_gate_holds(page: Open) -> None:
    paid = page.provider.paid_calls.total()
    run = page.web.launch(DATASET, ("training_ready",), RED)
    assert page.web.ended(run) == "FAILURE"

    [told] = page.web.failures(run)
    assert f"{DATASET} {RED} is held back: curated is failed at acceptance_share" in told
    assert f"synth run {DATASET} --batch {RED}" in told
    assert page.made(RED) == ["generated", "scored"]
    assert page.provider.paid_calls.total() == paid


DESCRIBED = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  assetNodes { assetKey { path } description groupName kinds owners { ... on TeamAssetOwner { team }
    ... on UserAssetOwner { email } }
    metadataEntries { label ... on PathMetadataEntry { path }
      ... on TableSchemaMetadataEntry { schema { columns { name description } } } }
    assetChecksOrError { ... on AssetChecks { checks { name description } } } }
  pipelines { name description } schedules { name description } sensors { name description }
  allTopLevelResourceDetails { name description } } } } }"""
