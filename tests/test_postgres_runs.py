"""Whole commands on a team's Postgres, with the lake and Dagster's runs in one database."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from resources.home import MARKER, made
from resources.instance import dagster_home, instance_for
from tests.command import BATCH, DATASET, LIMIT_S, RUN, Home, tiny, told
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.postgres import PASSWORD, PostgresServer
from tests.test_lake import entry_hash

STAGES = ("generation_plan", "generated", "scored", "curated", "training_ready")
BATCHES = [f"2026-11-0{day}" for day in range(1, 9)]
RIVALS = 4
WAIT_S = 120
SMALL = {"batch": {"accept": 4}}

OPENER = """
import sys
from pathlib import Path
from resources.instance import instance_for
sys.stdin.readline()
with instance_for(Path(sys.argv[1])) as instance:
    print(instance.get_runs_count())
"""


def at(root: Path, provider: ChatProvider, catalog: str, **changes: object) -> Home:
    """A home whose lake and runs are both on the server."""
    variables = {"SYNTH_CATALOG": catalog, "SYNTH_INSTANCE": catalog}
    return Home(root / "home", provider.base_url, tiny(root, **changes), variables=variables)


def assert_sums_add_up(home: Home, batches: list[str], accepted: int) -> None:
    """Requests = answered + quarantined + not sent, samples = accepted + rejected + pending, for every batch."""
    for batch in batches:
        here = {"dataset": DATASET, "batch": batch}
        requests, endings = home.read("requests", **here), home.read("generations", **here)
        samples, decisions = home.read("samples", **here), home.read("decisions", **here)
        assert sorted(requests["request_id"]) == sorted(endings["request_id"])
        assert sorted(samples["sample_id"]) == sorted(decisions["sample_id"])
        assert decisions.filter(pl.col("decision") == "accepted").height == accepted
        assert home.read("training_examples", **here).height == accepted


def assert_audit_is_unbroken(home: Home) -> None:
    chain = home.read("audit_log", dataset=DATASET).sort("seq").to_dicts()
    hashes = [entry_hash(row) for row in chain]
    assert [row["seq"] for row in chain] == list(range(1, len(chain) + 1))
    assert [row["entry_sha256"] for row in chain] == hashes
    assert [row["previous_sha256"] for row in chain] == ["0" * 64, *hashes[:-1]]
    assert home.read("heads", dataset=DATASET)["audit_sha256"].to_list() == [hashes[-1]]


@contextmanager
def killed(processes: list[subprocess.Popen[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Leave no process behind, however the test ends."""
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def wait_until(is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def statuses(home: Home) -> Counter[str]:
    with home.entered(), instance_for(dagster_home()) as instance:
        return Counter(run.status.value for run in instance.get_runs())


@pytest.mark.slow
def test_a_batch_ends_green_and_its_checks_and_materializations_are_on_the_server(
    server: PostgresServer, catalog: str, tmp_path: Path
) -> None:
    with ChatProvider() as provider:
        home = at(tmp_path, provider, catalog, **SMALL)
        done = home.call(*RUN)

    assert done.code == 0, done.err
    assert_sums_add_up(home, [BATCH], 4)
    assert_audit_is_unbroken(home)
    assert not (home.path / "catalog.sqlite").exists()
    assert list((home.path / "dagster").rglob("*.db")) == []
    with home.entered(), instance_for(home.path / "dagster") as instance:
        for stage in STAGES:
            assert instance.get_materialized_partitions(dg.AssetKey([DATASET, stage])) == {BATCH}
        run = instance.get_runs()[0]
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    assert run.status == dg.DagsterRunStatus.SUCCESS
    assert events
    assert all(event.dagster_event.asset_check_evaluation_data.passed for event in events)
    assert_password_is_nowhere(server, home)


def assert_password_is_nowhere(server: PostgresServer, home: Home) -> None:
    """Neither in the tables of the database nor in the files of the home."""
    database = home.variables["SYNTH_CATALOG"].partition("?")[0].rpartition("/")[2]
    tables = server.do("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database)
    parts = (PASSWORD[:9], "p%40ss")
    for (table,) in tables:
        rows = str(server.do(f'SELECT * FROM "{table}"', database))
        assert not any(part in rows for part in parts), table
    for file in home.path.rglob("*"):
        assert not file.is_file() or not any(part.encode() in file.read_bytes() for part in parts), file


@pytest.mark.slow
def test_processes_that_open_an_empty_instance_at_once_all_succeed(database: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", variables={"SYNTH_CATALOG": database})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", OPENER]
    folders = [tmp_path / f"host{number}" for number in range(RIVALS)]
    processes = [subprocess.Popen([*command, folder], env=home.environment, **pipes) for folder in folders]

    ended = [(*process.communicate("go\n", timeout=WAIT_S), process.returncode) for process in processes]

    assert [(out, code) for out, _, code in ended] == [("0\n", 0)] * RIVALS, ended
    assert statuses(home) == {}


@pytest.mark.slow
def test_eight_batches_in_eight_processes_on_a_database_that_is_new_all_end_green(
    server: PostgresServer, database: str, tmp_path: Path
) -> None:
    with ChatProvider(latency_s=0.05) as provider:
        home = at(tmp_path, provider, database, **SMALL)
        with killed([home.start("run", DATASET, "--batch", batch) for batch in BATCHES]) as started:
            ended = [told(each, limit_s=8 * LIMIT_S) for each in started]

    assert [each.code for each in ended] == [0] * 8, [each.err for each in ended]
    assert set(provider.paid_calls.values()) == {1}
    assert_sums_add_up(home, BATCHES, 4)
    assert_audit_is_unbroken(home)
    assert statuses(home) == {"SUCCESS": 8}
    assert_password_is_nowhere(server, home)


@pytest.mark.slow
def test_of_many_runs_of_a_batch_exactly_one_works_and_nothing_is_paid_twice(catalog: str, tmp_path: Path) -> None:
    """Each with a home of its own, as hosts have that share a server."""
    with ChatProvider(latency_s=0.05) as provider:
        home = at(tmp_path, provider, catalog, **SMALL)
        hosts = [
            replace(
                home, path=tmp_path / f"host{number}", variables={**home.variables, "SYNTH_LLM_API_KEY": f"sk-{number}"}
            )
            for number in range(RIVALS)
        ]
        for host in hosts:  # their locks are their own; what hosts have to share is shared
            (host.path / "ledger").parent.mkdir()
            (home.path / "ledger").mkdir(parents=True, exist_ok=True)
            (host.path / "ledger").symlink_to(home.path / "ledger", target_is_directory=True)
            made(home.path)
            (host.path / MARKER).symlink_to(home.path / MARKER)
        provider.hold()
        with killed([host.start(*RUN) for host in hosts]) as started:
            assert provider.arrived.wait(WAIT_S)
            wait_until(lambda: sum(each.poll() is not None for each in started) == RIVALS - 1)
            provider.go()
            ended = [told(each) for each in started]

    done = [each for each in ended if each.code != 3]
    refused = [each for each in ended if each.code == 3]

    assert [each.code for each in done] == [0], [each.err for each in ended]
    assert all("is being worked on by process" in each.err or "at the same moment" in each.err for each in refused)
    assert len(provider.keys_seen()) == 1
    assert set(provider.paid_calls.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("instance", ["on the server", "in a folder"])
def test_a_server_lost_while_answers_come_in_costs_nothing(
    server: PostgresServer, catalog: str, tmp_path: Path, instance: str
) -> None:
    with ChatProvider() as provider:
        home = at(tmp_path, provider, catalog, **SMALL)
        if instance == "in a folder":
            home = replace(home, variables={"SYNTH_CATALOG": catalog, "SYNTH_INSTANCE": str(tmp_path / "runs")})
        provider.hold()
        with killed([home.start(*RUN)]) as [running]:
            assert provider.arrived.wait(WAIT_S)
            server.stop()
            try:
                provider.go()
                stopped, still_down = told(running), home.synth(*RUN)
            finally:
                server.start()
        paid = Counter(provider.paid_calls)
        again = home.synth(*RUN)

    for each in (stopped, still_down):
        assert each.code == 1, each.err
        assert "Traceback" not in each.err
        assert "everything finished is kept" in each.err or "nothing was changed" in each.err
        assert "where: SYNTH_CATALOG, postgresql://" in each.err or "where: SYNTH_INSTANCE, postgresql://" in each.err
        assert "fix:" in each.err
        assert each.err.count("trying again for a while") <= 1
        assert "sqlalche.me" not in each.err
        assert PASSWORD[:9] not in each.out + each.err
    assert again.code == 0, again.err
    assert paid
    assert provider.paid_calls == paid
    assert set(paid.values()) == {1}
    assert_sums_add_up(home, [BATCH], 4)
    assert_audit_is_unbroken(home)
    assert statuses(home) == {"SUCCESS": 1, "FAILURE": 1}
