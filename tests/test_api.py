"""`load_dataset`: a released version in a program, proven first and written down."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import synth_assets
from resources.actor import acting_as
from resources.lake import open_lake
from synth_assets import load_dataset
from synth_assets.errors import IntegrityError, RefusedError, UsageError
from tests.fakes.lake_rows import SECRET, sample, small_lake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("api") / "home"
    small_lake(home).close()
    return home


@pytest.fixture
def home(made: Path, copy_of: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SYNTH_CATALOG", raising=False)
    monkeypatch.setenv("SYNTH_ACTOR", "grace")
    home: Path = copy_of(made)
    monkeypatch.setenv("SYNTH_HOME", str(home))
    return home


def used(home: Path) -> list[dict[str, Any]]:
    lake = open_lake(home, {})
    try:
        return lake.read("usage_log").to_dicts()
    finally:
        lake.close()


def test_a_version_is_a_frame_with_its_texts_labels_and_splits(home: Path) -> None:
    frame = load_dataset("films@v2")

    assert frame.columns[:4] == ["sample_id", "text", "label", "split"]
    assert frame.select("sample_id", "text", "split").rows() == [
        (sample(0), f"{SECRET} 0", "validation"),
        (sample(2), f"{SECRET} 2", "train"),
    ]
    assert load_dataset("films@latest", split="train")["sample_id"].to_list() == [sample(2)]


def test_loading_is_written_down_with_who_what_and_what_for(home: Path) -> None:
    load_dataset("films@v2", split="train", purpose="sentiment model", run_id="run-7")

    (row,) = used(home)
    details = orjson.loads(row["details"])
    assert (row["action"], row["version"], row["actor"]) == ("load_dataset", 2, "grace")
    assert {"purpose": "sentiment model", "run_id": "run-7", "rows": 1, "destination": "memory"}.items() <= (
        details.items()
    )
    assert len(details["digest"]) == 64
    lake = open_lake(home, {})
    entry = lake.read("audit_log", action="load_dataset").row(0, named=True)
    lake.close()
    assert (entry["run_id"], entry["actor"]) == ("run-7", "grace")
    assert orjson.loads(entry["details"])["version"] == 2


def test_a_release_that_was_tampered_with_is_not_loaded(home: Path) -> None:
    file = home / "releases/films/v2/samples.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"pos"', b'"neg"'))

    with pytest.raises(IntegrityError, match="was changed"):
        load_dataset("films@v2")

    assert used(home) == []


@pytest.mark.parametrize(
    ("version", "split"), [("films@v9", None), ("films", None), ("nobody@v1", None), ("films@v2", "dev")]
)
def test_what_there_is_not_is_a_usage_error(home: Path, version: str, split: str | None) -> None:
    with pytest.raises(UsageError):
        load_dataset(version, split=split)

    assert used(home) == []


@pytest.mark.parametrize(("version", "shown"), [(None, "NoneType"), (2, "int"), (b"films@v2", "bytes")])
def test_what_is_no_text_names_no_version(home: Path, version: Any, shown: str) -> None:
    with pytest.raises(UsageError, match=f"a value of type {shown} names no version"):
        load_dataset(version)


def test_a_split_that_is_no_text_is_a_usage_error(home: Path) -> None:
    split: Any = 1

    with pytest.raises(UsageError, match="no split '1'"):
        load_dataset("films@v2", split=split)


def test_a_version_a_takedown_touched_is_not_loaded(home: Path) -> None:
    with pytest.raises(RefusedError, match="taken down"):
        load_dataset("films@v1")


def test_a_home_without_data_is_not_made_by_looking(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data"):
        load_dataset("films@v1", home=tmp_path / "empty")

    assert not (tmp_path / "empty").exists()


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, synth_assets; print(sorted({'polars', 'duckdb', 'dagster', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())

    assert done.stdout.strip() == "[]"


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_datasets'"):
        _ = synth_assets.load_datasets


def test_the_actor_is_the_variable_or_the_system_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert acting_as({"SYNTH_ACTOR": " rosa "}) == "rosa"
    monkeypatch.setattr("resources.actor.getuser", lambda: "root")
    assert acting_as({"SYNTH_ACTOR": "  "}) == "root"


def test_a_user_without_a_name_acts_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1001")

    monkeypatch.setattr("resources.actor.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 1001)

    assert acting_as({}) == "uid 1001"
