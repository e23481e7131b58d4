"""The shipped dataset of support messages: whole, fair to every label, and measured on rows no prompt ever sees."""

from collections import Counter
from pathlib import Path

import dagster as dg
import orjson
import pytest

from resources.claims import Claims
from resources.places import PROJECT
from resources.wiring import RealDataReader
from synth_assets.assets.factory import dataset_assets
from synth_assets.cli.checkup import examine
from synth_assets.cli.project import Project
from synth_assets.domain.planning import owed, plan_attempt, requests_for
from synth_assets.domain.ports import Provider
from synth_assets.domain.scoring.copies import contamination
from synth_assets.jobs import BATCH_ASSETS
from synth_assets.recipe import Recipe, load_recipe
from tests.fakes.embedder import HashedWords
from tests.fakes.generator import FakeGenerator, FakeGenerators
from tests.fakes.lake import MemoryLake
from tests.fakes.recipes import CHATS, COMPLETIONS
from tests.fakes.world import QUIET, ran

FOLDER = PROJECT / "recipes" / "support_intents"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(FOLDER)


def test_it_has_at_least_six_intents_and_as_many_test_rows_of_each(recipe: Recipe) -> None:
    counts = Counter(row.fields["label"] for row in recipe.test)

    assert len(recipe.model.labels) >= 6
    assert sum(counts.values()) >= 60
    assert len(set(counts.values())) == 1


def test_no_opening_belongs_to_one_label(recipe: Recipe) -> None:
    assert [opening for opening in recipe.model.openings if "label" in opening.when] == []


def test_no_test_row_resembles_what_a_prompt_shows(recipe: Recipe) -> None:
    shown = [row.fields["text"].replace("{product}", "device") for row in recipe.seeds]

    found = contamination([row.fields["text"] for row in recipe.test], shown)

    assert max(found["value"]) < 0.2


@pytest.mark.parametrize("provider", [COMPLETIONS, CHATS], ids=["completion", "chat"])
def test_every_request_renders_for_both_kinds_of_model_and_is_one_of_its_kind(
    recipe: Recipe, provider: Provider
) -> None:
    wanted = requests_for(recipe.model, owed(recipe.model))
    plan = plan_attempt(recipe, provider, batch="2026-11-01", attempt=1, wanted=wanted)
    asked = "\n".join([*plan.prompts["prompt"], *plan.prompts["opening"]])

    assert plan.requests["call_id"].n_unique() == plan.requests.height == sum(wanted.values())
    assert "{product}" not in asked
    assert not [row for row in recipe.test if row.fields["text"] in asked]


def test_every_situation_fits_every_opening(recipe: Recipe) -> None:
    """A thousand requests show every situation; a message never begins in the middle of a sentence."""
    wanted = dict.fromkeys(recipe.model.labels, 170)
    openings = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted=wanted).prompts["opening"]

    assert len(set(openings)) > 800
    assert not [text for text in openings if "  " in text or text.endswith(" ") or "{" in text]


def test_the_doctor_finds_nothing_wrong_with_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYNTH_LLM_BASE_URL", "SYNTH_LLM_MODEL", "SYNTH_LLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNTH_HOME", str(home))
    monkeypatch.setenv("SYNTH_RECIPES", str(FOLDER.parent))
    about = [finding for finding in examine(Project(), {}) if finding.name.endswith("support_intents")]

    assert [finding.name for finding in about] == ["recipe support_intents", "provider of support_intents"]
    assert all(finding.is_ok for finding in about)


def test_from_template_to_a_model_measured_on_the_test_set_of_the_folder(recipe: Recipe, tmp_path: Path) -> None:
    lake = MemoryLake(tmp_path / "home")
    claims = Claims(lake, tmp_path / "home")
    resources = {
        "lake": lake,
        "claims": claims,
        "generators": FakeGenerators(FakeGenerator()),
        "embedder": HashedWords(),
        "real_data": RealDataReader(),
    }
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster")) as instance:
        instance.add_dynamic_partitions("support_intents_versions", ["v1"])
        for names, key in ((BATCH_ASSETS, "2026-11-01"), (["dataset_version"], "v1"), (["model_run"], "v1")):
            result = dg.materialize(
                dataset_assets(recipe),
                selection=[dg.AssetKey(["support_intents", str(name)]) for name in names],
                partition_key=key,
                instance=instance,
                resources=resources,
                run_config={"loggers": QUIET},
                raise_on_error=False,
            )
            assert result.success, (ran(result).red, ran(result).told)
    claims.release()

    (frozen,) = lake.read("evaluation_datasets").iter_rows(named=True)
    assert (frozen["name"], frozen["num_rows"]) == ("support_intents.test", len(recipe.test))
    assert frozen["source"] == "72 messages written by hand for this project"
    assert set(lake.read("evaluations")["subject"]) == {"model", "baseline:majority", "baseline:shots"}
    line = orjson.loads((tmp_path / "home/releases/support_intents/v1/samples.jsonl").read_bytes().splitlines()[0])
    assert {"task_type", "language", "product", "tone", "channel"} <= set(line["tags"])
