"""The file of heads outside the home: what it tells, and what becomes of one that is damaged."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.lake.head_file import HeadFile
from synth_assets.domain.chain import Chain, Entry
from synth_assets.errors import IntegrityError, UsageError

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def chain_of(*heads: str) -> Chain:
    entries = [Entry(seq, head * 64, f"key {seq}", "curated", "", NOON, {}) for seq, head in enumerate(heads, start=1)]
    return Chain("films", length=len(heads), head=heads[-1] * 64, entries=entries)


def test_a_chain_that_goes_on_from_the_kept_head_is_the_same_one(tmp_path: Path) -> None:
    kept = HeadFile(tmp_path / "heads.jsonl")
    kept.compare(chain_of("a", "b"))  # nothing is kept yet
    kept.keep(chain_of("a", "b"))

    kept.compare(chain_of("a", "b", "c"))
    for other in (chain_of("a"), chain_of("a", "x"), chain_of("a", "x", "c")):
        with pytest.raises(IntegrityError):
            kept.compare(other)


def test_a_head_is_written_down_once(tmp_path: Path) -> None:
    kept = HeadFile(tmp_path / "heads.jsonl")
    for chain in (chain_of("a"), chain_of("a"), chain_of("a", "b")):
        kept.keep(chain)

    assert len(kept.path.read_bytes().splitlines()) == 2


def test_a_line_that_was_being_written_when_its_process_died_counts_for_nothing_and_is_replaced(tmp_path: Path) -> None:
    kept = HeadFile(tmp_path / "heads.jsonl")
    kept.keep(chain_of("a"))
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole + whole[:20])

    kept.compare(chain_of("a", "b"))
    kept.keep(chain_of("a", "b"))

    assert kept.path.read_bytes().startswith(whole)
    with pytest.raises(IntegrityError):
        kept.compare(chain_of("a", "x"))


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"dataset":"films","seq":0,"head":"a"}', '{"dataset":"films"}'])
def test_a_file_that_these_commands_did_not_write_is_refused(tmp_path: Path, line: str) -> None:
    kept = HeadFile(tmp_path / "heads.jsonl")
    kept.path.write_text(f"{line}\n")

    with pytest.raises(UsageError, match="the file of heads cannot be read"):
        kept.compare(chain_of("a"))


def test_a_folder_is_no_file_of_heads(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the file of heads cannot be read"):
        HeadFile(tmp_path).compare(chain_of("a"))
