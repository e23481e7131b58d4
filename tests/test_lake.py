"""The lake: a commit is all or nothing, happens once, and leaves one link in the audit chain."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from resources.lake import DuckLake, leases, open_lake, store
from synth_assets.domain.ledger import recorded, sealed
from synth_assets.domain.transactions import Change, Commit, Swap
from synth_assets.errors import IntegrityError, RefusedError, StoppedError
from synth_assets.tables import TABLES
from tests.fakes.lake import MemoryLake
from tests.fakes.postgres import PostgresServer

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
BATCH = {"dataset": "tiny", "batch": "2026-11-01"}
TOUCHED = ("heads", "batches", "usage_log", "stage_commits", "objects", "audit_log")
TEXTS = {"sample_id": pl.String, "text": pl.String}
AnyLake = DuckLake | MemoryLake


@pytest.fixture(scope="module")
def opened(new_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckLake]:
    home = shutil.copytree(new_home, tmp_path_factory.mktemp("lake") / "home")
    lake = open_lake(home, {"SYNTH_ACTOR": "tester"})
    yield lake
    lake.close()


@pytest.fixture
def lake(opened: DuckLake) -> Iterator[DuckLake]:
    """One lake for all tests, emptied after each: opening another takes longer than most of them."""
    yield opened
    for table in TOUCHED:
        opened._connection.execute(f"DELETE FROM lake.{table}")
    shutil.rmtree(opened.home / "ledger", ignore_errors=True)


@pytest.fixture(scope="module")
def opened_on_server(
    server: PostgresServer, new_catalog: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DuckLake]:
    variables = {"SYNTH_ACTOR": "tester", "SYNTH_CATALOG": server.database("lake", like=new_catalog)}
    lake = open_lake(tmp_path_factory.mktemp("lake") / "home", variables)
    yield lake
    lake.close()


@pytest.fixture
def lake_on_server(opened_on_server: DuckLake) -> Iterator[DuckLake]:
    yield opened_on_server
    for table in TOUCHED:
        opened_on_server._connection.execute(f"DELETE FROM lake.{table}")
    shutil.rmtree(opened_on_server.home / "ledger", ignore_errors=True)


@pytest.fixture(params=["lake", "lake_on_server", "in memory"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> AnyLake:
    """The lake on both its catalogs and the fake that other tests use in its place: all must answer alike."""
    return MemoryLake(tmp_path) if request.param == "in memory" else request.getfixturevalue(request.param)


def used(number: int, dataset: str = "tiny") -> Change:
    row = {"dataset": dataset, "version": 1, "action": "export", "actor": "tester", "details": str(number)}
    return Change("usage_log", TABLES["usage_log"].frame([row | {"used_at": NOON + timedelta(minutes=number)}]))


def batch_row(**changes: Any) -> Change:
    row = BATCH | {"promised": 20, "max_attempts": 3, "attempts": 0, "open_attempt": None, "current_from": 0}
    row |= {"fence": 1, "short_accepted_by": None, "opened_at": NOON, "broken_attempts": 0}
    return Change("batches", TABLES["batches"].frame([row | changes]))


def stage_commit(key: str) -> Change:
    row = {"dataset": "tiny", "partition": "2026-11-01", "stage": "scored", "commit_key": key, "commit_seq": 0}
    row |= {"passed": True, "input_digest": "in", "output_digest": "out", "recipe_sha256": "r", "recipe_object": "r"}
    return Change("stage_commits", TABLES["stage_commits"].frame([row | {"run_id": "run", "committed_at": NOON}]))


def commit(key: str, *changes: Change, dataset: str = "tiny", **more: Any) -> Commit:
    details = {"what": f"naïve {key}", "many": [1, 2]}
    return Commit(dataset=dataset, key=key, action="try", run_id="run", details=details, changes=changes, **more)


def everything(lake: AnyLake) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that the commits of these tests could have changed."""
    return {name: sorted(lake.read(name).rows(), key=str) for name in TOUCHED}


def entry_hash(row: dict[str, Any]) -> str:
    """Compute an entry's hash from the stored row alone, with nothing of the project's."""
    told = {name: value for name, value in row.items() if name not in ("entry_sha256", "hmac")}
    told["entered_at"] = row["entered_at"].isoformat()
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def assert_chain_holds(lake: DuckLake, dataset: str, links: int) -> None:
    chain = lake.read("audit_log", dataset=dataset).sort("seq").to_dicts()
    head = lake.read("heads", dataset=dataset).to_dicts()
    hashes = [entry_hash(row) for row in chain]
    assert [row["seq"] for row in chain] == list(range(1, links + 1))
    assert [row["entry_sha256"] for row in chain] == hashes
    assert [row["previous_sha256"] for row in chain] == ["0" * 64, *hashes[:-1]]
    assert [(row["audit_seq"], row["audit_sha256"]) for row in head] == [(links, hashes[-1])]


def test_a_select_reads_the_frames_given_to_it_and_leaves_none_behind(lake: DuckLake) -> None:
    lake.commit(commit("k", used(7)))

    rows = lake.select("select details, n from lake.usage_log, given", given=pl.DataFrame({"n": [1, 2]}))

    assert sorted(rows.rows()) == [("7", 1), ("7", 2)]
    with pytest.raises(duckdb.CatalogException):
        lake.select("select n from given")


def test_a_commit_writes_its_rows_its_payload_and_its_audit_entry(either: AnyLake) -> None:
    stored = either.put(b"{}", ".json")

    receipt = either.commit(commit("one", used(1), payload=[("recipe", "b", stored)]))

    entry = either.read("audit_log", dataset="tiny").row(0, named=True)
    named = either.read("objects", dataset="tiny").row(0, named=True)
    assert either.read("usage_log")["details"].to_list() == ["1"]
    assert (named["kind"], named["batch"], named["object_sha256"], named["num_bytes"]) == (
        "recipe",
        "b",
        stored.sha256,
        2,
    )
    assert (entry["seq"], entry["entry_sha256"]) == (receipt.seq, receipt.entry_sha256)
    assert (entry["action"], entry["actor"], entry["run_id"]) == ("try", "tester", "run")
    details = json.loads(entry["details"])
    binds = details.pop("binds")
    assert details == {"form": 2, "what": "naïve one", "many": [1, 2], "objects": [f"{stored.sha256}.json"]}
    assert binds["payload"] == [["recipe", "b", f"{stored.sha256}.json"]]
    (bound,) = binds["rows"]
    assert bound[:3] == ["usage_log", ["tiny", 1, "export", (NOON + timedelta(minutes=1)).isoformat()], 1]
    assert not receipt.was_replayed


def test_a_commit_whose_swap_does_not_hold_changes_nothing(either: AnyLake) -> None:
    either.commit(commit("open", batch_row()))
    before = everything(either)
    held = Swap("batches", BATCH, {"fence": 1}, {"fence": 2})
    broken = Swap("batches", BATCH, {"attempts": 7}, {"attempts": 8}, otherwise="somebody was faster")

    with pytest.raises(RefusedError, match="somebody was faster"):
        either.commit(commit("late", used(1), swaps=[held, broken], payload=[("x", None, either.put(b"x", ".json"))]))

    assert everything(either) == before


def test_a_commit_whose_second_insert_fails_changes_nothing_and_the_next_one_works(either: AnyLake) -> None:
    either.commit(commit("open", batch_row()))
    before = everything(either)
    without_name = used(2).rows.with_columns(pl.lit(None, pl.String).alias("actor"))

    with pytest.raises(StoppedError, match="nothing was changed"):
        either.commit(commit("bad", used(1), Change("usage_log", without_name)))

    assert everything(either) == before
    either.commit(commit("good", used(3)))
    assert either.read("usage_log")["details"].to_list() == ["3"]
    assert either.read("heads")["audit_seq"].to_list() == [2]


def test_a_commit_with_a_frame_that_lacks_a_column_changes_nothing(either: AnyLake) -> None:
    either.commit(commit("open", batch_row()))
    before = everything(either)

    with pytest.raises(pl.exceptions.PolarsError):
        either.commit(commit("bad", used(1), Change("usage_log", used(2).rows.drop("actor"))))

    assert everything(either) == before
    assert not either.commit(commit("good", used(3))).was_replayed


def test_the_same_key_is_committed_once(either: AnyLake) -> None:
    first = either.commit(commit("same", used(1)))
    again = either.commit(commit("same", used(2)))

    assert (again.seq, again.entry_sha256, again.was_replayed) == (first.seq, first.entry_sha256, True)
    assert either.read("usage_log")["details"].to_list() == ["1"]
    assert either.read("heads")["audit_seq"].to_list() == [1]


def test_every_entry_of_the_chain_names_the_one_before_and_its_hash_can_be_computed_anew(lake: DuckLake) -> None:
    for number in range(4):
        lake.commit(commit(f"k{number}", used(number)))

    assert_chain_holds(lake, "tiny", 4)


def test_every_dataset_has_a_chain_of_its_own(lake: DuckLake) -> None:
    for number in range(2):
        lake.commit(commit("a", used(number), dataset=f"d{number}"))
    lake.commit(commit("b", used(9), dataset="d1"))

    assert_chain_holds(lake, "d0", 1)
    assert_chain_holds(lake, "d1", 2)


def test_a_stage_commit_learns_its_place_in_the_chain(either: AnyLake) -> None:
    either.commit(commit("first", used(1)))
    receipt = either.commit(commit("second", stage_commit("second")))

    assert either.read("stage_commits")["commit_seq"].to_list() == [2] == [receipt.seq]


def test_a_swap_compares_with_null_and_sets_null(either: AnyLake) -> None:
    either.commit(commit("open", batch_row()))
    either.commit(commit("take", swaps=[Swap("batches", BATCH, {"open_attempt": None}, {"open_attempt": 1})]))

    with pytest.raises(RefusedError):
        either.commit(commit("twice", swaps=[Swap("batches", BATCH, {"open_attempt": None}, {"open_attempt": 2})]))

    either.commit(commit("free", swaps=[Swap("batches", BATCH, {"open_attempt": 1}, {"open_attempt": None})]))
    assert either.read("batches")["open_attempt"].to_list() == [None]


def test_a_swap_on_a_row_that_is_not_there_is_refused(either: AnyLake) -> None:
    with pytest.raises(RefusedError):
        either.commit(commit("ghost", swaps=[Swap("batches", BATCH, {"fence": 1}, {"fence": 2})]))
    with pytest.raises(RefusedError):
        either.commit(commit("ghost", swaps=[Swap("batches", BATCH, {}, {"promised": 5})]))


def test_a_swap_without_expectation_only_needs_its_row(either: AnyLake) -> None:
    either.commit(commit("open", batch_row()))
    either.commit(commit("promise", swaps=[Swap("batches", BATCH, {}, {"promised": 5})]))

    assert either.read("batches")["promised"].to_list() == [5]


def test_rows_are_found_by_value_by_list_and_by_null(either: AnyLake) -> None:
    rows = [batch_row(batch=f"b{number}", open_attempt=number or None) for number in range(3)]
    either.commit(commit("open", *rows))

    def found(**equals: Any) -> list[str]:
        return sorted(either.read("batches", **equals)["batch"])

    assert found(batch="b1") == ["b1"]
    assert found(batch=["b0", "b2", "b9"]) == ["b0", "b2"]
    assert found(batch=["b0", "b1"], open_attempt=None) == ["b0"]
    assert found(batch=[]) == []
    assert found(dataset="another") == []


@pytest.mark.parametrize("batch", ["it's", "a?b", "'; DROP TABLE lake.samples; --", '"', "\\'", "ä ö\n", "?'?"])
def test_a_value_finds_its_row_whatever_its_characters_mean_in_sql(lake: DuckLake, batch: str) -> None:
    lake.commit(commit("open", batch_row(batch=batch), batch_row(batch="other")))
    assert lake.read("batches", dataset="tiny", batch=batch, attempts=0)["batch"].to_list() == [batch]
    assert lake.read("batches", dataset=batch).is_empty()


def test_a_change_replaces_exactly_the_rows_it_names(either: AnyLake) -> None:
    either.commit(commit("open", *[batch_row(batch=f"b{number}") for number in range(4)]))
    new = batch_row(batch="b9")

    either.commit(commit("less", Change("batches", new.rows, {"dataset": "tiny", "batch": ["b1", "b2"]})))

    assert sorted(either.read("batches")["batch"]) == ["b0", "b3", "b9"]


def test_what_is_read_has_the_types_of_the_contract_even_when_empty(lake: DuckLake) -> None:
    for name, table in TABLES.items():
        assert dict(lake.read(name).schema) == table.dtypes


def test_payload_comes_back_as_it_was_put_and_is_written_once(lake: DuckLake) -> None:
    stored = lake.put(b"some text", ".json")
    file = lake.objects.path(stored.sha256, ".json")
    written = file.stat().st_ino

    assert lake.put(b"some text", ".json") == stored
    assert lake.get(stored.sha256, ".json") == b"some text"
    assert file.stat().st_ino == written
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_a_payload_file_that_was_harmed_is_never_read(lake: DuckLake, harm: str) -> None:
    stored = lake.put_frame(pl.DataFrame({"sample_id": ["a"], "text": ["b"]}))
    lake.commit(commit("name", payload=[("texts", None, stored)]))
    file = lake.objects.path(stored.sha256, ".parquet")
    if harm == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    else:
        file.unlink()

    with pytest.raises(IntegrityError) as refusal:
        lake.get(stored.sha256, ".parquet")
    with pytest.raises(IntegrityError):
        lake.payload("texts", TEXTS, dataset="tiny")
    assert refusal.value.where == str(file)


def test_equal_frames_have_equal_names_and_others_have_others(either: AnyLake) -> None:
    def frame(text: str) -> pl.DataFrame:
        return pl.DataFrame({"sample_id": ["a", "b"], "text": [text, None]})

    assert either.put_frame(frame("x")) == either.put_frame(frame("x"))
    assert either.put_frame(frame("x")).sha256 != either.put_frame(frame("y")).sha256


def test_payload_of_a_kind_is_one_frame_in_the_order_it_was_stored(either: AnyLake) -> None:
    for number in (2, 0, 1):
        stored = either.put_frame(pl.DataFrame({"sample_id": [str(number)], "text": ["t"]}))
        either.commit(commit(f"k{number}", payload=[("texts", f"b{number}", stored)]))

    assert either.payload("texts", TEXTS, dataset="tiny")["sample_id"].to_list() == ["2", "0", "1"]
    assert either.payload("texts", TEXTS, dataset="tiny", batch="b0")["sample_id"].to_list() == ["0"]
    assert either.payload("answers", TEXTS, dataset="tiny").schema == TEXTS


def test_payload_stays_in_the_order_of_the_chain_whatever_the_clock_said(lake: DuckLake) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(days=365)

    for number in range(2):
        stored = lake.put_frame(pl.DataFrame({"sample_id": [str(number)], "text": ["t"]}))
        lake.commit(commit(f"k{number}", payload=[("texts", "b", stored)]))
    stored = lake.put_frame(pl.DataFrame({"sample_id": ["2"], "text": ["t"]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "datetime", Behind)
        lake.commit(commit("k2", payload=[("texts", "b", stored)]))

    assert lake.payload("texts", TEXTS, dataset="tiny")["sample_id"].to_list() == ["0", "1", "2"]


def test_the_same_bytes_are_named_once_for_each_thing_they_are(either: AnyLake) -> None:
    stored = either.put_frame(pl.DataFrame(schema=TEXTS))
    named = [("texts", "b1", stored), ("texts", "b2", stored), ("answers", "b1", stored)]

    either.commit(commit("one", payload=[*named, named[0]]))
    either.commit(commit("two", payload=named))

    assert sorted(either.read("objects").select("kind", "batch").rows()) == sorted((kind, b) for kind, b, _ in named)


class LateNews:
    """A connection whose first COMMIT is answered with an error, be it before or after it took effect."""

    def __init__(self, connection: Any, *, took_effect: bool) -> None:
        self.connection, self.took_effect, self.commits = connection, took_effect, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql != "COMMIT" or self.commits:
            return self.connection.execute(sql, *values)
        self.commits += 1
        self.connection.execute("COMMIT" if self.took_effect else "ROLLBACK")
        raise duckdb.TransactionException("TransactionContext Error: Failed to commit")


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_commit_that_raised_is_looked_up_and_then_made_once(
    lake: DuckLake, monkeypatch: pytest.MonkeyPatch, took_effect: bool
) -> None:
    monkeypatch.setattr(lake, "_connection", LateNews(lake._connection, took_effect=took_effect))

    receipt = lake.commit(commit("late", used(1)))

    assert not receipt.was_replayed
    assert lake.read("usage_log")["details"].to_list() == ["1"]
    assert lake.read("audit_log")["entry_sha256"].to_list() == [receipt.entry_sha256]
    assert_chain_holds(lake, "tiny", 1)


def test_a_commit_that_raised_is_not_mistaken_for_a_rivals_of_the_same_key(
    lake: DuckLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = LateNews(lake._connection, took_effect=False)
    monkeypatch.setattr(lake, "_connection", late)
    undo = lake._undo

    def undo_while_a_rival_commits() -> None:
        undo()
        lake._write(lake.chain("tiny"), *sealed(commit("same", used(2))))

    monkeypatch.setattr(lake, "_undo", undo_while_a_rival_commits)

    assert lake.commit(commit("same", used(1))).was_replayed
    assert lake.read("usage_log")["details"].to_list() == ["2"]


def test_a_lake_that_keeps_failing_says_so(lake: DuckLake, monkeypatch: pytest.MonkeyPatch) -> None:
    late = LateNews(lake._connection, took_effect=False)
    monkeypatch.setattr(lake, "_connection", late)
    monkeypatch.setattr(store, "COMMIT_TRIES", 1)

    with pytest.raises(StoppedError, match="nothing was changed"):
        lake.commit(commit("never", used(1)))

    assert lake.read("audit_log").is_empty()


COMMITTER = """
import sys
from pathlib import Path
from resources.lake import open_lake
from tests.test_lake import commit, used
home, name = Path(sys.argv[1]), sys.argv[2]
lake = open_lake(home, {"SYNTH_ACTOR": name})
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    lake.commit(commit(f"{name}:{number}", used(number, name)))
"""


def test_two_processes_that_commit_at_once_lose_nothing(home: Path) -> None:
    processes = [python(COMMITTER, home, name) for name in ("left", "right")]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    for process in processes:
        process.communicate()

    lake = open_lake(home, {})
    kept = sorted(lake.read("usage_log").select("dataset", pl.col("details").cast(pl.Int64)).rows())
    assert kept == [(name, number) for name in ("left", "right") for number in range(10)]
    assert_chain_holds(lake, "tiny", 20)
    with lake.ledger.file("tiny").open("rb") as lines:
        assert [record.seq for record in recorded(lines)] == list(range(1, 21))
    lake.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from resources.lake import open_lake
from synth_assets.errors import StoppedError
from tests.test_lake import assert_chain_holds, batch_row, commit, everything, used
lake = open_lake(Path(sys.argv[1]), {})
lake.commit(commit("open", batch_row()))
before = everything(lake)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
tries = {
    "payload": lambda: lake.put(b"x" * 5000, ".json"),
    "catalog": lambda: lake.commit(commit("few", used(1))),
    "data": lambda: lake.commit(commit("many", *[used(number) for number in range(50)])),
}
for name, attempt in tries.items():
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        attempt()
        print(name, "went through")
    except StoppedError as error:
        print(name, "stopped:", error.what.splitlines()[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert everything(lake) == before, name
lake.commit(commit("after", used(7)))
assert_chain_holds(lake, "tiny", 2)
assert not list((Path(sys.argv[1]) / "objects").rglob(".*"))
print("works again")
"""


def test_a_full_disk_stops_safely_and_changes_nothing(home: Path) -> None:
    process = python(FULL_DISK, home)
    out, errors = process.communicate(timeout=60)

    lines = out.splitlines()
    assert process.returncode == 0, errors
    assert [line.split(":")[0] for line in lines[:-1]] == ["payload stopped", "catalog stopped", "data stopped"]
    assert "disk is full" in lines[0]
    assert lines[-1] == "works again"


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    command: Sequence[str] = [sys.executable, "-c", script, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=Path(__file__).parents[1])


def test_a_lease_may_be_dropped_while_another_one_is_taken(home: Path) -> None:
    """The garbage collector lets go of it wherever it happens to run, so also in the thread that holds the lock."""
    held = leases.leased_lake(home)
    held.__enter__()

    def drop() -> None:
        with leases._mutex:
            held.__exit__(None, None, None)

    thread = threading.Thread(target=drop, daemon=True)
    thread.start()
    thread.join(10)

    assert not thread.is_alive()
    assert not any(opened == home for opened, _ in leases._open)


def test_whoever_acts_with_other_settings_gets_a_lake_opened_with_those(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leases.leased_lake(home) as first:
        monkeypatch.setenv("SYNTH_ACTOR", "somebody else")
        with leases.leased_lake(home) as second, leases.leased_lake(home) as third:
            assert (second.actor, second is third) == ("somebody else", True)
            assert first.actor != second.actor
