"""What is damaged or may only be read: one paragraph that names the file, and nothing is written."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import polars as pl
import pytest

from resources.lake import DuckLake, leases, store
from resources.lake.confined import run_confined
from resources.lake.damage import read_error
from synth_assets import load_dataset
from synth_assets.errors import RefusedError, UsageError
from tests.command import Home
from tests.fakes.lake_rows import DATASET, small_lake

READING = (
    ("status", DATASET, "--json"),
    ("versions", DATASET, "--json"),
    ("diff", DATASET, "2026-11-01", "2026-11-02"),
    ("lineage", "--version", f"{DATASET}@v1"),
    ("audit", "log"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = small_lake(tmp_path_factory.mktemp("made") / "home")
    lake.close()
    return lake.home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(made, tmp_path / "home")), recipes=tmp_path)


def files(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in home.rglob("*") if file.is_file()}


@contextmanager
def unwritable(home: Path) -> Iterator[None]:
    """Mount the home read-only; where that needs rights we lack, say of it that it is, and compare its files."""
    before = files(home)
    if subprocess.run(["mount", "--bind", "-o", "ro", home, home], capture_output=True, check=False).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", home], check=True)
    else:
        with (
            mock.patch.object(store, "is_writable", return_value=False),
            mock.patch.object(leases, "is_writable", return_value=False),
            mock.patch("resources.lake.connection.is_writable", return_value=False),
        ):
            yield
    assert files(home) == before


def test_commands_that_read_work_on_a_home_that_cannot_be_written_to(home: Home) -> None:
    writable = {command: home.call(*command) for command in READING}
    with unwritable(home.path):
        assert {command: home.call(*command) for command in READING} == writable
        verified = home.call("audit", "verify", DATASET)
        asked = home.call("query", "--json", "SELECT count(*) AS n FROM samples")

    assert {told.code for told in writable.values()} == {0}
    assert "looked at" in verified.out
    assert (asked.code, asked.facts[0]["n"] > 0) == (0, True)


def test_what_has_to_write_is_refused_on_such_a_home_in_one_paragraph(home: Home, tmp_path: Path) -> None:
    with unwritable(home.path):
        told = home.call("export", f"{DATASET}@v1", "--format", "jsonl", "--to", str(tmp_path / "copy"))
        with home.entered(), pytest.raises(RefusedError, match="cannot be written to"):
            load_dataset(f"{DATASET}@v1")

    assert (told.code, told.err.count("\n")) == (3, 3)
    assert "SYNTH_HOME cannot be written to" in told.err
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_reading_where_nothing_was_made_makes_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    told = Home(tmp_path / "nowhere", recipes=tmp_path).call(*command)

    assert (told.code, list(tmp_path.iterdir())) == (2, [])


@pytest.mark.parametrize("damage", ["cut", "garbage", "gone", "flipped"])
def test_a_damaged_file_of_the_lake_is_named(home: Home, damage: str) -> None:
    rows = pl.DataFrame({"filler": ["x" * 50] * 5})
    with home.lake() as lake:
        table = lake.read("samples")
        lake._connection.execute("CALL ducklake_flush_inlined_data('lake')")
    file = next((home.path / "lake").glob("*/samples/**/*.parquet"))
    data = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "garbage":
        file.write_bytes(b"no Parquet at all\n" * rows.height)
    else:
        data[4 : len(data) // 2] = bytes(byte ^ 0x55 for byte in data[4 : len(data) // 2])
        file.write_bytes(data)

    told = [home.call("status", DATASET), home.call("query", "SELECT * FROM samples")]

    assert table.height
    assert [each.code for each in told] == [4, 4]
    assert all(str(file) in each.err and "Traceback" not in each.err for each in told)


@pytest.mark.parametrize("data", [b"", b"no database\n" * 400, None], ids=["empty", "text", "half"])
@pytest.mark.parametrize("command", [READING[0], ("audit", "verify"), ("query", "SELECT 1")], ids=lambda each: each[0])
def test_a_damaged_catalog_is_named_and_never_taken_for_a_new_one(
    home: Home, data: bytes | None, command: tuple[str, ...]
) -> None:
    catalog = home.path / "catalog.sqlite"
    whole = catalog.read_bytes()
    catalog.write_bytes(whole[: len(whole) // 2] if data is None else data)

    told = home.call(*command)

    assert (told.code, str(catalog) in told.err) == (4, True)


class PanicException(BaseException):
    pass


def test_a_panic_inside_the_reader_is_a_refusal_like_any_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr(store.pl, "DataFrame", panics)

    told = home.call("audit", "log")

    assert (told.code, "PanicException" in told.err) == (4, True)


def test_a_mistake_of_ours_is_no_damage(home: Home) -> None:
    with home.lake() as lake, pytest.raises(Exception, match="no_such_column"):
        lake.select("SELECT no_such_column FROM lake.samples")


def test_memory_that_runs_out_is_no_damage(tmp_path: Path) -> None:
    import duckdb

    assert read_error(duckdb.OutOfMemoryException("failed to allocate"), None, tmp_path).exit_code == 1


# --- queries in a child -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT len(range(150000000))",
        "SELECT length(repeat('a', 1200000000))",
    ],
)
def test_a_query_that_wants_too_much_memory_ends_as_a_mistake(home: Home, sql: str) -> None:
    with pytest.raises(UsageError, match="512MB of memory"):
        run_confined(home.path, home.environment, sql, None)


def test_a_query_that_cannot_be_interrupted_is_ended_in_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.lake.confined.TIME_LIMIT_S", 1.0)
    monkeypatch.setattr("resources.lake.confined.START_S", 1.0)
    sql = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 8"

    with pytest.raises(UsageError, match="was stopped"):
        run_confined(home.path, home.environment, sql, None)


@pytest.mark.parametrize("value", ["'infinity'::TIMESTAMP", "['-infinity'::DATE]"])
def test_a_time_without_end_is_shown_as_text(home: Home, value: str) -> None:
    told = home.call("query", "--json", f"SELECT {value} AS at, 7 AS n")

    assert (told.code, told.facts[0]["n"], "infinity" in told.facts[0]["at"]) == (0, 7, True)


def test_a_lake_that_may_only_be_read_commits_nothing(home: Home) -> None:
    lake = DuckLake(home.path, None, {"SYNTH_ACTOR": "ada"}, is_read_only=True)

    with pytest.raises(RefusedError, match="has to write"):
        lake.commit(mock.Mock(changes=[], payload=[], swaps=[], details={}, key="k", dataset=DATASET))
    lake.close()
