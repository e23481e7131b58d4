"""What a folder must be to be worked on: the home that its catalog and Dagster's instance know."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from resources.home import MARKER, MEANT, _written, identity_of, made
from resources.instance import dagster_home, instance_for
from resources.lake import open_lake
from resources.wiring import LakeResource
from synth_assets.errors import IntegrityError, UsageError
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider

OF_A_HOME = [
    ("status",),
    ("status", DATASET),
    ("versions", DATASET),
    ("diff", DATASET, "v1", "v2"),
    ("lineage", "--version", f"{DATASET}@v1"),
    ("query", "SELECT 1"),
    ("audit", "log"),
    ("audit", "verify"),
    ("recheck", DATASET),
    ("release", DATASET),
    ("train", f"{DATASET}@v1"),
    ("export", f"{DATASET}@v1", "--format", "jsonl", "--to", "out"),
    ("accept-short", DATASET, BATCH, "--reason", "enough"),
]
"""Every command that works on what was made before."""


@pytest.fixture
def provider() -> Iterator[ChatProvider]:
    with ChatProvider() as provider:
        yield provider


@pytest.fixture
def empty(tmp_path: Path, provider: ChatProvider) -> Home:
    """An empty folder, as a volume that is not mounted leaves it."""
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home", provider.base_url, tiny(tmp_path))


@pytest.mark.parametrize("command", OF_A_HOME, ids=" ".join)
@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "missing"])
def test_a_folder_that_is_no_home_is_said_and_stays_as_it_was(
    empty: Home, command: tuple[str, ...], *, is_there: bool
) -> None:
    if not is_there:
        empty.path.rmdir()

    said = empty.call(*command)

    assert said.code == 2, said
    assert f"SYNTH_HOME is {'empty' if is_there else 'not there'}; nothing was read and nothing was made" in said.err
    assert empty.path.exists() == is_there
    assert not is_there or list(empty.path.iterdir()) == []


def test_a_forecast_in_no_home_is_that_of_a_first_batch_and_makes_none(empty: Home, provider: ChatProvider) -> None:
    said = empty.call("plan", DATASET, "--batch", BATCH, "--json")

    assert (said.code, said.facts["attempt"]) == (0, 1)
    assert list(empty.path.iterdir()) == []
    assert provider.requests == []


def test_the_doctor_tells_an_empty_folder_from_a_home(empty: Home) -> None:
    said = empty.call("doctor", "--json")

    [finding] = [each for each in json.loads(said.out) if each["name"] == "SYNTH_HOME"]
    assert (said.code, finding["is_ok"]) == (2, False)
    assert "is no home yet" in finding["says"]
    assert list(empty.path.iterdir()) == []


def test_a_verify_of_nothing_is_no_success(empty: Home) -> None:
    open_lake(empty.path, {}).close()

    said = empty.call("audit", "verify")

    assert said.code == 2
    assert "nothing was ever written down in this home" in said.err


def test_two_who_make_a_home_at_once_make_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        drawn = set(threads.map(made, [tmp_path / "home"] * 32))

    assert drawn == {identity_of(tmp_path / "home")}
    assert [file.name for file in (tmp_path / "home").iterdir()] == [MARKER]


def test_a_home_of_an_earlier_time_gets_its_marker_once(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, {})
    lake._connection.execute("DROP TABLE lake.homes")
    lake.close()
    (tmp_path / MARKER).unlink()

    lake = open_lake(tmp_path, {})
    again = open_lake(tmp_path, {})

    assert lake.identity == again.identity == identity_of(tmp_path)
    [(home_id, made_at)] = lake.read("homes").rows()
    assert (home_id, made_at.isoformat()) == (lake.identity.home_id, lake.identity.made_at)
    lake.close()
    again.close()


def test_a_marker_that_is_gone_or_another_homes_is_no_new_home(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    for home in (ours, other):
        open_lake(home, {}).close()
    shutil.copy(other / MARKER, ours / MARKER)
    with pytest.raises(IntegrityError, match="the catalog belongs to another home"):
        open_lake(ours, {})

    (ours / MARKER).unlink()
    with pytest.raises(IntegrityError, match="has no marker, and its catalog belongs to the home"):
        open_lake(ours, {})
    assert not (ours / MARKER).exists()


def test_no_byte_of_a_marker_can_be_changed_unseen(tmp_path: Path) -> None:
    made(tmp_path)
    file = tmp_path / MARKER
    whole = file.read_bytes()

    damaged = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in (0, 3)
    ]
    for data in (b"", whole[:-1], whole + b" ", b"[]", b"{}", b"null", *damaged):
        file.write_bytes(data)
        with pytest.raises(IntegrityError, match="the home's marker was damaged or changed"):
            identity_of(tmp_path)


def test_a_home_of_a_later_format_is_left_alone(tmp_path: Path) -> None:
    open_lake(tmp_path, {}).close()
    identity = identity_of(tmp_path)
    assert identity is not None
    (tmp_path / MARKER).write_bytes(_written(identity, 2))

    with pytest.raises(UsageError, match="has format 2, and this version of the project knows 1"):
        open_lake(tmp_path, {})


@pytest.mark.parametrize("command", [("status",), RUN], ids=["reading", "running"])
def test_a_catalog_that_is_gone_is_not_made_anew(empty: Home, provider: ChatProvider, command: tuple[str, ...]) -> None:
    assert empty.call(*RUN).code == 0
    asked = len(provider.requests)
    for file in empty.path.glob("catalog.sqlite*"):
        file.unlink()

    said = empty.call(*command)

    assert said.code == 4
    assert "it is empty or gone, and the ledger is not" in said.err
    assert list(empty.path.glob("catalog.sqlite*")) == []
    assert len(provider.requests) == asked


def test_an_instance_that_knows_another_home_keeps_the_next_one_from_paying(
    empty: Home, provider: ChatProvider, tmp_path: Path
) -> None:
    """The instance is on its own disk; the home's volume is away, so the folder looks new."""
    elsewhere = {"SYNTH_INSTANCE": str(tmp_path / "instance")}
    first = Home(tmp_path / "first", empty.provider, empty.recipes, elsewhere)
    second = Home(empty.path, empty.provider, empty.recipes, elsewhere)
    assert first.call(*RUN).code == 0
    asked = len(provider.requests)

    said = second.call(*RUN)

    assert said.code == 4
    assert "Dagster's instance belongs to another home" in said.err
    assert "than this one (" in said.err
    assert len(provider.requests) == asked
    assert first.call(*RUN).code == 0


def test_who_was_started_for_a_home_opens_no_other_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volume goes away, or is swapped, under a web UI that runs."""
    home = tmp_path / "home"
    monkeypatch.setenv("SYNTH_HOME", str(home))
    monkeypatch.setenv(MEANT, made(home).home_id)
    instance_for(dagster_home()).dispose()

    home.rename(tmp_path / "away")
    with pytest.raises(UsageError, match="SYNTH_HOME is not there"):
        instance_for(dagster_home())
    assert not home.exists()

    made(home)
    with pytest.raises(IntegrityError, match="this web UI belongs to another home"):
        instance_for(dagster_home())
    assert [file.name for file in home.iterdir()] == [MARKER]


def test_what_the_daemon_opens_is_a_home_and_the_instances_own(tmp_path: Path) -> None:
    """The same resource serves schedules, sensors and runs: it fails before any of them asks anybody."""
    home, other = tmp_path / "home", tmp_path / "other"

    def opened(folder: Path, instance: dg.DagsterInstance) -> str:
        context = dg.build_init_resource_context(instance=instance)
        with LakeResource(home=str(folder)).yield_for_execution(context) as lake:
            return str(lake.identity)

    with instance_for(tmp_path / "dagster") as instance:
        with pytest.raises(UsageError, match="SYNTH_HOME is not there"):
            opened(home, instance)
        assert not home.exists()

        open_lake(home, {}).close()
        open_lake(other, {}).close()
        assert opened(home, instance) == opened(home, instance)
        with pytest.raises(IntegrityError, match="Dagster's instance belongs to another home"):
            opened(other, instance)
