"""The audit chains of a lake, proven: against their head, their ledger, and what is kept outside."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import orjson
import polars as pl

from resources.lake.damage import sound
from resources.lake.head_file import HeadFile
from resources.lake.ledger import NOTHING, End, Ledger
from resources.lake.signing import KEY
from synth_assets.domain.chain import MIGRATE, RESTORE, Chain
from synth_assets.domain.drafting import TEXTS_SCHEMA
from synth_assets.domain.ledger import CARRIED, lines_sha256, row_lines
from synth_assets.domain.migration import bound, contradiction
from synth_assets.domain.settling import settled
from synth_assets.domain.transactions import Commit, StoredObject
from synth_assets.errors import IntegrityError, RefusedError
from synth_assets.tables import FORMAT, TABLES, Bound

COLUMNS = ", ".join(TABLES["audit_log"].dtypes)

Query = Callable[[str, list[Any]], pl.DataFrame]


class Chains:
    """Every dataset's chain as far as it was proven in this process."""

    def __init__(
        self,
        query: Query,
        get: Callable[[str, str], bytes],
        ledger: Ledger,
        alone: Callable[[], AbstractContextManager[None]],
        *,
        sign: Callable[[str], str] | None,
        kept: HeadFile | None,
    ) -> None:
        """Prepare to prove.

        Args:
            query: runs a SELECT with parameters.
            get: returns payload by hash and suffix.
            ledger: the ledgers beside the catalog.
            alone: keeps every process from committing meanwhile.
            sign: signs an entry's hash; None without a key.
            kept: heads kept outside; None if there are none.
        """
        self._query = query
        self._get = get
        self._ledger = ledger
        self._alone = alone
        self._kept = kept
        self._proven: dict[str, Chain] = {}
        self.before: Mapping[str, End] | None = None
        """Ends of the ledgers before the catalog was copied; None where it is read as it stands."""
        self.sign = sign

    def prove(self, dataset: str) -> Chain:
        """Return a chain up to its present head.

        Raises:
            IntegrityError: it is broken, or what it is compared with says otherwise.
        """
        chain = settled(lambda: self._looked_at(dataset), self._alone)
        self.compare_kept(chain)
        return chain

    def _looked_at(self, dataset: str) -> Chain:
        try:
            written = self._ledger.end(dataset) if self.before is None else self.before.get(dataset, NOTHING)
            chain = self._upto_head(dataset)
            self._against_ledger(chain, written)
        except IntegrityError:
            self._proven.pop(dataset, None)
            raise
        return chain

    def compare_kept(self, chain: Chain) -> None:
        """Refuse a chain without the head that was kept outside, if one was.

        Raises:
            IntegrityError: it is an older copy, or another one.
        """
        if self._kept is not None:
            self._kept.compare(chain)

    def keep(self, chain: Chain) -> bool:
        """Write the head of a chain down outside, where that is wanted; return whether it is."""
        if self._kept is not None:
            self._kept.keep(chain)
        return self._kept is not None

    def _upto_head(self, dataset: str) -> Chain:
        chain = self._proven.setdefault(dataset, Chain(dataset))
        heads = self._query(
            "SELECT head_version, audit_seq, audit_sha256 FROM lake.heads WHERE dataset = ?", [dataset]
        ).rows()
        entries = self._query(
            f"SELECT {COLUMNS} FROM lake.audit_log WHERE dataset = ? AND seq > ? ORDER BY seq",
            [dataset, chain.length],
        ).cast(TABLES["audit_log"].dtypes)
        entries = sound("audit_log", entries)
        chain.extend(entries.iter_rows(named=True), lambda sha: self._get(sha, ".json"), self.sign)
        if heads != ([(chain.head_version, chain.length, chain.head)] if chain.length else []):
            raise IntegrityError(
                f"the chain of {dataset} ends at entry {chain.length} and version {chain.head_version}, "
                "but its head says otherwise",
                where=f"heads, dataset {dataset}",
                fix=RESTORE,
            )
        return chain

    def _against_ledger(self, chain: Chain, written: End) -> None:
        """Compare with the ledger, which has every entry, or all but the last and the intent to make that.

        Args:
            chain: as the catalog holds it.
            written: the ledger's end before the catalog was read: nothing of it may be missing here. What a commit
                writes there before it is made is on disk by now, and others may have gone on.
        """
        end = self._ledger.end(chain.dataset)
        if chain.is_bound and not end.is_clean:
            raise IntegrityError(
                f"lines stand at the end of the ledger of {chain.dataset} that no commit wrote",
                where=f"{self._ledger.file(chain.dataset)}, behind entry {end.seq}",
                fix="find out who wrote them, and cut them off there, or restore the ledger from a backup",
            )
        if written.seq and (written.seq > chain.length or chain.entries[written.seq - 1].sha256 != written.sha256):
            raise self._apart(chain, f"its ledger knows entry {written.seq}, another one")
        missing = chain.length - end.seq
        if missing <= 0:
            held = end.sha256 if not missing else self._ledger.sha256_of(chain.dataset, chain.length)
            if held != chain.head:
                raise self._apart(chain, f"its ledger knows entry {chain.length}, another one")
        elif chain.is_bound and missing == 1 and end.intended != chain.head:
            raise self._apart(chain, f"nothing in its ledger intended entry {chain.length}")
        elif chain.is_bound and missing > 1:
            # An entry of the first form could be missing for longer: its rows were written after the commit.
            raise self._apart(chain, f"its ledger ends at entry {end.seq}")

    def _apart(self, chain: Chain, said: str) -> IntegrityError:
        return IntegrityError(
            f"the chain of {chain.dataset} has {chain.length} entries, but {said}",
            where=str(self._ledger.file(chain.dataset)),
            fix="restore the older of the two, catalog or ledger, from a backup that is as new as the other; "
            "hosts that share a catalog have to share SYNTH_HOME",
        )

    def refuse_unsigned(self, chain: Chain) -> None:
        """Refuse to write without the key once an entry was signed.

        Raises:
            RefusedError: the key is not set.
        """
        if chain.signed_from is not None and self.sign is None:
            raise RefusedError(
                f"the audit of {chain.dataset} is signed, and there is no key to sign with; nothing was changed",
                where=KEY,
                fix=f"set {KEY} to the key that signed the entries so far",
            )


def migration(
    chain: Chain,
    read: Callable[..., pl.DataFrame],
    payload: Callable[..., pl.DataFrame],
    put: Callable[[bytes, str], StoredObject],
    journal: Iterable[tuple[str, str, int, str]],
) -> tuple[Commit, list[bytes]]:
    """Return the commit that binds what entries of the first form left, and its ledger lines.

    Args:
        chain: of the dataset, unbound.
        read: the lake's `read`.
        payload: the lake's `payload`.
        put: the lake's `put`.
        journal: batch, name, bytes and sha256 of every segment.

    Raises:
        IntegrityError: the rows contradict what the entries say.
    """
    names = [name for name, table in TABLES.items() if table.bound is not Bound.ITSELF] + ["objects"]
    tables = {name: read(name, dataset=chain.dataset) for name in names}
    wrong = contradiction(chain, tables, payload("texts", TEXTS_SCHEMA, dataset=chain.dataset))
    if wrong is not None:
        raise IntegrityError(wrong, where=f"the catalog, dataset {chain.dataset}", fix=RESTORE)
    stored = put(orjson.dumps(bound(tables, journal), option=orjson.OPT_SORT_KEYS), ".json")
    here = {"dataset": chain.dataset}
    lines = [line for name in CARRIED for line in row_lines(name, tables[name], here)]
    commit = Commit(
        dataset=chain.dataset,
        key=f"{MIGRATE}:{chain.dataset}:{chain.head[:16]}",
        action=MIGRATE,
        run_id="",
        details={
            "form": FORMAT,
            "bound": stored.sha256,
            "entries": chain.length,
            "ledger_sha256": lines_sha256(lines),
            "objects": [stored.sha256 + stored.suffix],
            "binds": {"payload": [["bound", None, stored.sha256 + stored.suffix]]},
        },
        payload=[("bound", None, stored)],
    )
    return commit, lines


def in_order_of(chain: Chain, named: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `objects` in the order the entries of a chain name them; clocks that ran ahead do not count.

    Args:
        chain: of the dataset.
        named: rows of `objects`; what no entry tells apart, as in one migration, stays in their order.
    """
    name = pl.col("object_sha256") + pl.col("suffix")
    seqs = [
        chain.payload.get((kind, batch, file), chain.objects.get(file, 0))
        for kind, batch, file in named.select("kind", "batch", name).rows()
    ]
    return named.with_columns(pl.Series("seq", seqs, dtype=pl.Int64)).sort("seq", maintain_order=True).drop("seq")


def refuse_unnamed(chain: Chain, named: pl.DataFrame, kind: str, equals: Mapping[str, Any]) -> None:
    """Refuse payload that the catalog names and the chain does not, or the other way round.

    Args:
        chain: of the dataset.
        named: rows of `objects`.
        kind: of payload that is read.
        equals: dataset, and batch or object_sha256 if only a batch's or one file is read.

    Raises:
        IntegrityError: a name was added, or one is gone.
    """
    stored = {(batch, name) for batch, name in named.select("batch", pl.col("object_sha256") + pl.col("suffix")).rows()}
    if chain.is_bound:
        told = {(batch, name) for of, batch, name in chain.payload if of == kind}
        told = {each for each in told if each[0] == equals["batch"]} if "batch" in equals else told
        one = equals.get("object_sha256")
        told = {each for each in told if each[1].partition(".")[0] == one} if one is not None else told
        strays = sorted(stored ^ told, key=str)
    else:
        strays = sorted(each for each in stored if each[1] not in chain.objects)
    if strays:
        batch, name = strays[0]
        does = "names a payload file that no entry names" if strays[0] in stored else "no longer names a payload file"
        raise IntegrityError(
            f"the catalog {does}: {kind} of {batch or chain.dataset}", where=f"objects, {name}", fix=RESTORE
        )
