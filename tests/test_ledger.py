"""The ledger: every committed entry once, in order, with its rows, whatever dies in between."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from resources.lake import DuckLake, open_lake
from resources.lake.ledger import TAIL_BYTES, last_entry
from synth_assets.domain.ledger import INTENT, intent_line, recorded, sealed
from synth_assets.domain.transactions import Change
from synth_assets.errors import IntegrityError
from synth_assets.reports.audit import verify
from tests.fakes.lake_rows import SECRET, small_lake
from tests.test_auditing import decisions
from tests.test_lake import commit, python, used

DATASET = "tiny"


@pytest.fixture
def lake(home: Path) -> Iterator[DuckLake]:
    lake = open_lake(home, {"SYNTH_ACTOR": "tester"})
    yield lake
    lake.close()


def file_of(lake: DuckLake) -> Path:
    return lake.ledger.file(DATASET)


def lines_of(lake: DuckLake) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file_of(lake).read_bytes().splitlines()]


def seqs(lake: DuckLake) -> list[tuple[int, bool]]:
    """Return the number of every entry in the ledger, and whether it was written later."""
    with file_of(lake).open("rb") as lines:
        return [(record.seq, record.is_recovered) for record in recorded(lines) if record.is_entry]


def decided(key: str, batch: str = "b1", count: int = 2) -> Change:
    return Change("decisions", decisions(batch, count), {"dataset": DATASET, "batch": batch})


def findings(lake: DuckLake) -> list[str]:
    return [finding.what for finding in verify(lake, DATASET, None).findings]


def test_every_entry_of_the_chain_is_in_the_ledger_as_it_is_in_the_catalog(lake: DuckLake) -> None:
    for number in range(3):
        lake.commit(commit(f"k{number}", used(number)))

    rows = lake.read("audit_log", dataset=DATASET).sort("seq").to_dicts()
    assert [line["entry"] for line in lines_of(lake) if "entry" in line] == [
        {**{name: value for name, value in row.items() if name != "hmac"}, "entered_at": row["entered_at"].isoformat()}
        for row in rows
    ]
    intended = [line["intent"] for line in lines_of(lake) if "intent" in line]
    assert intended == [{"seq": row["seq"], "entry_sha256": row["entry_sha256"]} for row in rows]
    assert findings(lake) == []


def test_decisions_are_carried_with_what_they_replace(lake: DuckLake) -> None:
    lake.commit(commit("one", decided("one")))

    _, rows, entry = lines_of(lake)
    assert (rows["table"], rows["replaces"]) == ("decisions", {"dataset": DATASET, "batch": "b1"})
    assert rows["columns"]["sample_id"] == ["b1-0", "b1-1"]
    assert orjson.loads(entry["entry"]["details"])["ledger_sha256"] == entry["rows_sha256"]


def test_the_ledger_holds_intervals_and_aliases_and_no_text(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "home")
    ledger = lake.ledger.file("films").read_bytes()
    lake.close()

    tables = {orjson.loads(line).get("table") for line in ledger.splitlines()}
    assert {"decisions", "version_members", "dataset_aliases"} <= tables
    assert SECRET.encode() not in ledger


def test_the_same_key_is_in_the_ledger_once(lake: DuckLake) -> None:
    for _ in range(2):
        lake.commit(commit("same", used(1)))

    assert seqs(lake) == [(1, False)]


def test_an_entry_that_is_already_the_last_is_not_appended_again(lake: DuckLake) -> None:
    lake.commit(commit("one", used(1)))

    lake.ledger.append(lake.read("audit_log", seq=1).row(0, named=True), [])

    assert seqs(lake) == [(1, False)]


def test_an_intent_is_on_disk_before_its_commit_and_the_entry_when_that_returns(
    lake: DuckLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("resources.lake.ledger._sync", lambda handle: synced.append(os.fstat(handle).st_size))

    lake.commit(commit("one", used(1)))

    intent, _ = file_of(lake).read_bytes().splitlines(keepends=True)
    assert synced == [len(intent), file_of(lake).stat().st_size]


def test_a_commit_that_is_refused_leaves_no_line(lake: DuckLake) -> None:
    lake.commit(commit("one", used(1)))
    with pytest.raises(pl.exceptions.PolarsError):
        lake.commit(commit("bad", Change("usage_log", used(2).rows.drop("actor"))))

    assert seqs(lake) == [(1, False)]


DIES = """
import os, sys
from pathlib import Path
from resources.lake import open_lake
from tests.test_ledger import decided
from tests.test_lake import commit
lake = open_lake(Path(sys.argv[1]), {})
lake.commit(commit("before", decided("before", "b0")))
lake.ledger.append = lambda *_: os._exit(9)
lake.commit(commit("died", decided("died", "b1", 3)))
"""


def test_an_entry_whose_process_died_before_it_was_in_the_ledger_is_made_up_for_with_its_own_rows(home: Path) -> None:
    process = python(DIES, home)
    process.communicate(timeout=60)
    assert process.returncode == 9

    lake = open_lake(home, {})
    assert findings(lake) == [], "its rows are there, so the next commit can complete it"
    lake.commit(commit("after", decided("after", "b2", 4)))

    assert seqs(lake) == [(1, False), (2, False), (3, False)]
    assert findings(lake) == []
    told = [line["columns"]["sample_id"] for line in lines_of(lake) if line.get("table") == "decisions"]
    assert [len(samples) for samples in told] == [2, 3, 4]
    lake.close()


def test_a_process_that_died_leaves_rows_that_nobody_can_change_before_they_are_completed(home: Path) -> None:
    process = python(DIES, home)
    process.communicate(timeout=60)
    file = home / "ledger" / DATASET / "entries.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"b1-0"', b'"b1-9"'))

    lake = open_lake(home, {})
    with pytest.raises(IntegrityError, match="its rows are not in the ledger"):
        lake.commit(commit("after", decided("after", "b2", 4)))
    lake.close()


def test_a_ledger_that_lacks_more_than_the_last_commit_is_refused(lake: DuckLake) -> None:
    for number in range(3):
        lake.commit(commit(f"k{number}", used(number)))
    file_of(lake).unlink()

    with pytest.raises(IntegrityError, match="its ledger ends at entry 0"):
        lake.commit(commit("next", used(9)))


INTENDED = intent_line({"seq": 2, "entry_sha256": "a" * 64})
ROWS = b'{"table":"decisions","rows":[]}\n'


@pytest.mark.parametrize(
    "torn", [INTENDED, INTENDED + ROWS, INTENDED + ROWS + b'{"entry":{"seq":2', INTENDED[:9], b"\0\0\0\0"]
)
def test_what_a_crash_left_behind_the_last_entry_contradicts_nothing_and_is_cut(lake: DuckLake, torn: bytes) -> None:
    lake.commit(commit("one", decided("one")))
    with file_of(lake).open("ab") as file:
        file.write(torn)
    assert findings(lake) == []

    lake.commit(commit("two", used(2)))

    assert seqs(lake) == [(1, False), (2, False)]
    assert findings(lake) == []


@pytest.mark.parametrize("lines", [ROWS, b"anything\n", b'{"entry":garbage}\n', b"\n" + INTENDED])
def test_lines_at_the_end_that_no_commit_leaves_are_named_and_not_cut(lake: DuckLake, lines: bytes) -> None:
    lake.commit(commit("one", decided("one")))
    with file_of(lake).open("ab") as file:
        file.write(lines)
    before = file_of(lake).read_bytes()

    assert findings(lake) != []
    with pytest.raises(IntegrityError):
        lake.commit(commit("two", used(2)))
    assert file_of(lake).read_bytes() == before


def test_an_entry_that_no_line_of_the_ledger_intended_is_read_by_nobody(lake: DuckLake) -> None:
    """Whoever can write the catalog alone makes entries with every hash right, and cannot write them down first."""
    lake.commit(commit("one", used(1)))
    chain, forged = lake.chain(DATASET), commit("forged", used(2))
    entry = lake._entry(chain, sealed(forged)[0])
    lake._transact(sealed(forged)[0], entry)

    with pytest.raises(IntegrityError, match="nothing in its ledger intended entry 2"):
        lake.chain(DATASET)
    with pytest.raises(IntegrityError, match="nothing in its ledger intended entry 2"):
        lake.commit(commit("two", used(2)))
    assert findings(lake) == ["entry 2 is in the catalog, not in the ledger"]
    assert seqs(lake) == [(1, False)]


def test_an_intent_of_another_entry_completes_nothing(lake: DuckLake) -> None:
    lake.commit(commit("one", used(1)))
    forged = sealed(commit("forged", used(2)))[0]
    lake._transact(forged, lake._entry(lake.chain(DATASET), forged))
    with file_of(lake).open("ab") as file:
        file.write(INTENDED)

    with pytest.raises(IntegrityError, match="nothing in its ledger intended entry 2"):
        lake.commit(commit("two", used(2)))
    assert findings(lake) == ["entry 2 is in the catalog, not in the ledger"]


@pytest.mark.parametrize("end", [b"", b'{"entry":{"seq"', b'{"table":"decisions"}\n{"entry"'])
def test_the_last_entry_is_found_behind_any_amount_of_rows(tmp_path: Path, end: bytes) -> None:
    rows = b'{"table":"decisions","rows":"' + b"x" * 3 * TAIL_BYTES + b'"}\n'
    entry = b'{"entry":{"seq":7,"entry_sha256":"k"},"is_recovered":false}\n'
    file = tmp_path / "entries.jsonl"
    for data in (entry + rows + end, rows + entry + end, entry + end):
        file.write_bytes(data)
        handle = os.open(file, os.O_RDONLY)
        assert last_entry(handle) == (data.rindex(entry) + len(entry), {"seq": 7, "entry_sha256": "k", "is_last": True})
        os.close(handle)


def test_appending_reads_the_end_of_a_long_ledger_only(lake: DuckLake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        lake.commit(commit(f"k{number}", decided("", f"b{number}", 2_000)))
    assert file_of(lake).stat().st_size > 20 * TAIL_BYTES
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, size, start: read.append(size) or real(handle, size, start))

    lake.commit(commit("next", used(1)))

    assert max(read) == TAIL_BYTES


def test_a_ledger_that_cannot_be_written_does_not_undo_the_commit(
    lake: DuckLake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lake.commit(commit("one", used(1)))
    real = os.write

    def half_then_full(handle: int, data: bytes) -> int:
        if bytes(data).startswith(INTENT):
            return real(handle, data)
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real(handle, data[: len(data) - 50])

    with monkeypatch.context() as full:
        full.setattr(os, "write", half_then_full)
        assert not lake.commit(commit("two", used(2))).was_replayed

    assert "entry 2 is committed, but not in" in caplog.text
    assert seqs(lake) == [(1, False)]
    lake.commit(commit("three", used(3)))
    assert seqs(lake) == [(1, False), (2, False), (3, False)]
    assert findings(lake) == []


def test_a_last_line_nobody_can_read_stays_as_evidence_and_lets_nobody_go_on(lake: DuckLake) -> None:
    for number in range(2):
        lake.commit(commit(f"k{number}", used(number)))
    damaged = file_of(lake).read_bytes()[:-3] + b"!!\n"
    file_of(lake).write_bytes(damaged)

    with pytest.raises(IntegrityError, match="lines stand at the end of the ledger of tiny"):
        lake.commit(commit("next", used(3)))

    assert file_of(lake).read_bytes() == damaged
    assert any("is not what was written" in what for what in findings(lake))


def test_a_catalog_older_than_its_ledger_is_refused_and_found(lake: DuckLake) -> None:
    for number in range(3):
        lake.commit(commit(f"k{number}", used(number)))
    first = lake.read("audit_log", seq=1).row(0, named=True)
    lake._connection.execute("DELETE FROM lake.audit_log WHERE seq > 1")
    lake._connection.execute("UPDATE lake.heads SET audit_seq = 1, audit_sha256 = ?", [first["entry_sha256"]])

    with pytest.raises(IntegrityError, match="its ledger knows entry 3"):
        lake.commit(commit("another past", used(9)))

    assert [seq for seq, _ in seqs(lake)] == [1, 2, 3]
    assert any("entry 2" in what for what in findings(lake))
