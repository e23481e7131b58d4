"""What the audit says, and whether catalog, ledger, payload and releases still agree with it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from resources.journal import prefixes_of
from resources.lake import DuckLake
from synth_assets.domain import auditing
from synth_assets.domain.auditing import Entry, Finding
from synth_assets.domain.chain import Chain
from synth_assets.domain.ledger import CARRIED, FIRST_HEAD, Recorded, recorded
from synth_assets.domain.replay import replayed
from synth_assets.domain.versioning import number_of
from synth_assets.errors import IntegrityError
from synth_assets.stages.proof import proven_lines
from synth_assets.tables import TABLES

FROM_BACKUP = "restore it from a backup"


@dataclass(frozen=True)
class Audited:
    """What verifying one dataset found.

    Attributes:
        entries: length of the chain.
        head: hash of its last entry, the one to keep outside; zeros for an empty chain.
        recovered: entries that were written into the ledger later, from the catalog.
        objects: payload files whose bytes were hashed.
        releases: release folders that were compared with their manifests.
        known_head: number of the entry that the head given by the person is; None if none was given.
        is_bound: whether every row is bound by an entry; homes of an earlier time are bound by the next that writes.
        migrated_at: the entry that bound what was there before; None if nothing was.
        signed_from: the first entry that is signed; None if none is.
        findings: contradictions, the first of each kind.
    """

    dataset: str
    entries: int
    head: str
    recovered: list[int]
    objects: int
    releases: int
    known_head: int | None
    is_bound: bool
    migrated_at: int | None
    signed_from: int | None
    findings: list[Finding]


@dataclass(frozen=True)
class _Stored:
    """A dataset's part of the catalog, and how long its ledger was at that moment.

    Attributes:
        tables: every table's rows of the dataset, read whole.
        counted: rows of every table, as a read through its predicates finds them.
    """

    tables: dict[str, pl.DataFrame]
    counted: dict[str, int]
    ledger_bytes: int

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The chain."""
        return self.tables["audit_log"].to_dicts()

    @property
    def objects(self) -> set[str]:
        """Names of payload files."""
        return set(self.tables["objects"].select(pl.col("object_sha256") + pl.col("suffix")).to_series())

    @property
    def manifests(self) -> dict[int, str]:
        """Manifest by version."""
        versions = self.tables["dataset_versions"]
        return dict(zip(versions["version"], versions["manifest_sha256"], strict=True))


def datasets(lake: DuckLake) -> list[str]:
    """Return every dataset the audit or the ledger knows, sorted."""
    known = pl.concat([lake.read(table).select("dataset") for table in ("audit_log", "heads")])
    return sorted({*known["dataset"], *lake.ledger.datasets()})


def log(lake: DuckLake, dataset: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the last entries of one chain or of every chain, the newest last.

    Which entries are the last is told by their place in the chain. A time is what a machine's clock said: one that ran
    ahead would hide whatever is written until that time has come. So ``limit`` counts for each chain, because no time
    proves which of two chains was written to later.

    Several chains are merged by time without changing the order of any: an entry stands where the earliest time of
    its own and all that follow it in its chain belongs.

    Args:
        lake: the lake.
        dataset: whose chain; None for all.
        limit: entries at most of each chain.

    Returns:
        Rows of `audit_log` with ``is_earlier``: whether the time is before that of the entry before in its chain.
    """
    chosen = {} if dataset is None else {"dataset": dataset}
    time = pl.col("entered_at")
    entries = lake.read("audit_log", **chosen).sort("dataset", "seq")
    told = entries.with_columns(
        (time < time.shift(1).over("dataset")).fill_null(value=False).alias("is_earlier"),
        time.cum_min(reverse=True).over("dataset").alias("until"),
    )
    last = told.group_by("dataset", maintain_order=True).tail(limit)
    return last.sort("until", "dataset", "seq").drop("until").to_dicts()


def verify(lake: DuckLake, dataset: str, head: str | None) -> Audited:
    """Compute a dataset's chain anew and compare everything with it; nothing is changed.

    Commits wait while the catalog is read and the ledger's length is taken, so both are of one moment. What is in the
    ledger, in payload files and in release folders never changes and is read afterwards.

    Args:
        lake: the lake, with its ledger and payload.
        dataset: whose chain.
        head: hash of an entry, or at least 12 digits of it, that was kept outside; None if there is none.
    """
    stored = _stored(lake, dataset)
    ledger = recorded(lake.ledger.lines(dataset, stored.ledger_bytes))
    known = auditing.place_of(head, stored.entries) if head else None
    unknown = [_unknown_head(dataset, head, stored.entries)] if head and known is None else []
    chain, broken = _chain(lake, dataset, stored)
    return Audited(
        dataset=dataset,
        entries=len(stored.entries),
        head=stored.entries[-1]["entry_sha256"] if stored.entries else FIRST_HEAD,
        recovered=[record.seq for record in ledger if record.is_recovered],
        objects=len({*auditing.named_objects(stored.entries), *stored.objects}),
        releases=len({*auditing.named_manifests(stored.entries), *stored.manifests}),
        known_head=known,
        is_bound=chain.is_bound,
        migrated_at=chain.migrated_at,
        signed_from=chain.signed_from,
        findings=[*unknown, *_findings(lake, dataset, stored, ledger, broken or _unbound(lake, chain, stored))],
    )


def _stored(lake: DuckLake, dataset: str) -> _Stored:
    with lake.standing_still():
        names = [name for name in TABLES if "dataset" in TABLES[name].dtypes]
        tables = {name: lake.whole(name).filter(dataset=dataset) for name in names}
        tables["audit_log"] = tables["audit_log"].sort("seq")
        return _Stored(
            tables=tables,
            counted={name: lake.read(name, dataset=dataset).height for name in names},
            ledger_bytes=lake.ledger.size(dataset),
        )


def _findings(
    lake: DuckLake, dataset: str, stored: _Stored, ledger: Sequence[Recorded], unbound: Sequence[Finding]
) -> list[Finding]:
    file, entries = lake.ledger.file(dataset), stored.entries
    chain = auditing.broken_chain(entries, where=f"audit_log, dataset {dataset}")
    manifests = auditing.named_manifests(entries)
    against = auditing.broken_ledger(entries, ledger, where=str(file))
    carried = {name: stored.tables[name] for name in CARRIED}
    told = islice(lake.ledger.lines(dataset, stored.ledger_bytes), auditing.counting_lines(entries, ledger))
    return [
        *([chain] if chain else []),
        *auditing.broken_heads(entries, stored.tables["heads"].to_dicts()),
        *(against or _broken_tables(told, carried, file)),
        *auditing.hidden_rows({name: rows.height for name, rows in stored.tables.items()}, stored.counted),
        *([] if chain else unbound),
        *auditing.first_of(_broken_objects(lake, auditing.named_objects(entries), stored.objects)),
        *auditing.first_of(_broken_releases(lake, dataset, manifests, stored.manifests)),
    ]


def _chain(lake: DuckLake, dataset: str, stored: _Stored) -> tuple[Chain, list[Finding]]:
    """Return what the entries prove, up to the first that is broken, and what that is."""
    chain = Chain(dataset)
    try:
        chain.extend(stored.entries, lambda sha: lake.get(sha, ".json"), lake.chains.sign)
        lake.chains.compare_kept(chain)
    except IntegrityError as error:
        return chain, [Finding(None, error.what, error.where, error.fix)]
    return chain, []


def _unbound(lake: DuckLake, chain: Chain, stored: _Stored) -> list[Finding]:
    """Compare every row and every segment of the journal with what the entries bound."""
    journal = prefixes_of(lake.home, chain.dataset, chain.journal)
    return [
        *auditing.unbound_rows(chain, stored.tables),
        *auditing.broken_journal(chain, journal, where=str(lake.home / "journal" / chain.dataset)),
        *auditing.broken_test_sets(chain, lake.whole("evaluation_datasets")),
    ]


def _broken_tables(lines: Iterable[bytes], tables: Mapping[str, pl.DataFrame], file: Path) -> list[Finding]:
    try:
        told = replayed(lines)
    except (
        ValueError,
        LookupError,
        TypeError,
        pl.exceptions.PolarsError,
    ):  # recovered rows carry a hash anybody can make
        return [Finding(None, "rows of the ledger cannot be read", str(file), FROM_BACKUP)]
    return auditing.broken_tables(told, tables)


def _unknown_head(dataset: str, head: str, entries: Sequence[Entry]) -> Finding:
    return Finding(
        None,
        f"the head {head[:12]}... is no entry of the chain: it was cut short or rewritten",
        f"audit_log, dataset {dataset}; entries: {len(entries)}",
        "restore catalog and ledger from backups that hold this head; if it is another dataset's, name that one",
    )


def _broken_objects(lake: DuckLake, named: Mapping[str, int], stored: Set[str]) -> Iterator[Finding]:
    for name in sorted({*named, *stored}):
        sha, seq = name[:64], named.get(name)
        file = lake.objects.path(sha, name[64:])
        if not file.is_file():
            yield Finding(seq, "a payload file is gone", str(file), FROM_BACKUP)
        elif _sha256_of(file) != sha:
            yield Finding(seq, "a payload file was changed", str(file), FROM_BACKUP)
        elif name not in stored:
            yield Finding(seq, "the catalog no longer names a payload file", f"objects, {name}", FROM_BACKUP)


def _sha256_of(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _broken_releases(
    lake: DuckLake, dataset: str, audited: Mapping[int, tuple[int, str]], stored: Mapping[int, str]
) -> Iterator[Finding]:
    folder = lake.home / "releases" / dataset
    for number in sorted({*audited, *stored}):
        seq, manifest = audited.get(number, (None, stored.get(number, "")))
        if stored.get(number) != manifest:
            where = f"dataset_versions, version {number}"
            yield Finding(seq, f"the catalog has another manifest of v{number} than the audit", where, FROM_BACKUP)
        try:
            rows = lake.read("dataset_versions", dataset=dataset, version=number)
            proven_lines(folder, number, rows["digest"][0] if rows.height else "", manifest)
        except IntegrityError as error:
            yield Finding(seq, error.what, error.where, error.fix)
    for path in sorted(folder.glob("v*")):
        if number_of(path.name) not in audited:
            yield Finding(None, f"a release {path.name} is there that no entry cut", str(path), FROM_BACKUP)
