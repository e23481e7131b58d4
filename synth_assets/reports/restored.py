"""What is to be said of a home that was taken from a backup: whether it agrees with itself, and what it has not."""

from collections.abc import Mapping
from dataclasses import dataclass

from resources.backups.manifest import Head
from resources.lake import DuckLake
from resources.lake.head_file import HeadFile
from synth_assets.errors import IntegrityError
from synth_assets.reports.audit import datasets, verify


@dataclass(frozen=True)
class Lost:
    """Entries of a dataset that were written after the backup was made, as a head kept outside says.

    Attributes:
        restored_seq: the last entry there is again.
        kept_seq: the entry whose head was kept.
        kept_sha256: that head.
    """

    dataset: str
    restored_seq: int
    kept_seq: int
    kept_sha256: str


def prove(lake: DuckLake, heads: Mapping[str, Head]) -> None:
    """Verify every dataset of a restored home, and that it ends where the backup says.

    Raises:
        IntegrityError: something contradicts itself, or a chain is not the one that was backed up.
    """
    names = datasets(lake)
    if set(names) != set(heads):
        raise _another("the datasets are not those of the backup", ", ".join(sorted(set(names) ^ set(heads))))
    for name in names:
        found = verify(lake, name, heads[name].sha256)
        if found.findings:
            first = found.findings[0]
            raise IntegrityError(f"{first.what}; nothing was restored", where=first.where, fix="restore another backup")
        if (found.entries, found.head) != (heads[name].seq, heads[name].sha256):
            raise _another(f"the chain of {name} does not end where the backup says", f"entry {found.entries}")


def lost(lake: DuckLake, heads: Mapping[str, Head], kept: HeadFile | None) -> list[Lost]:
    """Return what is known to have been written after the backup.

    Args:
        lake: of the restored home, opened without the file of heads.
        heads: of the backup.
        kept: the file of heads outside; None if there is none.

    Raises:
        IntegrityError: the head kept is one of another chain.
        UsageError: the file cannot be read.
    """
    found = []
    for name, head in heads.items():
        last = kept.last(name) if kept else None
        if kept is not None and last is not None and last["seq"] > head.seq:
            found.append(Lost(name, head.seq, last["seq"], last["head"]))
        elif kept is not None:
            kept.compare(lake.chain(name))
    return found


def _another(what: str, where: str) -> IntegrityError:
    return IntegrityError(f"{what}; nothing was restored", where=where, fix="restore another backup")
