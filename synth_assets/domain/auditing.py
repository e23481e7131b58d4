"""Whether an audit chain, its head and its ledger still say the same: every contradiction with its first bad entry."""

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.agreement import moved, strays
from synth_assets.domain.chain import FIRST, RESTORE, Chain
from synth_assets.domain.ledger import FIRST_HEAD, Recorded, entry_line, entry_sha256, intent_line, lines_sha256
from synth_assets.domain.replay import differing
from synth_assets.tables import TABLES, Bound
from synth_assets.vocabulary import Stage

Entry = Mapping[str, Any]
"""A row of `audit_log`."""

SHORTEST_HEAD = 12
NO_ROWS = lines_sha256([])
FROM_BACKUP = "restore it from a backup"
OF_AN_OBJECT = ["kind", "batch", "object_sha256", "suffix"]


@dataclass(frozen=True)
class Finding:
    """Something that contradicts itself.

    Attributes:
        seq: first entry concerned; None if none is.
    """

    seq: int | None
    what: str
    where: str
    fix: str


def broken_chain(entries: Sequence[Entry], *, where: str) -> Finding | None:
    """Return the first entry that is missing, changed, or does not follow the one before.

    Args:
        entries: one dataset's rows of `audit_log`, sorted by ``seq``.
        where: what to call the place.
    """
    previous = FIRST_HEAD
    for expected, entry in enumerate(entries, start=1):
        if entry["seq"] != expected:
            is_gone = entry["seq"] > expected
            what = f"entry {expected} is missing" if is_gone else f"there are several entries {entry['seq']}"
            return Finding(min(expected, entry["seq"]), what, where, RESTORE)
        if entry_sha256(entry) != entry["entry_sha256"]:
            return Finding(
                expected, f"entry {expected} was changed: its hash is not that of its fields", where, RESTORE
            )
        if entry["previous_sha256"] != previous:
            return Finding(expected, f"entry {expected} does not follow entry {expected - 1}", where, RESTORE)
        previous = entry["entry_sha256"]
    return None


def broken_heads(entries: Sequence[Entry], heads: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return what contradicts the dataset's row of `heads`, which is moved with every entry; empty if nothing does.

    Args:
        entries: one dataset's rows of `audit_log`, sorted by ``seq``.
        heads: its rows of `heads`: one, or none as long as the chain is empty.
    """
    end = (entries[-1]["seq"], entries[-1]["entry_sha256"]) if entries else (0, FIRST_HEAD)
    stored = [(head["audit_seq"], head["audit_sha256"]) for head in heads] or [(0, FIRST_HEAD)]
    if stored == [end]:
        return []
    said = stored[0][0]
    what = f"the chain ends at entry {end[0]}, but its head says entry {said}"
    if len(stored) > 1:
        what = f"there are {len(stored)} heads"
    elif said == end[0]:
        what = f"the head names another entry {said} than the chain ends with"
    first = min(said, end[0]) + (said != end[0])
    return [Finding(first, what, "heads, columns audit_seq and audit_sha256", RESTORE)]


def broken_ledger(entries: Sequence[Entry], ledger: Sequence[Recorded], *, where: str) -> list[Finding]:
    """Return the first contradiction between chain and ledger; empty if there is none.

    Args:
        entries: one dataset's rows of `audit_log`, sorted by ``seq``.
        ledger: its ledger in the order of the file.
        where: the file.
    """
    return first_of(_against_the_ledger(entries, ledger, where))


def first_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return the finding about the earliest entry, saying how many more there are; empty if there is none."""
    found = sorted(findings, key=lambda finding: finding.seq or 0)
    if not found:
        return []
    more = f" ({len(found) - 1} more like it)" if len(found) > 1 else ""
    return [replace(found[0], what=found[0].what + more)]


def _against_the_ledger(entries: Sequence[Entry], ledger: Sequence[Recorded], where: str) -> Iterator[Finding]:
    by_seq = {entry["seq"]: entry for entry in entries}
    seen, completed = 0, _completed(entries, ledger)
    for record in ledger[: len(ledger) - _is_open(entries, ledger)]:
        line = f"{where}, line {record.line_number}"
        if record.seq == 0:
            yield Finding(seen + 1, "a line of the ledger is not what was written", line, RESTORE)
            continue
        if record.seq <= seen:
            yield Finding(record.seq, f"entry {record.seq} stands behind entry {seen}", line, RESTORE)
        seen = max(seen, record.seq)
        entry = by_seq.get(record.seq)
        if entry is None:
            yield Finding(record.seq, f"entry {record.seq} is in the ledger, not in the catalog", line, RESTORE)
        else:
            yield from _against_the_line(entry, record, line)
    for seq in sorted(set(by_seq) - {record.seq for record in ledger} - completed):
        yield Finding(
            seq,
            f"entry {seq} is in the catalog, not in the ledger",
            where,
            "restore the ledger from a backup",
        )


def counting_lines(entries: Sequence[Entry], ledger: Sequence[Recorded]) -> int:
    """Return how many lines of a ledger belong to entries: all but those of a commit that never happened."""
    is_pending = _is_open(entries, ledger) and not _completed(entries, ledger)
    counting = ledger[:-1] if is_pending else ledger
    return counting[-1].line_number if counting else 0


def _is_open(entries: Sequence[Entry], ledger: Sequence[Recorded]) -> bool:
    """Whether the last lines are a commit without its entry: one to be completed, or one that never happened.

    Lines of an entry that the catalog holds, but that are not those it promises, are neither.
    """
    if not ledger or ledger[-1].is_entry or ledger[-1].intended is None:
        return False
    is_known = any(entry["entry_sha256"] == ledger[-1].intended for entry in entries)
    return not is_known or bool(_completed(entries, ledger))


def _completed(entries: Sequence[Entry], ledger: Sequence[Recorded]) -> set[int]:
    """Return the last entry if only it is missing, and the lines at the end intend it and are its rows.

    That is what a process leaves that died right after its commit; the next commit writes the entry.
    """
    if not ledger or not entries or ledger[-1].is_entry:
        return set()
    last, end = entries[-1], ledger[-1]
    is_next = last["seq"] == max((record.seq for record in ledger), default=0) + 1
    is_whole = end.rows_sha256 == _details(last).get("ledger_sha256", NO_ROWS)
    return {last["seq"]} if is_next and is_whole and end.intent == intent_line(last) else set()


def _against_the_line(entry: Entry, record: Recorded, line: str) -> Iterator[Finding]:
    seq = entry["seq"]
    is_bound = _details(entry).get("form", FIRST) != FIRST
    promised = record.told.get("rows_sha256") if record.is_recovered else _details(entry).get("ledger_sha256", NO_ROWS)
    if record.rows_sha256 != promised:
        yield Finding(seq, f"the rows that entry {seq} carries in the ledger were changed", line, RESTORE)
    elif record.line != entry_line(entry, record.rows_sha256, is_recovered=record.is_recovered):
        yield Finding(seq, f"entry {seq} says one thing in the catalog, another in the ledger", line, RESTORE)
    elif is_bound and record.is_recovered:
        yield Finding(seq, f"entry {seq} is said to have been recovered, which none of its form can be", line, RESTORE)
    elif record.intent != (intent_line(entry) if is_bound else b""):
        yield Finding(seq, f"the ledger does not hold the intent of entry {seq}", line, RESTORE)


def broken_tables(told: Mapping[str, pl.DataFrame], stored: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """Return the tables whose rows are not those the ledger tells, with the key of one row each.

    Args:
        told: the carried tables by the ledger, see `replayed`.
        stored: the same by the catalog, one dataset's rows.
    """
    strays = {name: differing(name, told[name], rows) for name, rows in stored.items()}
    return [
        Finding(
            None,
            f"{name} is not what the ledger tells; rows that differ: {len(keys)}, the first is {keys[0]}",
            f"{name}, by {', '.join(TABLES[name].key)}",
            "restore the catalog from a backup; the ledger holds what was committed, with the entry that did",
        )
        for name, keys in strays.items()
        if keys
    ]


def hidden_rows(whole: Mapping[str, int], found: Mapping[str, int]) -> list[Finding]:
    """Return the tables of which a read with a condition finds other rows than one without.

    DuckLake keeps a minimum and a maximum of every column of every file, and leaves out files by them.

    Args:
        whole: rows by table, of a read without any condition.
        found: the same, of reads by the columns that stages ask for.
    """
    return [
        Finding(
            None,
            f"{name} has {count} rows, and {found[name]} are found by their dataset",
            f"{name}, the stored minima and maxima of its files",
            "restore the catalog from a backup",
        )
        for name, count in whole.items()
        if count != found[name]
    ]


def unbound_rows(chain: Chain, tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """Return the tables that hold other rows than their entries bound, with one place each.

    Args:
        chain: of the dataset.
        tables: every table's rows of the dataset.
    """
    if not chain.is_bound:
        return []
    here = {"dataset": chain.dataset}
    found = []
    for name, rows in tables.items():
        kind = TABLES[name].bound
        wrong = strays(chain, name, rows, here) if kind is Bound.ROWS else []
        wrong = moved(chain, name, rows.to_dicts(), here) if kind is Bound.STATE else wrong
        if wrong:
            what = f"{name} is not what its entries bound: {wrong[0]}"
            found.append(Finding(None, what, f"{name}, dataset {chain.dataset}", RESTORE))
    return [*found, *_misplaced(chain, tables), *_misnamed(chain, tables["objects"])]


def _misplaced(chain: Chain, tables: Mapping[str, pl.DataFrame]) -> Iterator[Finding]:
    """The one column no hash covers is the place that the lake fills in."""
    for row in tables["stage_commits"].select("commit_key", "commit_seq").iter_rows(named=True):
        entry = chain.keys.get(row["commit_key"])
        if entry is None or entry.seq != row["commit_seq"]:
            where = f"stage_commits, commit_key {row['commit_key']}"
            yield Finding(
                entry.seq if entry else None, "a stage commit names another entry than its own", where, RESTORE
            )
            return


def _misnamed(chain: Chain, objects: pl.DataFrame) -> Iterator[Finding]:
    rows = [(kind, batch, sha + suffix) for kind, batch, sha, suffix in objects.select(OF_AN_OBJECT).iter_rows()]
    stored = set(rows)
    if len(rows) != len(stored):
        twice = next(row for row in rows if rows.count(row) > 1)
        yield Finding(chain.payload.get(twice), "objects holds a file twice", f"objects, {twice[2]}", RESTORE)
        return
    for kind, batch, name in sorted(stored ^ set(chain.payload), key=str):
        does = "holds a file that no entry names" if (kind, batch, name) in stored else "no longer names a payload file"
        yield Finding(chain.payload.get((kind, batch, name)), f"objects {does}: {kind}", f"objects, {name}", RESTORE)
        return


def broken_test_sets(chain: Chain, stored: pl.DataFrame) -> list[Finding]:
    """Return the first test set whose row is not what the entries of the models measured on it say.

    Args:
        chain: of the dataset.
        stored: all rows of `evaluation_datasets`.
    """
    rows = dict(stored.select("sha256", "num_rows").iter_rows())
    for sha, (seq, said) in chain.test_sets.items():
        if rows.get(sha) != said["num_rows"]:
            what = f"the test set {said['name']} is not the one that models were measured on"
            return [Finding(seq, what, f"evaluation_datasets, {sha}", RESTORE)]
    return []


def broken_journal(chain: Chain, found: Mapping[tuple[str, str], tuple[int, str]], *, where: str) -> list[Finding]:
    """Return the first segment of the journal that is not what an entry bound of it; empty if all are.

    Args:
        chain: of the dataset.
        found: bytes and sha256 of the beginning of every bound segment that is there, by (batch, segment).
        where: the journal's folder.
    """
    wrong = sorted(each for each, bound in chain.journal.items() if found.get(each) != bound)
    if not wrong:
        return []
    batch, name = wrong[0]
    does = "was changed" if wrong[0] in found else "is gone"
    more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
    return [Finding(None, f"a segment of the journal {does}{more}", f"{where}/{batch}/{name}", FROM_BACKUP)]


def _details(entry: Entry) -> dict[str, Any]:
    try:
        value = orjson.loads(entry["details"])
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def named_objects(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the payload files the chain names, ``<sha256><suffix>``, with the first entry that names each.

    A file that a later entry names under ``erased`` is gone on purpose.
    """
    named: dict[str, int] = {}
    for entry in entries:
        details = _details(entry)
        for name in _names(details, "objects"):
            named.setdefault(name, entry["seq"])
        for name in _names(details, "erased"):
            named.pop(name, None)
    return named


def _names(details: Mapping[str, Any], key: str) -> list[str]:
    names = details.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


def named_manifests(entries: Sequence[Entry]) -> dict[int, tuple[int, str]]:
    """Return version to (entry, sha256 of its manifest); of several entries about a version the last counts."""
    found: dict[int, tuple[int, str]] = {}
    for entry in entries:
        details = _details(entry)
        number = details.get("version")  # one that is no number is a finding of the chain itself
        if entry["action"] == Stage.DATASET_VERSION and "manifest_sha256" in details and isinstance(number, int):
            found[number] = (entry["seq"], str(details["manifest_sha256"]))
    return found


def is_head(text: str) -> bool:
    """Whether a text can be the beginning of an entry's hash: at least 12 and at most 64 lower-case hex digits."""
    return SHORTEST_HEAD <= len(text) <= len(FIRST_HEAD) and set(text) <= set(string.hexdigits.lower())


def place_of(head: str, entries: Sequence[Entry]) -> int | None:
    """Return the number of the entry whose hash begins with ``head``; None if the chain has no such entry.

    Hashes are computed anew: what the catalog claims to be a hash proves nothing.
    """
    return next((entry["seq"] for entry in entries if entry_sha256(entry).startswith(head)), None)
