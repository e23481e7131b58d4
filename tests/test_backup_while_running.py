"""Backups taken while real processes generate and release: each is whole, and what is restored goes on from there."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resources.instance import instance_for
from tests.aims import STARTING, Place, Step
from tests.command import DATASET, LIMIT_S, RUN, Home, tiny, told
from tests.fakes.chat_provider import ChatProvider
from tests.test_cli_errors import paragraph
from tests.torture import SETTINGS, UNFINISHED, findings, journaled, start

pytestmark = pytest.mark.slow

ENOUGH = 8
"""Answers on disk before the backup begins."""
MOST = 30
"""Requests the provider gets, of 36, before the backup is done."""


def awaited(is_so: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def on_disk(home: Home) -> int:
    return sum(file.read_bytes().count(b"\n") for file in home.path.glob(f"journal/{DATASET}/*/*.jsonl"))


def digest_of(home: Home) -> str:
    released = home.call("release", DATASET)
    assert released.code == 0, released.err
    [version] = home.read("dataset_versions", dataset=DATASET).rows(named=True)
    return str(version["digest"])


def test_a_batch_that_was_being_generated_goes_on_from_its_backup_and_pays_nothing_in_it_again(tmp_path: Path) -> None:
    with ChatProvider(latency_s=0.2) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, **SETTINGS))
        running = start(home, Step(RUN), STARTING)
        awaited(lambda: on_disk(home) >= ENOUGH)
        saving = start(home, Step(("backup", str(tmp_path / "b"))), STARTING)
        awaited(lambda: saving.poll() is not None or len(provider.requests) >= MOST)
        provider.hold()
        saved = told(saving)
        provider.go()
        assert (saved.code, told(running).code) == (0, 0), saved.err

        again = replace(home, path=tmp_path / "again")
        assert again.call("restore", str(tmp_path / "b")).code == 0
        kept, asked = journaled(again), len(provider.requests)
        with instance_for(again.path / "dagster") as instance:
            runs = [(run.job_name, run.status in UNFINISHED) for run in instance.get_runs()]
        green = again.call(*RUN, "--json")

    assert runs == [("tiny_batch", False)]
    assert ENOUGH <= len(kept) < green.facts["requested"] == 36
    assert (green.code, green.facts["attempts"]) == (0, 1), green.err
    assert not kept & set(provider.call_ids[asked:])
    assert findings(again) == []
    assert digest_of(again) == digest_of(home)


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one green batch."""
    root = tmp_path_factory.mktemp("green")
    with ChatProvider() as provider:
        home = Home(root / "home", provider.base_url, tiny(root, **SETTINGS))
        assert home.call(*RUN).code == 0
    return home


@pytest.mark.parametrize(
    "point", ["rows written, not committed", "committed, not in the ledger", "release staged", "release renamed"]
)
def test_a_backup_taken_at_any_point_of_a_release_lets_it_be_finished(green: Home, tmp_path: Path, point: str) -> None:
    home = replace(green, path=Path(shutil.copytree(green.path, tmp_path / "home")))
    twin = replace(green, path=Path(shutil.copytree(green.path, tmp_path / "twin")))
    start(home, Step(("release", DATASET)), Place(point, 1)).communicate()

    assert home.call("backup", str(tmp_path / "b")).code == 0
    again = replace(home, path=tmp_path / "again")
    assert again.call("restore", str(tmp_path / "b")).code == 0

    assert digest_of(again) == digest_of(twin)
    assert findings(again) == []


def test_backups_taken_all_through_a_release_are_each_whole(green: Home, tmp_path: Path) -> None:
    home = replace(green, path=Path(shutil.copytree(green.path, tmp_path / "home")))
    releasing = start(home, Step(("release", DATASET)), STARTING)
    backups = []
    while releasing.poll() is None or not backups:
        backups.append(tmp_path / f"b{len(backups)}")
        said = home.call("backup", str(backups[-1]))
        assert said.code == 0, said.err
    assert told(releasing).code == 0

    for number, backup in enumerate(backups):
        again = replace(home, path=tmp_path / f"again{number}")
        said = again.call("restore", str(backup))
        assert said.code == 0, said.err
        assert findings(again) == []


def test_a_backup_without_a_data_file_that_the_catalog_names_is_none(green: Home, tmp_path: Path) -> None:
    home = replace(green, path=Path(shutil.copytree(green.path, tmp_path / "home")))
    next(home.path.glob("lake/main/requests/*.parquet")).unlink()

    assert "data file" in paragraph(home.call("backup", str(tmp_path / "b")), 4)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
