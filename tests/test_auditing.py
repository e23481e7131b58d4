"""Verifying an audit chain: whatever is changed, removed or moved is found, at its first entry."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from synth_assets.domain.auditing import (
    Finding,
    broken_chain,
    broken_heads,
    broken_ledger,
    is_head,
    named_manifests,
    named_objects,
    place_of,
)
from synth_assets.domain.ledger import (
    FIRST_HEAD,
    entry_line,
    entry_sha256,
    intent_line,
    lines_sha256,
    recorded,
    sealed,
)
from synth_assets.domain.transactions import Change, Commit, StoredObject, Swap
from synth_assets.tables import TABLES

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LENGTH = 5
FIELDS = [name for name in TABLES["audit_log"].dtypes if name != "hmac"]
Entry = dict[str, Any]


def decisions(batch: str, count: int = 2) -> pl.DataFrame:
    one = {"dataset": "tiny", "batch": batch, "decision": "accepted", "reason": None, "quality_score": 0.5}
    one |= {"source_type": "CODE", "source_id": "rules", "decided_at": NOON}
    return TABLES["decisions"].frame([one | {"sample_id": f"{batch}-{number}"} for number in range(count)])


def committed(number: int) -> Commit:
    """The commit of an entry; every other one carries rows."""
    rows = (
        [Change("decisions", decisions(f"b{number}"), {"dataset": "tiny", "batch": f"b{number}"})] if number % 2 else []
    )
    return Commit("tiny", f"key {number}", "curated", "run", {"batch": f"b{number}"}, changes=rows)


def linked(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with every hash computed anew, as somebody would who rewrites history with care."""
    previous, chain = FIRST_HEAD, []
    for seq, entry in enumerate(entries, start=1):
        told = {**entry, "seq": seq, "previous_sha256": previous}
        previous = entry_sha256(told)
        chain.append({**told, "entry_sha256": previous})
    return chain


def history() -> tuple[list[Entry], list[bytes]]:
    """Return a chain and the lines of its ledger."""
    commits = [sealed(committed(number)) for number in range(1, LENGTH + 1)]
    entries = linked(
        [
            {
                "dataset": "tiny",
                "commit_key": commit.key,
                "action": commit.action,
                "actor": "ada",
                "run_id": commit.run_id,
                "details": orjson.dumps(dict(commit.details)).decode(),
                "entered_at": NOON + timedelta(minutes=number),
            }
            for number, (commit, _) in enumerate(commits)
        ]
    )
    lines: list[bytes] = []
    for entry, (_, carried) in zip(entries, commits, strict=True):
        lines += [intent_line(entry), *carried, entry_line(entry, lines_sha256(carried), is_recovered=False)]
    return entries, lines


ENTRIES, LINES = history()
HEAD = {"audit_seq": LENGTH, "audit_sha256": ENTRIES[-1]["entry_sha256"]}


def found(
    entries: Sequence[Entry] = ENTRIES, heads: Sequence[dict[str, Any]] = (HEAD,), lines: Sequence[bytes] = LINES
) -> list[Finding]:
    chain = broken_chain(entries, where="catalog")
    ledger = broken_ledger(entries, recorded(lines), where="ledger")
    return [*([chain] if chain else []), *broken_heads(entries, heads), *ledger]


def first_bad(findings: Sequence[Finding]) -> int | None:
    return min((finding.seq for finding in findings if finding.seq is not None), default=None)


def changed(value: Any, by: int) -> Any:
    """Return another value of the same type."""
    if isinstance(value, str):
        place = by % len(value)
        return value[:place] + ("x" if value[place] != "x" else "y") + value[place + 1 :]
    return value + timedelta(microseconds=by + 1) if isinstance(value, datetime) else value + by + 1


places = st.integers(0, LENGTH - 1)


def test_an_honest_history_has_no_findings() -> None:
    assert found() == []


def test_no_history_at_all_is_no_contradiction() -> None:
    assert found([], [], []) == []


@settings(deadline=None)
@given(place=places, field=st.sampled_from(FIELDS), by=st.integers(0, 1000))
def test_any_changed_field_of_any_entry_is_found_at_that_entry(place: int, field: str, by: int) -> None:
    entries = [dict(entry) for entry in ENTRIES]
    entries[place][field] = changed(entries[place][field], by)
    in_order = sorted(entries, key=lambda entry: entry["seq"])

    assert first_bad(found(in_order)) == place + 1
    chain = broken_chain(in_order, where="catalog")
    assert chain is not None
    assert chain.seq == place + 1


@settings(deadline=None)
@given(place=places)
def test_an_entry_rewritten_with_its_own_hash_is_found_at_the_next_one_or_at_the_head(place: int) -> None:
    entries = [dict(entry) for entry in ENTRIES]
    entries[place]["actor"] = "eve"
    entries[place]["entry_sha256"] = entry_sha256(entries[place])

    chain = broken_chain(entries, where="catalog")
    assert (chain.seq if chain else None) == (place + 2 if place + 1 < LENGTH else None)
    assert chain is not None or broken_heads(entries, [HEAD]) != []
    assert first_bad(found(entries)) == place + 1


@settings(deadline=None)
@given(place=places)
def test_a_removed_entry_is_found_where_it_was(place: int) -> None:
    entries = [entry for entry in ENTRIES if entry["seq"] != place + 1]

    assert first_bad(found(entries)) == place + 1
    assert broken_chain(entries, where="") is not None or broken_heads(entries, [HEAD]) != []


@settings(deadline=None)
@given(place=places)
def test_an_entry_that_is_there_twice_is_found(place: int) -> None:
    entries = sorted([*ENTRIES, ENTRIES[place]], key=lambda entry: entry["seq"])

    assert first_bad(found(entries)) == place + 1


@settings(deadline=None)
@given(place=places, field=st.sampled_from(["action", "actor", "details", "run_id", "commit_key", "entered_at"]))
def test_history_rewritten_with_care_in_the_catalog_is_found_in_the_ledger(place: int, field: str) -> None:
    entries = [dict(entry) for entry in ENTRIES]
    entries[place][field] = changed(entries[place][field], 3)
    rewritten = linked(entries)
    head = {"audit_seq": LENGTH, "audit_sha256": rewritten[-1]["entry_sha256"]}

    assert broken_chain(rewritten, where="") is None
    assert broken_heads(rewritten, [head]) == []
    assert first_bad(found(rewritten, [head])) == place + 1


@settings(deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_the_ledger_is_found(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(LINES) - 1))
    place = data.draw(st.integers(0, len(LINES[number]) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != LINES[number][place]))
    assume((number, place) != (len(LINES) - 1, len(LINES[-1]) - 1))  # without its end it was being written
    bent = LINES[number][:place] + bytes([other]) + LINES[number][place + 1 :]
    whole = b"".join([*LINES[:number], bent, *LINES[number + 1 :]])

    assert found(lines=whole.splitlines(keepends=True)) != []


@settings(deadline=None)
@given(number=st.integers(0, len(LINES) - 2))
def test_a_removed_line_of_the_ledger_is_found(number: int) -> None:
    """But for the entry of the last commit, which a process that dies leaves out, and the next one writes."""
    assert found(lines=[*LINES[:number], *LINES[number + 1 :]]) != []


@settings(deadline=None)
@given(number=st.integers(0, len(LINES) - 1), to=st.integers(0, len(LINES)))
def test_a_line_that_is_there_twice_is_found(number: int, to: int) -> None:
    assert found(lines=[*LINES[:to], LINES[number], *LINES[to:]]) != []


@settings(deadline=None)
@given(number=st.integers(0, len(LINES) - 2))
def test_two_lines_that_changed_places_are_found(number: int) -> None:
    lines = [*LINES[:number], LINES[number + 1], LINES[number], *LINES[number + 2 :]]

    assert found(lines=lines) != []


@settings(deadline=None)
@given(kept=st.integers(0, LENGTH - 1))
def test_a_tail_cut_off_everywhere_is_found_by_nothing_but_a_head_kept_outside(kept: int) -> None:
    ends = [number for number, line in enumerate(LINES, start=1) if line.startswith(b'{"entry":')]
    lines = LINES[: ends[kept - 1]] if kept else []
    entries = ENTRIES[:kept]
    head = [{"audit_seq": kept, "audit_sha256": entries[-1]["entry_sha256"]}] if kept else []

    assert found(entries, head, lines) == []
    assert place_of(HEAD["audit_sha256"], entries) is None
    assert place_of(HEAD["audit_sha256"][:12], ENTRIES) == LENGTH


def test_a_head_kept_outside_is_compared_with_hashes_computed_anew() -> None:
    entries = [dict(entry) for entry in ENTRIES]
    entries[1]["action"] = "something else"

    assert place_of(ENTRIES[1]["entry_sha256"], entries) is None


@pytest.mark.parametrize("heads", [[], [{"audit_seq": 4, "audit_sha256": "x"}], [HEAD, HEAD]])
def test_a_head_that_is_gone_stale_or_doubled_is_found(heads: list[dict[str, Any]]) -> None:
    assert broken_heads(ENTRIES, heads) != []


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a" * 12, True), ("0123456789abcdef" * 4, True), ("a" * 11, False), ("a" * 65, False), ("g" * 12, False)],
)
def test_a_head_is_twelve_to_sixty_four_hex_digits(text: str, is_one: bool) -> None:
    assert is_head(text) is is_one


def test_rows_changed_together_with_their_hash_in_the_ledger_are_found_by_the_chain() -> None:
    intent, rows = LINES[0], [LINES[1].replace(b"accepted", b"rejected")]
    line = entry_line(ENTRIES[0], lines_sha256(rows), is_recovered=False)

    assert first_bad(found(lines=[intent, *rows, line, *LINES[3:]])) == 1


def test_rows_of_a_recovered_entry_are_held_by_their_own_hash() -> None:
    """Entries of the first form may come back so; those of today's never do."""
    carried = [b'{"table":"decisions"}\n']
    entries = linked([*ENTRIES[:-1], {**ENTRIES[-1], "details": '{"batch":"b5"}'}])
    heads = [{"audit_seq": LENGTH, "audit_sha256": entries[-1]["entry_sha256"]}]
    lines = [*LINES[:-3], *carried, entry_line(entries[-1], lines_sha256(carried), is_recovered=True)]

    assert found(entries, heads, lines) == []
    assert recorded(lines)[-1].is_recovered
    assert first_bad(found(entries, heads, [*lines[:-2], b'{"table":"decisiont"}\n', lines[-1]])) == LENGTH
    ours = [*LINES[:-1], entry_line(ENTRIES[-1], lines_sha256(LINES[-2:-1]), is_recovered=True)]
    assert first_bad(found(lines=ours)) == LENGTH


def test_what_a_commit_names_and_carries_goes_into_its_entry() -> None:
    payload = [("texts", "b", StoredObject("b" * 64, ".parquet", 1)), ("recipe", None, StoredObject("a" * 64, "", 1))]
    swap = Swap("dataset_aliases", {"alias": "production"}, {"version": 2}, {"version": 1})
    guard = Swap("dataset_aliases", {"alias": "production"}, {"version": 2})
    other = Change("usage_log", TABLES["usage_log"].frame([]))

    commit, lines = sealed(replace(committed(1), payload=payload, swaps=[swap, guard], changes=[other]))

    assert commit.details["objects"] == ["a" * 64, "b" * 64 + ".parquet"]
    assert commit.details["ledger_sha256"] == lines_sha256(lines)
    assert [orjson.loads(line) for line in lines] == [
        {"table": "dataset_aliases", "where": {"alias": "production"}, "set": {"version": 1}}
    ]


def test_a_commit_that_carries_nothing_says_its_form_and_nothing_more() -> None:
    commit = replace(committed(1), changes=[])

    assert sealed(commit) == (replace(commit, details={**commit.details, "form": 2, "binds": {}}), [])


def told(seq: int, action: str, **details: Any) -> Entry:
    return {"seq": seq, "action": action, "details": orjson.dumps(details).decode()}


def test_a_payload_file_is_named_until_it_is_erased() -> None:
    entries = [told(1, "generated", objects=["a", "b"]), told(2, "scored", objects=["b", "c"])]

    assert named_objects(entries) == {"a": 1, "b": 1, "c": 2}
    assert named_objects([*entries, told(3, "erase", erased=["a"])]) == {"b": 1, "c": 2}


def test_of_several_manifests_of_a_version_the_last_counts() -> None:
    entries = [
        told(1, "dataset_version", version=1, manifest_sha256="old"),
        told(2, "export", version=1, manifest_sha256="copied"),
        told(3, "dataset_version", version=1, manifest_sha256="new"),
        told(4, "dataset_version", version=2),
    ]

    assert named_manifests(entries) == {1: (3, "new")}
