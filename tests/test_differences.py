"""`synth diff` on the small lake: v1 holds samples 0 and 1, v2 samples 0 and 2."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from resources.lake import DuckLake, open_lake
from synth_assets.cli.main import _exit_code
from synth_assets.cli.output import console
from synth_assets.cli.project import Project
from tests.fakes.lake_rows import DATASET, GREEN, SECRET, STOPPED, sample, small_lake

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckLake]:
    home = tmp_path_factory.mktemp("small") / "home"
    small_lake(home).close()
    lake = open_lake(shutil.copytree(home, tmp_path_factory.mktemp("open") / "home"), {})
    yield lake
    lake.close()


@pytest.fixture
def diff(lake: DuckLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("SYNTH_HOME", str(lake.home))
    monkeypatch.setenv("SYNTH_RECIPES", str(tmp_path))
    monkeypatch.setattr(Project, "lake", lake)
    monkeypatch.setattr(console, "_width", 200)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = _exit_code(["diff", *arguments])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def test_two_versions_are_compared_by_label_and_prompt(diff: Run) -> None:
    code, out, _ = diff(DATASET, "v1", "v2")

    assert code == 0
    assert "films from v1 to v2: 1 added, 1 removed, 0 changed" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["pos", "1", "1", "0"] in rows
    assert ["shorts@1", "0", "1", "0"] in rows
    assert ["critics@1", "1", "0", "0"] in rows
    assert sample(2) not in out
    assert SECRET not in out


def test_an_alias_works_wherever_a_number_does(diff: Run) -> None:
    assert diff(DATASET, "production", "latest") == diff(DATASET, "1", "v2")


def test_rows_name_the_samples(diff: Run) -> None:
    code, out, _ = diff(DATASET, "v1", "v2", "--rows")

    assert code == 0
    assert out.splitlines()[-2:] == [f"added {sample(2)}", f"removed {sample(1)}"]


def test_as_json_the_samples_are_there_only_if_asked_for(diff: Run) -> None:
    without, whole = (orjson.loads(diff(DATASET, "v1", "v2", "--json", *more)[1]) for more in ((), ("--rows",)))

    assert whole.pop("rows") == {"added": [sample(2)], "removed": [sample(1)], "changed": []}
    assert without == whole
    assert without["counts"] == {"added": 1, "removed": 1, "changed": 0}
    assert without["distances"] == {"words": 0.0, "quality_score": 0.0, "label": 0.0}


def test_a_version_does_not_differ_from_itself(diff: Run) -> None:
    assert "0 added, 0 removed, 0 changed" in diff(DATASET, "v2", "v2")[1]


def test_two_batches_are_compared_by_their_numbers(diff: Run) -> None:
    code, out, _ = diff(DATASET, GREEN, STOPPED)

    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["counts", "planned", "6", "4", "-2"] in rows
    assert ["counts", "accepted", "4", "0", "-4"] in rows
    assert ["rejected", "length", "1", "0", "-1"] in rows
    assert ["words", "mean", "7", "-", "-"] in rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((DATASET, GREEN, "v1"), "not two batches and not two versions"),
        ((DATASET, "v1", "v9"), "has no version 'v9'"),
        ((DATASET, "1999-01-01", "1999-01-02"), "has no version '1999-01-01'"),
        (("nothing", "v1", "v2"), "nothing is known of 'nothing'"),
        ((DATASET, GREEN, STOPPED, "--rows"), "the samples of two batches are all different ones"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(diff: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = diff(*arguments)

    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 3
