"""A dataset whose recipe is gone keeps its versions, and what today's rules would say of a batch changes none."""

import shutil
from pathlib import Path

import pytest

from resources.instance import instance_for
from synth_assets.assets.partitions import key_of, version_job
from synth_assets.cli.execution import run_job
from synth_assets.cli.project import Project
from synth_assets.definitions import left_behind
from synth_assets.recipe import discover
from synth_assets.vocabulary import Stage
from tests.command import BATCH, DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider

ANY_BALANCE = {"label_deviation": {"max": 0.5, "because": "How many repeat themselves is not planned by label."}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("left")
    recipes = tiny(folder, gates=ANY_BALANCE, real_data={"reader": "movie_reviews", "test_rows": 100})
    with ChatProvider(repeats=0.2) as provider:
        home = Home(folder / "home", provider.base_url, recipes)
        assert home.call("run", DATASET, "--batch", BATCH).code == 0
        assert home.call("release", DATASET).code == 0
    return home


@pytest.fixture
def left(made: Home, tmp_path: Path) -> Home:
    """The same home, and no recipe any more."""
    (tmp_path / "recipes").mkdir()
    return Home(Path(shutil.copytree(made.path, tmp_path / "home")), recipes=tmp_path / "recipes")


def test_its_versions_are_shown_looked_at_exported_and_trained_on(left: Home, tmp_path: Path) -> None:
    (recipe,) = left_behind(discover(left.recipes), left.path, left.recipes)
    with left.entered():
        project = Project()
        definitions = project.definitions(recipe)
        keys = {key for asset in definitions.assets or [] for key in getattr(asset, "keys", [])}
        with project.instance() as instance:
            looked = run_job(project, instance, version_job(DATASET), recipe=recipe, partition="v1")

    assert {key_of(DATASET, stage) for stage in (Stage.DATASET_VERSION, Stage.MODEL_RUN)} <= keys
    assert key_of(DATASET, Stage.GENERATED) not in keys
    assert (looked.success, looked.error) == (True, None)
    assert left.call("export", f"{DATASET}@v1", "--format", "jsonl", "--to", str(tmp_path / "out")).code == 0
    trained = left.call("train", f"{DATASET}@v1", "--json")
    assert trained.code == 0, trained.err
    assert trained.facts["num_samples"] == 12
    refused = left.call("run", DATASET, "--batch", BATCH)
    assert (refused.code, "no dataset called" in refused.err) == (2, True)


def test_looking_at_a_version_writes_nothing_into_the_chain(made: Home) -> None:
    with made.lake() as lake:
        before = lake.chain(DATASET).length
    with made.entered():
        project = Project()
        with project.instance() as instance:
            assert run_job(
                project, instance, version_job(DATASET), recipe=project.recipe(DATASET), partition="v1"
            ).success

    with made.lake() as lake:
        assert lake.chain(DATASET).length == before
    with instance_for(made.path / "dagster") as instance:
        assert "v1" in instance.get_materialized_partitions(key_of(DATASET, Stage.DATASET_VERSION))


def test_a_recheck_says_what_todays_rules_would_say_and_changes_nothing(made: Home, tmp_path: Path) -> None:
    same = made.call("recheck", DATASET, "--json")
    assert (same.code, same.facts["batches"], same.facts["differing"]) == (0, [BATCH], [])
    real = {"reader": "movie_reviews", "test_rows": 100}
    strict = tiny(
        tmp_path, gates={**ANY_BALANCE, "acceptance_share": {"min": 1.0, "because": "Everything."}}, real_data=real
    )
    now = Home(made.path, recipes=strict)
    with made.lake() as lake:
        before = lake.chain(DATASET).length

    told = now.call("recheck", DATASET, "--json")
    shown = now.call("recheck", DATASET, "--batch", BATCH)

    (each,) = told.facts["differing"]
    assert (each["stage"], each["gate"]) == ("curated", "acceptance_share")
    assert (each["then"]["passed"], each["now"]["passed"]) == (True, False)
    assert "curated.acceptance_share" in shown.out
    assert now.call("recheck", DATASET, "--batch", "2026-11-09").code == 2
    with made.lake() as lake:
        assert lake.chain(DATASET).length == before
