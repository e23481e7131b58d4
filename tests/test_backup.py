"""A backup is a home at one moment, whatever goes on meanwhile; what is restored from it is that home, or nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from resources.backups import backup as making
from resources.backups.contents import of_home, of_instance
from resources.backups.manifest import Manifest, Stored, read_manifest
from resources.instance import instance_for
from resources.places import PROJECT
from synth_assets.canonical import sha256
from tests.command import Home
from tests.disks import resized
from tests.fakes.lake_rows import DATASET, SECRET, small_lake
from tests.test_cli_errors import paragraph

SEGMENT = f"journal/{DATASET}/2026-11-02/20261102T120000-1-abcd.jsonl"
DROP = f"inbox/{DATASET}/samples/a tool/drop \udcff.jsonl"
RUNS = "dagster/history/runs.db"
TRANSIENT = {"claims", "runtime", "catalog.lock", "dagster/storage.lock"}
AT_NS = 1_700_000_000_123_456_789

COMMITTING = """
import sys
from pathlib import Path
from resources.lake import open_lake
from tests.test_lake import commit, used
lake = open_lake(Path(sys.argv[1]), {})
for key in map(str.strip, sys.stdin):
    lake.put(key.encode(), ".md")
    lake.commit(commit(key, used(sum(key.encode()), "films"), dataset="films"))
    print(key, flush=True)
"""
"""Commits once for every line it is told, and has the lake open meanwhile."""
DYING = """
import os
from resources.lake.ledger import Ledger
Ledger.append = lambda *_: os._exit(9)
"""
"""Put before the other: the process dies between its commit and the ledger."""

SYNTH = "import sys; from synth_assets.cli.main import main; main(sys.argv[1:])"
KILLED = """
import sys
from tests.deadly import Point, die_at
die_at(Point(sys.argv[1], is_after=False), int(sys.argv[2]))
from synth_assets.cli.main import main
main(sys.argv[3:])
"""


def python(script: str, *arguments: str, home: Home, told: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=home.environment, check=False, capture_output=True, text=True, input=told
    )


@contextmanager
def committing(home: Home) -> Iterator[Callable[[str], str]]:
    """Another process that works on a home: it commits under the key it is told, and says the key when it has."""
    command = [sys.executable, "-c", COMMITTING, str(home.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, cwd=PROJECT, env=home.environment, **pipes) as process:

        def commit(key: str) -> str:
            process.stdin.write(f"{key}\n")
            return str(process.stdout.readline().strip())

        yield commit
        process.stdin.close()
        assert process.wait() == 0


def write(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with something in every place a home has, and in one that nobody has heard of."""
    home = tmp_path_factory.mktemp("made") / "home"
    small_lake(home).close()
    write(home / SEGMENT, b"a whole line\nand a torn o")
    write(home / "notes.json", b'{"id": "this home"}')
    write(home / "marts/funnel.parquet", b"computed anew")
    os.utime(write(home / DROP, b'{"text": "somebody else wrote this"}\n'), ns=(AT_NS, AT_NS))
    for name in ("claims/films/version.lock", "runtime/here/port"):
        write(home / name, b"")
    write(home / f"objects/ab/.abcd.parquet.{'0' * 32}", b"half a pay")
    instance_for(home / "dagster").dispose()
    return home


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(made, tmp_path / "from" / "home")))


@pytest.fixture
def there(tmp_path: Path) -> Home:
    """Where to restore to; nothing is there yet."""
    return Home(tmp_path / "to" / "home")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture(scope="module")
def backed_up(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk") / "backup"
    assert Home(Path(shutil.copytree(made, folder.parent / "home"))).call("backup", str(folder)).code == 0
    return folder


@pytest.fixture
def copy(backed_up: Path, disk: Path) -> Path:
    """A backup of the test's own."""
    return Path(shutil.copytree(backed_up, disk / "backup"))


def contents(home: Path) -> dict[str, bytes]:
    """Every file that is to come along; of SQLite's, what stands in it."""
    found = {}
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        name = path.relative_to(home).as_posix()
        is_left_out = any(name.startswith(each) for each in TRANSIENT) or path.name.startswith(".")
        if path.suffix in (".sqlite", ".db"):
            with closing(sqlite3.connect(path)) as database:
                found[name] = "\n".join(database.iterdump()).encode()
        elif not is_left_out and not path.name.endswith(("-wal", "-shm")):
            found[name] = path.read_bytes()
    return found


def verified(home: Home, head: str) -> bool:
    """Whether the audit agrees with a home and knows a head."""
    return home.call("audit", "verify", DATASET, "--head", head).code == 0


# What comes along


def test_what_is_restored_is_what_was_there_to_the_time_of_every_drop(here: Home, there: Home, disk: Path) -> None:
    runs = sqlite3.connect(here.path / RUNS, isolation_level=None)
    runs.execute("INSERT INTO kvs (key, value) VALUES ('a cursor', 'asked for')")  # not in the file until it is closed

    said = here.call("backup", str(disk / "b"), "--json")
    restored = there.call("restore", str(disk / "b"), "--json")
    runs.close()

    assert (said.code, restored.code) == (0, 0), said.err + restored.err
    assert said.facts == orjson.loads((disk / "b" / "backup.json").read_bytes())
    assert (said.facts["heads"], restored.facts["lost"]) == (restored.facts["heads"], [])
    was, now = contents(here.path), contents(there.path)
    assert verified(there, said.facts["heads"][DATASET]["sha256"])
    assert list(now) == list(was)
    assert [name for name in was if now[name] != was[name] and not name.startswith("catalog")] == []
    assert (there.path / DROP).stat().st_mtime_ns == AT_NS
    assert b"asked for" in now[RUNS]
    assert not (there.path / "claims").exists()


@pytest.mark.slow
def test_what_dagster_keeps_elsewhere_comes_along_and_goes_elsewhere(here: Home, there: Home, disk: Path) -> None:
    (here.path / "dagster").rename(here.path.parent / "runs")
    elsewhere = [replace(each, variables={"SYNTH_INSTANCE": str(each.path.parent / "runs")}) for each in (here, there)]

    codes = [home.call(verb, str(disk / "b")).code for home, verb in zip(elsewhere, ("backup", "restore"), strict=True)]

    assert codes == [0, 0]
    assert (there.path.parent / "runs/history/runs.db").is_file()
    assert not (there.path / "dagster").exists()


def test_nothing_is_copied_before_what_it_may_not_be_ahead_of(tmp_path: Path) -> None:
    home, instance = tmp_path / "home", tmp_path / "home/dagster"
    batch = "journal/films/2026-11-02"
    for name in (f"{batch}/20261102.jsonl", f"{batch}/submissions/key.json", "aa.json"):
        write(home / name, b"")
    for name in ("history/runs.db", "history/runs/index.db", "history/runs/1.db", "schedules/schedules.db"):
        write(instance / name, b"")

    # A submission is forgotten once its answers are journaled; a cursor is written after the runs it asked for.
    assert [path.name for path in of_home(home, instance)] == ["key.json", "aa.json", "20261102.jsonl"]
    assert [path.name for path in of_instance(instance, home)][:2] == ["schedules.db", "runs.db"]


# Work goes on meanwhile


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something happen right after the moment a backup is of."""

    def arrange(happen: Callable[[], object]) -> None:
        look = making.data_files
        monkeypatch.setattr(making, "data_files", lambda catalog: (happen(), look(catalog))[1])

    return arrange


def test_what_is_committed_and_released_while_files_are_copied_is_not_in_it(
    here: Home, there: Home, disk: Path, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    staged = here.path / f"releases/{DATASET}/.staged-abcd"
    write(staged / "data/train.parquet", b"on its way")

    def happen() -> None:
        assert [commit("k1"), commit("k2")] == ["k1", "k2"]  # it would wait here if the commit section were held
        staged.rename(staged.with_name("v3"))
        write(here.path / f"releases/{DATASET}/v4/manifest.json", b"{}")
        write(here.path / "ledger/another/entries.jsonl", b"")

    with committing(here) as commit:
        commit("k0")  # it stands beside the catalog's file until everybody has closed that
        before = here.read("audit_log", dataset=DATASET).height
        meanwhile(happen)
        said = here.call("backup", str(disk / "b"), "--json")

    assert said.code == 0, said.err
    assert here.read("audit_log", dataset=DATASET).height == before + 2
    head = said.facts["heads"][DATASET]
    assert head["seq"] == before
    assert there.call("restore", str(disk / "b")).code == 0
    assert verified(there, head["sha256"])
    releases = {path.name for path in (there.path / f"releases/{DATASET}").iterdir()}
    assert releases == {"v1", "v2", ".staged-abcd"}
    assert (there.path / f"releases/{DATASET}/.staged-abcd/data/train.parquet").read_bytes() == b"on its way"


@pytest.mark.slow
def test_a_commit_whose_process_died_before_the_ledger_is_completed_in_the_restored_home(
    here: Home, there: Home, disk: Path, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    assert python(DYING + COMMITTING, str(here.path), home=here, told="dies").returncode == 9
    meanwhile(lambda: python(COMMITTING, str(here.path), home=here, told="completes it here"))

    assert here.call("backup", str(disk / "b")).code == 0
    assert there.call("restore", str(disk / "b")).code == 0

    done = python(COMMITTING, str(there.path), home=there, told="completes it there")
    assert done.returncode == 0, done.stderr
    keys = there.read("audit_log", dataset=DATASET).sort("seq")["commit_key"].to_list()
    assert keys[-2:] == ["dies", "completes it there"]
    assert there.call("audit", "verify").code == 0


# Doctored, incomplete


def kinds(backup: Path) -> Iterator[Path]:
    """One file of every kind there is: by its first two folders and its suffix."""
    seen = {}
    for path in sorted(path for path in backup.rglob("*") if path.is_file()):
        seen.setdefault((path.relative_to(backup).parts[:2], path.suffix), path)
    yield from seen.values()


def refused(there: Home, backup: Path) -> str:
    """Return what a restore says of a backup it does not take, having left nothing behind."""
    said = there.call("restore", str(backup))
    assert list(there.path.parent.glob("*")) == []
    assert SECRET not in said.err
    return paragraph(said, 4)


def test_one_byte_of_any_kind_of_file_is_noticed(copy: Path, there: Home) -> None:
    files = list(kinds(copy))
    assert len(files) >= 12
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
        assert "not what was written" in refused(there, copy) or path.name == "backup.json", path
        path.write_bytes(data)
    listed = (copy / "backup.json").read_bytes()
    (copy / "backup.json").write_bytes(listed.replace(b"  ", b"\t ", 1))  # it still says the same
    assert "not what was written" in refused(there, copy)
    (copy / "backup.json").write_bytes(listed)

    assert there.call("restore", str(copy)).code == 0


def test_a_file_too_few_or_too_many_is_noticed(copy: Path, there: Home) -> None:
    for path in kinds(copy):
        away = path.rename(copy.parent / "away")
        assert ("gone from" if path.name != "backup.json" else "no manifest") in refused(there, copy), path
        away.rename(path)
    more = write(copy / "home/objects/ab/more.parquet", b"")
    assert "does not name" in refused(there, copy)
    more.unlink()
    more.symlink_to(copy / "backup.json")
    assert "does not name" in refused(there, copy)
    more.unlink()
    drop = next((copy / "home/inbox").rglob("*.jsonl"))
    drop.rename(copy.parent / "outside").touch()
    drop.symlink_to(copy.parent / "outside")
    assert "no file of its own" in refused(there, copy)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("home/ledger/*/*", ""),
        pytest.param("home/objects/*/*.parquet", "was changed", marks=pytest.mark.slow),
        pytest.param("home/releases/*/v2/manifest.json", "", marks=pytest.mark.slow),
    ],
)
def test_whoever_doctors_the_manifest_too_is_told_by_the_audit(
    copy: Path, there: Home, pattern: str, what: str
) -> None:
    file = sorted(copy.glob(pattern))[0]
    file.write_bytes(file.read_bytes()[:-9] + b"doctored\n")
    manifest = read_manifest(copy)
    stored = {file.relative_to(copy).as_posix(): Stored(file.stat().st_size, sha256(file.read_bytes()))}
    (copy / "backup.json").write_bytes(replace(manifest, files={**manifest.files, **stored}).data())

    assert what in refused(there, copy)


def test_a_backup_of_another_home_under_this_manifest_is_refused(copy: Path, there: Home) -> None:
    manifest = read_manifest(copy)
    other = Manifest(manifest.made_at, manifest.files, {"another": manifest.heads[DATASET]})
    (copy / "backup.json").write_bytes(other.data())

    assert "datasets" in refused(there, copy)


@pytest.mark.parametrize(
    "pattern", ["objects/*/*.parquet", pytest.param("releases/*/v1/manifest.json", marks=pytest.mark.slow)]
)
def test_a_damaged_home_is_not_backed_up_as_if_it_were_whole(here: Home, disk: Path, pattern: str) -> None:
    sorted(here.path.glob(pattern))[0].unlink()

    paragraph(here.call("backup", str(disk / "b")), 4)

    assert list(disk.iterdir()) == []


# Killed, full


@pytest.mark.slow
@pytest.mark.parametrize(("place", "number"), [("_one", 3), ("_copy_noted", 1), ("placed", 1)])
def test_a_killed_backup_leaves_nothing_that_could_be_restored_and_is_swept_by_the_next(
    here: Home, there: Home, disk: Path, place: str, number: int
) -> None:
    target = disk / "b"
    died = python(KILLED, f"resources.backups.backup:{place}", str(number), "backup", str(target), home=here)
    assert died.returncode == -9, died.stderr
    assert not target.exists()
    [left] = [path for path in disk.iterdir() if path.is_dir()]
    if place != "placed":
        refused(there, left)

    said = here.call("backup", str(target))

    assert said.code == 0, said.err
    assert str(left) in said.err
    assert [path.name for path in disk.iterdir()] == ["b"]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "number"), [("_bring", 7), ("placed", 1)])
def test_a_killed_restore_leaves_no_home_and_is_swept_by_the_next(
    copy: Path, there: Home, place: str, number: int
) -> None:
    died = python(KILLED, f"resources.backups.restore:{place}", str(number), "restore", str(copy), home=there)
    assert died.returncode == -9, died.stderr
    assert not there.path.exists()

    said = there.call("restore", str(copy))

    assert (said.code, "was killed" in said.err) == (0, True), said.err
    assert [path.name for path in there.path.parent.iterdir()] == ["home"]


@pytest.mark.slow
def test_a_backup_that_is_still_being_made_is_not_swept_by_another(
    here: Home, disk: Path, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    codes, kept = [], []

    def happen() -> None:
        codes.append(python(SYNTH, "backup", str(disk / "b"), home=here).returncode)
        kept.extend(path for path in disk.iterdir() if path.is_dir() and path.name != "b")

    meanwhile(happen)

    said = here.call("backup", str(disk / "b"))

    assert (codes, len(kept)) == ([0], 1)
    assert "taken meanwhile" in paragraph(said, 3)
    assert [path.name for path in disk.iterdir()] == ["b"]


def test_too_little_room_is_said_before_anything_is_copied(
    here: Home, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))

    assert "nothing was copied" in paragraph(here.call("backup", str(disk / "b")), 1)
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("kilobytes", [64, 200, 350, 450])
def test_a_disk_that_fills_up_leaves_nothing(
    made: Path, backed_up: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kilobytes: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    here = Home(Path(shutil.copytree(made, tmp_path / "from")))
    resized(small_disk, kilobytes)

    assert "disk is full" in paragraph(here.call("backup", str(small_disk / "b")), 1)
    assert list(small_disk.iterdir()) == []
    assert "disk is full" in paragraph(Home(small_disk / "restored").call("restore", str(backed_up)), 1)
    assert list(small_disk.iterdir()) == []


# Refused


def test_a_home_that_is_none_is_not_made_by_a_backup(tmp_path: Path, disk: Path) -> None:
    paragraph(Home(tmp_path / "nothing").call("backup", str(disk / "b")), 2)

    assert not (tmp_path / "nothing").exists()
    assert list(disk.iterdir()) == []


def test_a_backup_overwrites_nothing_and_is_not_made_where_it_would_be_none(here: Home, disk: Path) -> None:
    write(disk / "taken/file", b"")
    for target, what in {
        disk / "taken": "not empty: file",
        disk / "taken/file": "not empty",
        here.path / "backup": "inside the home",
        disk / "not mounted/b": "is not there",
    }.items():
        assert what in paragraph(here.call("backup", str(target)), 2)
    assert [path.name for path in disk.rglob("*")] == ["taken", "file"]


def test_a_restore_overwrites_nothing(copy: Path, there: Home) -> None:
    write(there.path / "catalog.sqlite", b"somebody's")

    assert "already: catalog.sqlite" in paragraph(there.call("restore", str(copy)), 3)
    assert list(there.path.parent.rglob("*")) == [there.path, there.path / "catalog.sqlite"]


def test_a_folder_that_is_none_cannot_be_restored(there: Home, disk: Path) -> None:
    paragraph(there.call("restore", str(disk / "nothing")), 2)
    assert "no manifest" in paragraph(there.call("restore", str(disk)), 4)


def test_what_is_on_a_server_is_left_to_the_servers_own_tools(here: Home, there: Home, disk: Path, copy: Path) -> None:
    on_a_server = {"SYNTH_CATALOG": "postgresql+psycopg2://somebody:secret@db.example/synth"}

    for said in (
        replace(here, variables=on_a_server).call("backup", str(disk / "b")),
        replace(there, variables=on_a_server).call("restore", str(copy)),
        replace(here, variables={"SYNTH_INSTANCE": on_a_server["SYNTH_CATALOG"]}).call("backup", str(disk / "b")),
    ):
        assert "nothing was done" in paragraph(said, 2)
        assert "secret" not in said.err
    assert not (disk / "b").exists()


# The head outside


@pytest.mark.slow
def test_a_head_kept_outside_that_is_newer_says_what_is_lost_and_one_in_the_backup_says_nothing(
    here: Home, there: Home, disk: Path
) -> None:
    outside = {"SYNTH_HEAD_FILE": str(disk / "heads.jsonl")}
    here, there = (replace(each, variables=outside) for each in (here, there))
    assert here.call("audit", "verify").code == 0
    said = here.call("backup", str(disk / "b"), "--json")
    seq = said.facts["heads"][DATASET]["seq"]

    same = replace(there, path=there.path.with_name("same"))
    told = same.call("restore", str(disk / "b"))
    assert (told.code, told.err, same.call("audit", "verify").code) == (0, "", 0)

    assert python(COMMITTING, str(here.path), home=here, told="k1\nk2").returncode == 0
    assert here.call("audit", "verify").code == 0
    told = there.call("restore", str(disk / "b"), "--json")

    assert told.code == 0, told.err
    [lost] = told.facts["lost"]
    assert (lost["dataset"], lost["restored_seq"], lost["kept_seq"]) == (DATASET, seq, seq + 2)
    assert f"entry {seq}, the head kept outside is entry {seq + 2}" in told.err
    paragraph(there.call("audit", "verify"), 4)
    (disk / "heads.jsonl").rename(disk / "heads-of-what-is-lost.jsonl")
    assert verified(there, said.facts["heads"][DATASET]["sha256"])
    assert (disk / "heads.jsonl").is_file()


def test_a_backup_that_a_head_kept_outside_contradicts_is_not_restored(copy: Path, there: Home, disk: Path) -> None:
    line = {"dataset": DATASET, "seq": 2, "head": "0" * 64, "at": "2026-11-21T12:00:00+00:00"}
    write(disk / "heads.jsonl", orjson.dumps(line) + b"\n")

    said = replace(there, variables={"SYNTH_HEAD_FILE": str(disk / "heads.jsonl")}).call("restore", str(copy))

    assert "is another one" in paragraph(said, 4)
    assert list(there.path.parent.iterdir()) == []
