"""`synth audit`: tampering as somebody with a database client and an editor would do it, and what the command says."""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import orjson
import pytest

from resources.lake import DuckLake, open_lake, store
from synth_assets.cli.main import _exit_code
from synth_assets.cli.output import console
from synth_assets.cli.project import Project
from synth_assets.domain.ledger import FIRST_HEAD, entry_sha256
from synth_assets.domain.transactions import Commit
from synth_assets.reports.audit import verify
from tests.fakes.lake_rows import HOSTILE, SECRET, small_lake
from tests.test_lake import commit, used

FILMS = "films"
Run = Callable[..., tuple[int, str, str]]
Harm = Callable[[DuckLake], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a chain of fifteen entries, of which the third does not stand at an end."""
    home = tmp_path_factory.mktemp("audit") / "home"
    lake = small_lake(home)
    manifest = lake.read("dataset_versions", version=2)["manifest_sha256"][0]
    lake.commit(Commit(FILMS, "k3", "dataset_version", "run", {"version": 2, "manifest_sha256": manifest}))
    for number in (4, 5):
        lake.commit(commit(f"k{number}", used(number, FILMS), dataset=FILMS))
    lake.close()
    return home


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckLake]:
    lake = open_lake(Path(shutil.copytree(made, tmp_path_factory.mktemp("shared") / "home")), {})
    yield lake
    lake.close()


@pytest.fixture
def fleeting(shared: DuckLake, made: Path) -> Iterator[DuckLake]:
    """One lake for all tamperings: what is done to catalog and files is taken back."""
    shared._connection.execute("BEGIN")
    yield shared
    shared._connection.execute("ROLLBACK")
    for folder in ("ledger", "objects", "releases"):
        shutil.rmtree(shared.home / folder)
        shutil.copytree(made / folder, shared.home / folder)


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[DuckLake]:
    lake = open_lake(Path(shutil.copytree(made, tmp_path / "home")), {"SYNTH_ACTOR": "grace"})
    yield lake
    lake.close()


@pytest.fixture
def synth(lake: DuckLake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the lake; returns its exit code, stdout and stderr."""
    monkeypatch.setattr(Project, "lake", lake)
    monkeypatch.setattr(console, "_width", 200)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = _exit_code(["audit", *arguments])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def head_of(lake: DuckLake) -> str:
    return lake.read("heads", dataset=FILMS)["audit_sha256"][0]


def sql(statement: str) -> Harm:
    return lambda lake: lake._connection.execute(statement)


def edited_ledger(edit: Callable[[list[bytes]], list[bytes]]) -> Harm:
    def harm(lake: DuckLake) -> None:
        file = lake.ledger.file(FILMS)
        file.write_bytes(b"".join(edit(file.read_bytes().splitlines(keepends=True))))

    return harm


def rewritten(lake: DuckLake) -> None:
    """Change entry 3 and compute every hash after it anew, and the head: a rewrite with care."""
    previous = FIRST_HEAD
    for entry in lake.read("audit_log", dataset=FILMS).sort("seq").to_dicts():
        told = {**entry, "previous_sha256": previous}
        told |= {"actor": "somebody else"} if entry["seq"] == 3 else {}
        previous = entry_sha256(told)
        lake._connection.execute(
            "UPDATE lake.audit_log SET actor = ?, previous_sha256 = ?, entry_sha256 = ? WHERE dataset = ? AND seq = ?",
            [told["actor"], told["previous_sha256"], previous, FILMS, entry["seq"]],
        )
    lake._connection.execute("UPDATE lake.heads SET audit_sha256 = ? WHERE dataset = ?", [previous, FILMS])


def cut_short_everywhere(lake: DuckLake) -> None:
    """Remove the last two entries from catalog and ledger with all they wrote, and move the head back."""
    lake._connection.execute("DELETE FROM lake.usage_log")
    last = lake.read("audit_log", dataset=FILMS, seq=13)["entry_sha256"][0]
    lake._connection.execute("DELETE FROM lake.audit_log WHERE seq > 13")
    lake._connection.execute("UPDATE lake.heads SET audit_seq = 13, audit_sha256 = ? WHERE dataset = ?", [last, FILMS])
    edited_ledger(lambda lines: lines[:-4])(lake)


def an_object(lake: DuckLake) -> Path:
    return next(file for file in sorted(lake.objects.root.rglob("*")) if file.is_file())


def first_rows(lines: list[bytes], old: bytes, new: bytes) -> list[bytes]:
    assert any(old in line for line in lines)
    return [line.replace(old, new) for line in lines]


TAMPERINGS: dict[str, tuple[Harm, str]] = {
    "an entry updated": (sql("UPDATE lake.audit_log SET actor = 'eve' WHERE seq = 3"), "entry 3 was changed"),
    "details updated": (sql("UPDATE lake.audit_log SET details = '{}' WHERE seq = 4"), "entry 4 was changed"),
    "an entry deleted": (sql("DELETE FROM lake.audit_log WHERE seq = 3"), "entry 3 is missing"),
    "the first entry deleted": (sql("DELETE FROM lake.audit_log WHERE seq = 1"), "entry 1 is missing"),
    "the last entry deleted": (sql("DELETE FROM lake.audit_log WHERE seq = 15"), "the chain ends at entry 14"),
    "an entry given to another dataset": (
        sql("UPDATE lake.audit_log SET dataset = 'other' WHERE seq = 2"),
        "entry 2 is missing",
    ),
    "the whole chain deleted": (sql("DELETE FROM lake.audit_log"), "the chain ends at entry 0"),
    "the head moved": (sql("UPDATE lake.heads SET audit_sha256 = 'x'"), "the head names another entry 15"),
    "history rewritten in the catalog": (rewritten, "entry 3 says one thing in the catalog, another in the ledger"),
    "a ledger line edited": (
        edited_ledger(lambda lines: first_rows(lines, b'"ada"', b'"eve"')),
        "entry 1",
    ),
    "a decision edited in the ledger": (
        edited_ledger(lambda lines: first_rows(lines, b'"rejected"', b'"accepted"')),
        "the rows that entry 1 carries in the ledger were changed",
    ),
    "a ledger line removed": (
        edited_ledger(lambda lines: [*lines[:-3], *lines[-2:]]),
        "entry 14 is in the catalog, not",
    ),
    "the last two entries removed from the ledger": (
        edited_ledger(lambda lines: lines[:-4]),
        "entry 14 is in the catalog, not",
    ),
    "the ledger removed": (lambda lake: lake.ledger.file(FILMS).unlink(), "entry 1 is in the catalog, not"),
    "a decision updated": (
        sql("UPDATE lake.decisions SET decision = 'accepted', reason = NULL WHERE decision = 'rejected'"),
        "decisions is not what the ledger tells; rows that differ: 1,",
    ),
    "a decision deleted": (
        sql("DELETE FROM lake.decisions WHERE decision = 'rejected'"),
        "decisions is not what the ledger tells; rows that differ: 1,",
    ),
    "an interval closed": (
        sql("UPDATE lake.version_members SET removed_in = 2"),
        "version_members is not what the ledger tells",
    ),
    "an alias moved": (
        sql("UPDATE lake.dataset_aliases SET version = 1 WHERE alias = 'latest'"),
        "dataset_aliases is not what the ledger tells; rows that differ: 1, the first is films, latest",
    ),
    "a payload file changed": (lambda lake: an_object(lake).write_bytes(b"other"), "a payload file was changed"),
    "a payload file removed": (lambda lake: an_object(lake).unlink(), "a payload file is gone"),
    "a payload file no longer named": (sql("DELETE FROM lake.objects"), "no longer names a payload file"),
    "a file of a release changed": (
        lambda lake: (lake.home / "releases/films/v1/meta.json").write_text("{}"),
        "a file of the release was changed",
    ),
    "another manifest in the catalog": (
        sql("UPDATE lake.dataset_versions SET manifest_sha256 = 'x' WHERE version = 2"),
        "the catalog has another manifest of v2 than the audit",
    ),
    "a version deleted": (sql("DELETE FROM lake.dataset_versions"), "the catalog has another manifest of v"),
    "a manifest changed": (
        lambda lake: (lake.home / "releases/films/v2/manifest.json").write_text("{}"),
        "the manifest of the release is not the one",
    ),
}


@pytest.mark.parametrize(("harm", "what"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_tampering_is_found_and_named(fleeting: DuckLake, harm: Harm, what: str) -> None:
    assert verify(fleeting, FILMS, None).findings == []

    harm(fleeting)

    assert any(what in finding.what for finding in verify(fleeting, FILMS, None).findings)


def test_verify_of_an_honest_home_prints_the_head_to_keep_and_says_what_it_cannot_prove(
    synth: Run, lake: DuckLake
) -> None:
    code, out, err = synth("verify")

    assert (code, err) == (0, "")
    assert f"head: {head_of(lake)}" in out
    assert "No --head was given" in out
    assert "looked at: 5 payload files, 2 releases" in out
    assert SECRET not in out


def test_verify_with_a_head_kept_outside_proves_what_came_before(synth: Run, lake: DuckLake) -> None:
    kept = head_of(lake)
    lake.commit(commit("later", used(6, FILMS), dataset=FILMS))

    code, out, _ = synth("verify", FILMS, "--head", kept[:12].upper())

    assert code == 0
    assert "the head given is entry 15: nothing up to it was rewritten" in out
    assert "No --head" not in out


def test_a_tail_cut_off_everywhere_is_found_with_a_head_kept_outside_only(synth: Run, lake: DuckLake) -> None:
    kept = head_of(lake)
    cut_short_everywhere(lake)

    assert synth("verify", FILMS)[0] == 0
    code, _, err = synth("verify", FILMS, "--head", kept)

    assert code == 4
    assert "is no entry of the chain" in err


def test_a_head_proves_nothing_about_a_chain_that_is_broken_before_it(synth: Run, lake: DuckLake) -> None:
    lake._connection.execute("UPDATE lake.audit_log SET actor = 'eve' WHERE seq = 3")

    code, out, _ = synth("verify", FILMS, "--head", head_of(lake))

    assert code == 4
    assert "nothing up to it was rewritten" not in out


def test_a_contradiction_is_one_paragraph_and_exit_code_4(synth: Run, lake: DuckLake) -> None:
    lake._connection.execute("UPDATE lake.audit_log SET actor = 'eve' WHERE seq = 3")

    code, out, err = synth("verify")

    assert code == 4
    assert "films: the chain of 15 entries contradicts itself" in out
    what, where, fix = err.strip().splitlines()
    assert what.startswith("entry 3 was changed")
    assert where == "  where: audit_log, dataset films"
    assert fix.startswith("  fix:   restore it from a backup")


def test_verify_for_programs(synth: Run, lake: DuckLake) -> None:
    an_object(lake).unlink()

    code, out, _ = synth("verify", FILMS, "--json")

    (facts,) = orjson.loads(out)
    assert code == 4
    assert (facts["dataset"], facts["entries"], facts["head"]) == (FILMS, 15, head_of(lake))
    assert [finding["what"] for finding in facts["findings"]] == ["a payload file is gone"]


def test_verify_changes_nothing(synth: Run, lake: DuckLake) -> None:
    edited_ledger(lambda lines: lines[:-2])(lake)
    before = lake.ledger.file(FILMS).read_bytes(), head_of(lake)

    assert synth("verify")[0] == 4
    assert (lake.ledger.file(FILMS).read_bytes(), head_of(lake)) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "nobody"),
        ("log", HOSTILE),
        ("verify", FILMS, "--head", "abc"),
        ("verify", FILMS, "--head", "not a hash at all"),
        ("log", "--limit", "0"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(synth: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = synth(*arguments)

    assert (code, out) == (2, "")
    assert "\x1b" not in err


def test_a_head_needs_its_dataset_where_there_are_several(synth: Run, lake: DuckLake) -> None:
    lake.commit(commit("other", used(1, "other"), dataset="other"))

    code, _, err = synth("verify", "--head", head_of(lake))

    assert code == 2
    assert "a head belongs to one dataset" in err


def test_the_log_shows_who_did_what_newest_last(synth: Run, lake: DuckLake) -> None:
    code, out, _ = synth("log", FILMS, "--limit", "2")

    first, second = [line.split() for line in out.splitlines() if " try " in line]
    assert code == 0
    assert (first[0], second[0]) == ("14", "15")
    assert second[-5:] == ["ada", "try", "run", head_of(lake)[:12], first[-2]]


class ClockAYearAhead(datetime):
    """What a machine says whose clock is wrong."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(days=365)


def a_year_ahead(lake: DuckLake, key: str, dataset: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "datetime", ClockAYearAhead)
        lake.commit(commit(key, used(1, dataset), dataset=dataset))


def test_a_clock_that_ran_ahead_hides_nothing_that_was_written_after_it(synth: Run, lake: DuckLake) -> None:
    for number in range(3):
        a_year_ahead(lake, f"ahead {number}", FILMS)
    lake.commit(commit("since", used(1, FILMS), dataset=FILMS))

    last, wider = (orjson.loads(synth("log", FILMS, "--json", "--limit", limit)[1]) for limit in ("1", "3"))

    assert [entry["commit_key"] for entry in last] == ["since"]
    assert [(entry["commit_key"], entry["is_earlier"]) for entry in wider] == [
        ("ahead 1", False),
        ("ahead 2", False),
        ("since", True),
    ]


def test_an_entry_of_an_earlier_time_than_the_one_before_is_marked(synth: Run, lake: DuckLake) -> None:
    assert "earlier" not in synth("log", FILMS)[1], "nothing is said of clocks that went on"
    a_year_ahead(lake, "ahead", FILMS)
    lake.commit(commit("since", used(1, FILMS), dataset=FILMS))

    out = synth("log", FILMS, "--limit", "2")[1]

    title, ahead, since, said = out.splitlines()
    assert "clock" in title
    assert "earlier" not in ahead
    assert " earlier " in since
    assert "an earlier time than the entry it follows" in said


def test_the_log_of_all_datasets_shows_the_end_of_every_chain_whatever_its_clock_said(
    synth: Run, lake: DuckLake
) -> None:
    lake.commit(commit("b1", used(1, "b"), dataset="b"))
    for number in range(2):
        a_year_ahead(lake, f"a{number}", "a")
    lake.commit(commit("a2", used(1, "a"), dataset="a"))
    lake.commit(commit("b2", used(1, "b"), dataset="b"))
    for number in range(2):
        a_year_ahead(lake, f"c{number}", "c")

    told = orjson.loads(synth("log", "--json", "--limit", "2")[1])

    shown = [entry["commit_key"] for entry in told if entry["dataset"] != FILMS]
    assert shown == ["b1", "a1", "a2", "b2", "c0", "c1"], "by time, but no chain out of its order"


def test_the_log_for_programs_holds_whole_entries(synth: Run, lake: DuckLake) -> None:
    code, out, _ = synth("log", "--json", "--limit", "1")

    (entry,) = orjson.loads(out)
    assert code == 0
    assert (entry["seq"], entry["entry_sha256"], entry["dataset"]) == (15, head_of(lake), FILMS)


def test_hostile_words_in_the_log_command_no_terminal(synth: Run, lake: DuckLake) -> None:
    lake.actor = HOSTILE
    lake.commit(commit("bad", used(1, FILMS), dataset=FILMS))

    _, out, _ = synth("log")

    assert "\x1b" not in out
    assert "[red]bad[/red]\\x1b" in out
