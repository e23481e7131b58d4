"""A team's Postgres: its address and password, its locks, and what happens when it goes away and comes back."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from resources import owners
from resources.claims import Claims, cutting, is_free
from resources.home import MARKER, made
from resources.instance import RETRYING, instance_for, retries_in_one_line
from resources.lake import DuckLake, open_lake
from resources.lake.query import run_query
from resources.locks import FileLock, ServerLock, advisory_key, holding
from resources.owners import Owners
from resources.postgres import catalog_server, instance_server
from synth_assets.cli import checkup, home_checks
from synth_assets.domain.transactions import Commit
from synth_assets.errors import RefusedError, StoppedError, SynthError, UsageError
from synth_assets.recipe import Recipe, load_recipe
from tests.command import Home, tiny
from tests.fakes.postgres import PASSWORD, PostgresServer
from tests.fakes.recipes import write_recipe
from tests.test_lake import assert_chain_holds, commit, used

BATCH = "2026-11-01"
NOWHERE = f"postgresql://ada:{'s3cret'}@/nothing?host=/nowhere"

HOLDER = """
import os, sys
from pathlib import Path
from resources.claims import Claims
from resources.lake import open_lake
from synth_assets.recipe import load_recipe
home = Path(sys.argv[1])
claims = Claims(open_lake(home), home)
claims.hold(load_recipe(Path(sys.argv[2])).model, sys.argv[3])
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path))


@pytest.fixture
def lake(catalog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DuckLake]:
    """The lake of a team, as the commands of this process find it too."""
    monkeypatch.setenv("SYNTH_CATALOG", catalog)
    lake = open_lake(tmp_path / "home")
    yield lake
    lake.close()


def database_of(lake: DuckLake) -> str:
    return lake.server.parameters["dbname"]


def is_clear(error: SynthError, kind: type[SynthError]) -> bool:
    """Whether an error says what, where and fix, and no password, whole or in pieces."""
    return type(error) is kind and "SYNTH_" in error.where and bool(error.fix) and PASSWORD[:4] not in str(error)


# --- addresses


def test_an_address_is_taken_apart_and_its_password_is_shown_nowhere() -> None:
    address = "postgresql+psycopg2://ada%40home:p%40ss%2F%25%27@db.example.com:5433/synth?sslmode=require"

    server = catalog_server({"SYNTH_CATALOG": address})

    assert server.parameters["user"] == "ada@home"
    assert server.parameters["password"] == "p@ss/%'"
    assert server.parameters["sslmode"] == "require"
    assert server.shown == "postgresql://ada@home@db.example.com:5433/synth"
    assert "p@ss" not in repr(server) + server.shown
    assert "p%40ss" not in repr(server) + server.shown


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_every_way_to_write_the_scheme_means_the_one_driver(scheme: str) -> None:
    server = catalog_server({"SYNTH_CATALOG": f"{scheme}://ada@db/synth"})

    assert server.url == "postgresql+psycopg2://ada@db/synth"
    assert server.parameters["dbname"] == "synth"


@pytest.mark.parametrize(
    "address",
    [
        "mysql://ada:s3cret@db/synth",
        "/some/folder/s3cret",
        "postgresql://ada:s3cret%@db/synth",
        "postgresql://ada:s3cret@db/synth?colour=red",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(UsageError) as refusal:
        catalog_server({"SYNTH_CATALOG": address})

    assert refusal.value.where == "SYNTH_CATALOG"
    assert "s3cret" not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_runs_are_kept_where_the_catalog_is_unless_something_else_is_said() -> None:
    catalog = {"SYNTH_CATALOG": "postgresql://ada@db/synth"}

    assert catalog_server({}) is None
    assert instance_server({}) is None
    assert instance_server(catalog).url == "postgresql+psycopg2://ada@db/synth"
    assert instance_server({**catalog, "SYNTH_INSTANCE": "/some/folder"}) is None
    assert instance_server({**catalog, "SYNTH_INSTANCE": "postgresql://ada@db/runs"}).parameters["dbname"] == "runs"
    with pytest.raises(UsageError, match="SYNTH_INSTANCE"):
        instance_server({"SYNTH_INSTANCE": "mysql://db/runs"})


def test_a_server_that_is_not_there_is_one_clear_stop(tmp_path: Path) -> None:
    for attempt in (
        lambda: open_lake(tmp_path / "home", {"SYNTH_CATALOG": NOWHERE}),
        lambda: run_query(tmp_path / "home", {"SYNTH_CATALOG": NOWHERE}, "SELECT 1"),
        lambda: instance_server({"SYNTH_INSTANCE": NOWHERE}).session(),
    ):
        with pytest.raises(StoppedError) as stop:
            attempt()
        assert is_clear(stop.value, StoppedError)
        assert "s3cret" not in str(stop.value)


def test_a_wrong_password_is_refused_by_the_server_and_not_repeated(server: PostgresServer, catalog: str) -> None:
    role, _, rest = catalog.partition("://")[2].partition(":")
    wrong = f"postgresql://{role}:s3cret@{rest.partition('@')[2]}"

    with pytest.raises(StoppedError, match="password authentication failed") as stop:
        catalog_server({"SYNTH_CATALOG": wrong}).session()

    assert "s3cret" not in str(stop.value)


# --- the lake


def test_a_role_and_a_password_of_odd_characters_open_the_lake(lake: DuckLake, tmp_path: Path) -> None:
    lake.commit(commit("one", used(1)))

    found = run_query(tmp_path / "home", {"SYNTH_CATALOG": lake.server.url}, "SELECT details FROM usage_log")

    assert found["details"].to_list() == ["1"]


def test_a_database_without_a_catalog_has_nothing_to_query(database: str, tmp_path: Path) -> None:
    made(tmp_path / "home")
    with pytest.raises(UsageError, match="nothing to query yet") as refusal:
        run_query(tmp_path / "home", {"SYNTH_CATALOG": database}, "SELECT * FROM usage_log")

    assert is_clear(refusal.value, UsageError)


def test_a_query_does_not_reach_the_server_past_the_lake(lake: DuckLake, tmp_path: Path) -> None:
    for sql in (
        "SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "SELECT * FROM __ducklake_metadata_lake.public.ducklake_snapshot",
        "SELECT path FROM duckdb_databases()",
    ):
        with pytest.raises(UsageError) as refusal:
            run_query(tmp_path / "home", {"SYNTH_CATALOG": lake.server.url}, sql)
        assert PASSWORD[:4] not in str(refusal.value)


def test_a_lost_server_stops_the_lake_clearly_and_the_lake_recovers_with_it(
    server: PostgresServer, lake: DuckLake
) -> None:
    lake.commit(commit("before", used(1)))
    server.stop()
    try:
        for attempt in (lambda: lake.read("usage_log"), lambda: lake.commit(commit("down", used(2)))):
            with pytest.raises(StoppedError) as stop:
                attempt()
            assert is_clear(stop.value, StoppedError)
    finally:
        server.start()

    assert lake.read("usage_log")["details"].to_list() == ["1"]
    assert not lake.commit(commit("after", used(3))).was_replayed
    assert sorted(lake.read("usage_log")["details"]) == ["1", "3"]
    assert_chain_holds(lake, "tiny", 2)


def test_a_restart_between_two_uses_is_not_even_noticed(server: PostgresServer, lake: DuckLake) -> None:
    lake.commit(commit("before", used(1)))
    server.stop()
    server.start()

    assert lake.commit(commit("after", used(2))).seq == 2


class Interrupted:
    """A connection that does something just before its first COMMIT."""

    def __init__(self, connection: Any, before_commit: Any) -> None:
        self.connection, self.before_commit = connection, before_commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT" and self.before_commit is not None:
            act, self.before_commit = self.before_commit, None
            act()
        return self.connection.execute(sql, *values)


def test_sessions_that_end_in_the_middle_of_a_commit_cost_nothing_but_another_try(
    server: PostgresServer, lake: DuckLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(commit("before", used(1)))
    cut = Interrupted(lake._connection, lambda: server.end_sessions(database_of(lake)))
    monkeypatch.setattr(lake, "_connection", cut)

    receipt = lake.commit(commit("cut off", used(2)))

    assert cut.before_commit is None
    assert (receipt.seq, receipt.was_replayed) == (2, False)
    assert_chain_holds(lake, "tiny", 2)


def test_a_server_lost_in_the_middle_of_a_commit_leaves_all_or_nothing(
    server: PostgresServer, lake: DuckLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(commit("before", used(1)))
    monkeypatch.setattr(lake, "_connection", Interrupted(lake._connection, server.stop))
    try:
        with pytest.raises(StoppedError, match="lost while committing") as stop:
            lake.commit(commit("cut off", used(2)))
    finally:
        server.start()

    assert is_clear(stop.value, StoppedError)
    assert lake.read("usage_log").height == lake.read("audit_log").height == 1
    assert not lake.commit(commit("cut off", used(2))).was_replayed
    assert_chain_holds(lake, "tiny", 2)


def test_a_transaction_in_conflict_is_tried_again_as_a_whole(
    lake: DuckLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival does not know the lock, as one whose session died: only the transactions are left to tell."""
    lake.commit(commit("before", used(1)))
    rival = open_lake(another_host(lake, tmp_path))
    rival._commit_lock = FileLock(tmp_path / "another.lock")
    monkeypatch.setattr(
        lake, "_connection", Interrupted(lake._connection, lambda: rival.commit(commit("rival", used(2))))
    )

    receipt = lake.commit(commit("ours", used(3)))

    assert (receipt.seq, receipt.was_replayed) == (3, False)
    assert sorted(lake.read("usage_log")["details"]) == ["1", "2", "3"]
    assert_chain_holds(lake, "tiny", 3)
    rival.close()


# --- locks and claims


def locks(lake: DuckLake, name: str) -> tuple[ServerLock, ServerLock]:
    return ServerLock(lake.server, name), ServerLock(lake.server, name)


def test_a_lock_is_held_by_one_until_it_is_released_or_its_session_ends(server: PostgresServer, lake: DuckLake) -> None:
    first, second = locks(lake, "a")
    other, _ = locks(lake, "b")

    assert first.acquire(wait_s=0)
    assert other.acquire(wait_s=0)
    assert not second.acquire(wait_s=0)
    assert not second.acquire(wait_s=0.01)
    first.release()
    assert second.acquire(wait_s=0.01)
    server.end_sessions(database_of(lake))
    assert not second.is_held()
    assert first.acquire(wait_s=0)
    assert first.is_held()
    second.release()
    assert first.is_held()


def test_who_waits_too_long_for_a_moment_of_writing_is_told_the_lock(lake: DuckLake) -> None:
    first, second = locks(lake, "a")
    first.acquire(wait_s=0)

    with pytest.raises(StoppedError, match="another process") as stop, holding(second, wait_s=0.01):
        pass

    assert "advisory lock 'a'" in stop.value.where


def test_the_number_of_a_lock_fits_postgres_and_differs_by_name() -> None:
    numbers = {advisory_key(f"claim tiny {day}") for day in range(1000)}

    assert len(numbers) == 1000
    assert min(numbers) < 0 < max(numbers)
    assert all(-(2**63) <= number < 2**63 for number in numbers)


@contextmanager
def another_process(home: Path, recipe: Recipe) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the batch until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home), str(recipe.folder), BATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def another_host(lake: DuckLake, tmp_path: Path) -> Path:
    """A home whose locks are its own, as on another host; what hosts have to share is shared."""
    home = tmp_path / "another host"
    home.mkdir()
    (lake.home / "ledger").mkdir(exist_ok=True)
    (home / "ledger").symlink_to(lake.home / "ledger", target_is_directory=True)
    (home / MARKER).symlink_to(lake.home / MARKER)
    return home


def test_a_claim_on_the_server_is_seen_from_another_home_and_dies_with_its_holder(
    lake: DuckLake, recipe: Recipe, tmp_path: Path
) -> None:
    """A file could not tell them."""
    claims = Claims(lake, lake.home)
    with another_process(another_host(lake, tmp_path), recipe) as holder:
        with pytest.raises(RefusedError, match=f"worked on by process {holder.pid} on"):
            claims.hold(recipe.model, BATCH)
        assert not is_free(lake.home, "tiny", BATCH)
        holder.kill()
        holder.wait(timeout=30)

        assert claims.hold(recipe.model, BATCH).fence == 2
    claims.release()
    assert is_free(lake.home, "tiny", BATCH)


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_whose_session_ended_is_owned_again_as_long_as_its_process_lives(
    server: PostgresServer, lake: DuckLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was restarted has forgotten every session."""
    monkeypatch.setattr(owners, "RENEW_EVERY_S", 0.05)
    ours, daemons = Owners(Path(), lake.server), Owners(Path(), lake.server)
    assert ours.own("run")
    assert daemons.lives("run")
    assert not daemons.own("run")

    server.end_sessions(database_of(lake))
    until(lambda: daemons.lives("run"))

    assert not ours.has_lost("run")
    ours.give_back("run")
    assert not daemons.lives("run")


def test_a_run_that_nobody_owns_is_given_time_where_a_server_may_have_forgotten_its_owner(
    catalog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTH_CATALOG", catalog)
    with instance_for(tmp_path / "dagster") as instance:

        @dg.job
        def waits() -> None: ...

        run = instance.create_run_for_job(waits, status=dg.DagsterRunStatus.STARTED)
        launcher = instance.run_launcher
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        monkeypatch.setattr("resources.launcher.GRACE_S", 0.0)
        assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_who_lost_the_session_of_a_claim_to_a_rival_cannot_commit(
    server: PostgresServer, lake: DuckLake, recipe: Recipe, tmp_path: Path
) -> None:
    claims = Claims(lake, lake.home)
    lost = claims.hold(recipe.model, BATCH)
    server.end_sessions(database_of(lake))

    with another_process(another_host(lake, tmp_path), recipe):
        with pytest.raises(RefusedError, match="claimed by another process"):
            lake.commit(guarded("late", lost))
        for _ in range(2):
            with pytest.raises(RefusedError, match="worked on by process"):
                claims.hold(recipe.model, BATCH)
    claims.release()

    assert lake.read("audit_log", commit_key="late").is_empty()


def test_a_claim_whose_session_ended_is_taken_anew_and_the_old_one_is_worthless(
    server: PostgresServer, lake: DuckLake, recipe: Recipe
) -> None:
    claims = Claims(lake, lake.home)
    lost = claims.hold(recipe.model, BATCH)
    server.end_sessions(database_of(lake))

    held = claims.hold(recipe.model, BATCH)

    assert (lost.fence, held.fence) == (1, 2)
    with pytest.raises(RefusedError, match="claimed by another process"):
        lake.commit(guarded("late", lost))
    assert not lake.commit(guarded("fine", held)).was_replayed
    claims.release()
    assert is_free(lake.home, "tiny", BATCH)


def guarded(key: str, claim: Any) -> Commit:
    return Commit(dataset="tiny", key=key, action="try", run_id="", details={}, swaps=[claim.guard()])


def test_one_process_at_a_time_cuts_a_version(lake: DuckLake, tmp_path: Path) -> None:
    with cutting(lake.home, "tiny"):
        with pytest.raises(RefusedError, match="cutting or verifying"), cutting(tmp_path / "another host", "tiny"):
            pass
        with cutting(tmp_path / "another host", "other"):
            pass
    with cutting(tmp_path / "another host", "tiny"):
        pass


# --- what a person sees


def test_dagsters_retries_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with retries_in_one_line():
        for _ in range(3):
            logging.getLogger().warning("%s: %s", RETRYING, "ignored")
            logging.getLogger().warning(f"{RETRYING}: a page of advice")
        logging.getLogger().warning("something else")

    told = [record.getMessage() for record in caplog.records]
    assert [line for line in told if "advice" in line] == []
    assert len([line for line in told if "does not answer" in line]) == 1
    assert told[-1] == "something else"


def test_doctor_says_which_server_it_talks_to_and_whether_it_answers(
    server: PostgresServer, catalog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "CHECKS", ())
    monkeypatch.setattr(checkup, "OF_A_HOME", (home_checks._catalog, home_checks._dagster_instance))
    home = Home(tmp_path / "home", recipes=tiny(tmp_path), variables={"SYNTH_CATALOG": catalog})
    shown = catalog_server(home.variables).shown
    open_lake(home.path, home.variables).close()

    up = home.call("doctor")
    server.stop()
    try:
        down = home.call("doctor")
    finally:
        server.start()

    assert f"catalog: SYNTH_CATALOG, {shown} opens; datasets: none yet" in up.out
    assert f"dagster instance: SYNTH_CATALOG, {shown} opens; 0 runs" in up.out
    assert "problem  catalog: the Postgres server does not answer" in down.out
    assert "problem  dagster instance: the Postgres server does not answer" in down.out
    assert down.code == 1
    assert PASSWORD[:4] not in up.out + up.err + down.out + down.err
