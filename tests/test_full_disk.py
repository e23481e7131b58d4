"""A disk that is full, or fills up in the middle of release, train and export: a stop, nothing half done, and on."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import DATASET, RUN, Home, Told, tiny
from tests.disks import mounted, resized, used_files, used_kilobytes
from tests.fakes.chat_provider import ChatProvider
from tests.torture import SETTINGS

pytestmark = pytest.mark.slow

AMPLE_KB = 200_000
PLENTY = 10_000
"""Files."""

RELEASE = ("release", DATASET, "--json")
TRAIN = ("train", f"{DATASET}@v1", "--json")


@dataclass(frozen=True)
class Made:
    """A home with a green batch, the same with a version, and what the version is."""

    recipes: Path
    green: Path
    released: Path
    digest: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("made")
    with ChatProvider() as provider:
        home = Home(root / "home", provider.base_url, tiny(root, **SETTINGS))
        assert home.synth(*RUN).code == 0
        shutil.copytree(home.path, root / "green")
        digest = home.synth(*RELEASE).facts["digest"]
    return Made(home.recipes, root / "green", home.path, digest)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={AMPLE_KB}k,nr_inodes={PLENTY}") as folder:
        yield folder


def home_on(disk: Path, stored: Path, made: Made) -> Home:
    """Copy a home to a disk; what Dagster writes goes elsewhere, so that the command itself meets the end of it."""
    shutil.copytree(stored, disk, dirs_exist_ok=True)
    instance = disk.with_name("instance")
    shutil.move(disk / "dagster", instance)
    return Home(disk, "", made.recipes, {"SYNTH_INSTANCE": str(instance)})


def stops_for(disk: Path, said: Told) -> None:
    assert said.code == 1, said.err
    what, where, fix = said.err.strip().splitlines()[-3:]
    assert "Traceback" not in said.err
    assert str(disk) in where
    assert any(word in what + fix for word in ("disk", "space")), said.err


def half_written(disk: Path) -> list[str]:
    return [path.name for path in (disk / "releases").rglob("v*")] if (disk / "releases").exists() else []


@pytest.mark.parametrize(("kilobytes", "files"), [(44, PLENTY), (60, PLENTY), (140, PLENTY), (AMPLE_KB, 3)])
def test_a_release_stops_on_a_full_disk_and_the_same_command_cuts_the_same_version(
    disk: Path, made: Made, kilobytes: int, files: int
) -> None:
    home = home_on(disk, made.green, made)
    resized(disk, used_kilobytes(disk) + kilobytes, files=used_files(disk) + files)

    stops_for(disk, home.synth(*RELEASE))
    assert half_written(disk) == []
    resized(disk, AMPLE_KB, files=PLENTY)
    said = home.synth(*RELEASE)

    assert said.code == 0, said.err
    assert (said.facts["version"], said.facts["digest"]) == ("v1", made.digest)
    assert home.synth("audit", "verify").code == 0
    assert not list((disk / "releases").rglob(".staged-*"))


@pytest.mark.parametrize(("kilobytes", "files"), [(44, PLENTY), (120, PLENTY), (AMPLE_KB, 1)])
def test_a_training_stops_on_a_full_disk_and_the_same_command_goes_on(
    disk: Path, made: Made, kilobytes: int, files: int
) -> None:
    home = home_on(disk, made.released, made)
    resized(disk, used_kilobytes(disk) + kilobytes, files=used_files(disk) + files)

    stops_for(disk, home.synth(*TRAIN))
    resized(disk, AMPLE_KB, files=PLENTY)
    said = home.synth(*TRAIN)

    assert said.code == 0, said.err
    assert said.facts["was_trained_now"]
    assert home.synth("audit", "verify").code == 0


@pytest.mark.parametrize(("kilobytes", "files"), [(8, 5), (64, 1), (20, 1), (64, 4)])
def test_an_export_stops_on_a_full_disk_and_leaves_nothing_there(
    tmp_path: Path, made: Made, kilobytes: int, files: int
) -> None:
    home = Home(tmp_path / "home", "", made.recipes)
    shutil.copytree(made.released, home.path)
    command = ("export", f"{DATASET}@v1", "--format", "jsonl", "--to")
    options = f"size={kilobytes}k,nr_inodes={files}"
    with mounted(tmp_path / "stick", "-t", "tmpfs", "-o", options) as stick:
        stops_for(stick, home.call(*command, str(stick / "out")))
        assert list(stick.iterdir()) == []
        assert home.read("usage_log", dataset=DATASET, action="export").is_empty(), "nobody got anything"
        resized(stick, AMPLE_KB, files=PLENTY)
        assert home.call(*command, str(stick / "out")).code == 0
        assert (stick / "out" / "samples.jsonl").read_bytes() == (
            home.path / "releases" / DATASET / "v1" / "samples.jsonl"
        ).read_bytes()
