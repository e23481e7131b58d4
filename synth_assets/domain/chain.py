"""A dataset's audit chain as what it proves: which stage said what, which rows were written, which values were set.

The chain decides; rows of the catalog are looked up from it. Entries of the first form bind no rows: where there are
some, one entry ``migrate`` binds everything as it was found, and only entries of today's form may follow it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hmac import compare_digest
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.binding import CLOSED, Rows, Scope
from synth_assets.domain.ledger import FIRST_HEAD, entry_sha256
from synth_assets.errors import IntegrityError
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Stage

FIRST = 1
"""Form of entries that bound no rows."""

MIGRATE = "migrate"
"""Action of the entry that binds what entries of the first form left behind."""

RESTORE = "restore it from a backup whose head you know; a head kept outside tells which copy is the true one"

Payload = tuple[str, str | None, str]
"""Kind, batch if it has one, and name of the file."""

STAGES = {str(stage) for stage in Stage}


@dataclass(frozen=True)
class Entry:
    """One entry, read.

    Attributes:
        details: what it says; empty if that cannot be read.
    """

    seq: int
    sha256: str
    key: str
    action: str
    run_id: str
    entered_at: datetime
    details: Mapping[str, Any]

    @property
    def form(self) -> int:
        """Form of the entry; the first one said nothing of it."""
        form = self.details.get("form", FIRST)
        return form if isinstance(form, int) else FIRST

    @property
    def partition(self) -> str | None:
        """Batch or version a stage finished for; None if the entry is none of a stage."""
        batch = self.details.get("batch")
        return str(batch) if self.action in STAGES and isinstance(batch, str) and "output" in self.details else None


@dataclass(frozen=True)
class Released:
    """A version as the entry that cut it says.

    Attributes:
        seq: the entry.
        manifest_sha256: hash of the release folder's manifest.
    """

    version: int
    seq: int
    manifest_sha256: str
    details: Mapping[str, Any]


@dataclass
class Chain:
    """What the entries of one dataset prove, up to a head.

    Attributes:
        head: hash of the last entry; zeros for an empty chain.
        is_bound: whether every row is bound: nothing was written before the present form, or it was migrated.
        partitions: entries of stages by batch or version, oldest first.
        rows: by table and scope.
        state: values by table and key.
        payload: what every named file is, with the first entry that names it.
        objects: every named file, whatever it is.
        releases: versions by number.
        keys: entries by the idempotency key of their commit.
        signed_from: the first entry that is signed; None if none is.
        journal: how many bytes of which segment an entry vouches for, and their hash, by (batch, segment).
        test_sets: what models were measured on, by hash: the last entry that says so, and name and number of rows.
    """

    dataset: str
    length: int = 0
    head: str = FIRST_HEAD
    is_bound: bool = True
    migrated_at: int | None = None
    signed_from: int | None = None
    entries: list[Entry] = field(default_factory=list)
    keys: dict[str, Entry] = field(default_factory=dict)
    partitions: dict[str, list[Entry]] = field(default_factory=dict)
    rows: dict[str, dict[Scope, Rows]] = field(default_factory=dict)
    state: dict[str, dict[Scope, dict[str, Any]]] = field(default_factory=dict)
    payload: dict[Payload, int] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    releases: dict[int, Released] = field(default_factory=dict)
    journal: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    test_sets: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def extend(
        self,
        entries: Iterable[Mapping[str, Any]],
        get: Callable[[str], bytes],
        sign: Callable[[str], str] | None = None,
    ) -> None:
        """Prove more entries and take in what they say.

        Args:
            entries: the next rows of `audit_log`, sorted by ``seq``.
            get: returns the payload of a migration by the hash of its file.
            sign: returns the signature of an entry's hash; None where nobody gave the key, and none is compared.

        Raises:
            IntegrityError: an entry is missing, was changed, does not follow the one before, is of an older form, or
                lacks the signature that those before it have.
        """
        for row in entries:
            self._follow(row)
            entry = _read(row)
            self._keep_signed(entry, row.get("hmac"), sign)
            self._keep_form(entry)
            self.entries.append(entry)
            self.keys[entry.key] = entry
            self.length, self.head = entry.seq, entry.sha256
            try:
                if entry.action == MIGRATE:
                    self._take_in(orjson.loads(get(str(entry.details["bound"]))), entry)
                self._take(entry)
            except (AttributeError, KeyError, TypeError, ValueError):
                raise self._broken(f"entry {entry.seq} does not say what an entry of {entry.action} has to") from None

    @property
    def head_version(self) -> int:
        """Number of the latest version; 0 before the first."""
        return max(self.releases, default=0)

    def latest(self, stage: str, partition: str) -> Entry | None:
        """Return the entry that decides about a stage of a batch or version; None if it never finished."""
        return next((each for each in reversed(self.partitions.get(partition, [])) if each.action == stage), None)

    def batches(self) -> list[str]:
        """Return every batch that was generated or filled from outside, sorted."""
        return sorted(
            key for key, found in self.partitions.items() if any(each.action in BATCH_STAGES for each in found)
        )

    def _follow(self, row: Mapping[str, Any]) -> None:
        expected = self.length + 1
        if row["seq"] != expected:
            raise self._broken(f"entry {expected} is missing or stands there twice")
        if entry_sha256(row) != row["entry_sha256"]:
            raise self._broken(f"entry {expected} was changed: its hash is not that of its fields")
        if row["previous_sha256"] != self.head:
            raise self._broken(f"entry {expected} does not follow entry {expected - 1}")

    def _keep_signed(self, entry: Entry, signature: str | None, sign: Callable[[str], str] | None) -> None:
        if signature is None and self.signed_from is not None:
            raise self._broken(f"entry {entry.seq} is not signed, as every entry since {self.signed_from} is")
        # The hash covers that there was a signature, so that taking it away is a change of the entry.
        if (entry.details.get("signed") is True) != (signature is not None):
            raise self._broken(f"entry {entry.seq} lost its signature, or was given one")
        if signature is None:
            return
        if sign is not None and not compare_digest(sign(entry.sha256).encode(), signature.encode()):
            raise self._broken(f"entry {entry.seq} was not signed with the key that is set here")
        self.signed_from = self.signed_from or entry.seq

    def _keep_form(self, entry: Entry) -> None:
        if entry.form > FIRST:
            if not self.is_bound and entry.action != MIGRATE:
                raise self._broken(f"entry {entry.seq} follows entries that were never bound")
            if entry.action == MIGRATE:
                self.is_bound, self.migrated_at = True, entry.seq
        elif self.entries and self.is_bound:
            raise self._broken(f"entry {entry.seq} is of a form that was given up before it")
        else:
            self.is_bound = False

    def _broken(self, what: str) -> IntegrityError:
        return IntegrityError(what, where=f"audit_log, dataset {self.dataset}", fix=RESTORE)

    def _take(self, entry: Entry) -> None:
        details = entry.details
        if entry.partition is not None:
            has_passed(entry)
            str(details["input"])
            self.partitions.setdefault(entry.partition, []).append(entry)
        binds = details.get("binds", {}) if entry.form > FIRST else {}
        for table, scope, count, sha in binds.get("rows", ()):
            self.rows.setdefault(table, {})[tuple(scope)] = Rows(count, sha, entry.form)
        for table, where, values in binds.get("sets", ()):
            self._set(table, where, values)
        for kind, batch, name in binds.get("payload", ()):
            self.payload.setdefault((kind, batch, name), entry.seq)
        for name in details.get("objects", ()):
            self.objects.setdefault(str(name), entry.seq)
        for batch, segment, size, sha in details.get("journal", ()) if entry.form > FIRST else ():
            self.journal[batch, segment] = (size, sha)
        self._take_made(entry)

    def _take_made(self, entry: Entry) -> None:
        """Take in the version or the model an entry made."""
        details = entry.details
        if entry.action == Stage.MODEL_RUN and "test_set" in details:
            self.test_sets[str(details["test_set"]["sha256"])] = (entry.seq, dict(details["test_set"]))
        if entry.action == Stage.DATASET_VERSION and "manifest_sha256" in details:
            number = int(details["version"])
            self.releases[number] = Released(number, entry.seq, str(details["manifest_sha256"]), details)

    def _take_in(self, bound: Mapping[str, Any], entry: Entry) -> None:
        """Take in what a migration bound."""
        for table, scope, count, sha in bound["rows"]:
            self.rows.setdefault(table, {})[tuple(scope)] = Rows(count, sha, entry.form)
        for table, values in bound["state"]:
            self._set(table, {name: values[name] for name in TABLES[table].key}, values)
        for kind, batch, name in bound["payload"]:
            self.payload.setdefault((kind, batch, name), entry.seq)
        for batch, segment, size, sha in bound["journal"]:
            self.journal[batch, segment] = (size, sha)

    def _set(self, table: str, where: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        if table not in TABLES or not set(values) - CLOSED:
            return
        key = tuple(where.get(name) for name in TABLES[table].key)
        self.state.setdefault(table, {}).setdefault(key, {}).update(values)


def _read(row: Mapping[str, Any]) -> Entry:
    try:
        details = orjson.loads(row["details"])
    except orjson.JSONDecodeError:
        details = {}
    return Entry(
        seq=row["seq"],
        sha256=row["entry_sha256"],
        key=row["commit_key"],
        action=row["action"],
        run_id=row["run_id"],
        entered_at=row["entered_at"],
        details=details if isinstance(details, dict) else {},
    )


def stage_frame(entries: Sequence[Entry], dataset: str) -> pl.DataFrame:
    """Return entries of stages as what decides of `stage_commits`.

    Returns:
        One row per entry: `DECIDING` as they were written, and ``is_good``, `has_passed` by today's reading.
    """
    rows = [
        {
            "dataset": dataset,
            "partition": entry.partition,
            "stage": entry.action,
            "commit_key": entry.key,
            "commit_seq": entry.seq,
            "passed": entry.details.get("passed") is True,
            "input_digest": str(entry.details.get("input")),
            "output_digest": str(entry.details["output"]),
            "is_good": has_passed(entry),
        }
        for entry in entries
    ]
    dtypes = TABLES["stage_commits"].dtypes
    return pl.DataFrame(rows, schema={**{name: dtypes[name] for name in DECIDING}, "is_good": pl.Boolean})


DECIDING = (
    "dataset",
    "partition",
    "stage",
    "commit_key",
    "commit_seq",
    "passed",
    "input_digest",
    "output_digest",
)
"""Columns of `stage_commits` that the chain says itself."""

PERMANENT = {
    1: {
        Stage.GENERATED: {"contract", "provenance_complete", "first_sum"},
        Stage.SCORED: {"contract", "every_sample_is_assessed"},
        Stage.CURATED: {"contract", "second_sum"},
        Stage.TRAINING_READY: {"no_pii", "no_contamination", "no_duplicates", "splits_are_apart"},
    }
}
"""Gates no recipe can remove, by number of the gate set and stage: where one was not asked, nothing is green."""

GATE_SET = 1
"""Number of the gate set judged by today."""


def _verdicts_bound(entry: Entry) -> int:
    """How many rows of verdicts an entry bound of its own."""
    bound = entry.details.get("binds", {}).get("rows", ())
    return sum(count for table, scope, count, _ in bound if table == "verdicts" and entry.key in scope)


def has_passed(entry: Entry) -> bool:
    """Whether a stage passed: its entry says so, of every gate its gate set requires too, and binds their verdicts."""
    if entry.details.get("passed") is not True:
        return False
    if entry.form == FIRST:
        return True
    asked, gate_set = entry.details.get("gates") or {}, int(entry.details.get("gate_set", 0))
    if _verdicts_bound(entry) < len(asked):
        return False
    if entry.action not in BATCH_STAGES:
        return all(asked.values())
    required = PERMANENT.get(gate_set, {}).get(Stage(entry.action))
    return required is not None and required <= set(asked) and all(asked.values())
