"""Paid answers that entries vouch for, proven before anybody relies on them."""

from resources.journal import prefixes_of
from synth_assets.domain.transactions import Lake
from synth_assets.errors import IntegrityError


def prove_journal(lake: Lake, dataset: str, batch: str) -> None:
    """Refuse a batch whose journal is not what an entry bound of it: its answers would be believed, or paid again.

    What was appended later, by a process that died or a preview, no entry vouches for: it is paid and not bound yet.

    Args:
        lake: the lake.
        dataset: whose.
        batch: partition key.

    Raises:
        IntegrityError: a bound segment was changed, cut short, or is not there.
    """
    bound = {place: told for place, told in lake.chain(dataset).journal.items() if place[0] == batch}
    found = prefixes_of(lake.home, dataset, bound)
    wrong = next((place for place in sorted(bound) if found.get(place) != bound[place]), None)
    if wrong is not None:
        does = "was changed" if wrong in found else "is not here"
        raise IntegrityError(
            f"a segment of the journal of {dataset} {batch} {does}: it holds answers that were paid for",
            where=str(lake.home / "journal" / dataset / batch / wrong[1]),
            fix="restore it from a backup; hosts that share a catalog have to share SYNTH_HOME",
        )
