"""What the next version of a dataset would hold: every batch as it was when it was last green."""

from dataclasses import dataclass, field

import polars as pl

from synth_assets.checks.proof import proven
from synth_assets.domain.chain import Chain, Entry
from synth_assets.domain.greenness import first_held, green_entries, held_now, opened
from synth_assets.domain.transactions import Lake
from synth_assets.domain.versioning import MEMBER, Cut, cut, members_of
from synth_assets.stages.revisions import kept_lines
from synth_assets.vocabulary import Stage


@dataclass(frozen=True)
class Pending:
    """What the next version would hold.

    Attributes:
        head: number of the latest version, 0 before the first.
        green: entries of the stages of every batch inside, as they were when it was last green.
        fresh: those of them that became green, or something else, since the latest version.
        left_out: batches that were never green, with the stage that holds each back.
        behind: batches inside whose newer revision is red, with that stage.
    """

    head: int
    change: Cut
    green: dict[str, dict[Stage, Entry]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    behind: dict[str, str] = field(default_factory=dict)


def head_of(lake: Lake, dataset: str) -> int:
    """Return the number of the latest version, by the audit; 0 before the first."""
    return lake.chain(dataset).head_version


def pending(lake: Lake, dataset: str) -> Pending:
    """Return what the next version of a dataset would hold: every batch at its latest green revision.

    Raises:
        IntegrityError: what was kept of a batch is not what its entry bound.
    """
    chain = lake.chain(dataset)
    head, since = chain.head_version, _since(chain)
    green, left_out, behind = {}, {}, {}
    for batch in opened(chain):
        entries = chain.partitions[batch]
        found, held_at = green_entries(entries), first_held(held_now(entries))
        if found is not None:
            green[batch] = found
        if held_at is not None:
            (left_out if found is None else behind)[batch] = str(held_at)
    fresh = [batch for batch, found in green.items() if found[Stage.TRAINING_READY].seq > since]
    intervals = proven(lake, "version_members", dataset=dataset)
    before = members_of(intervals, head).filter(~pl.col("batch").is_in(fresh))
    before = before.filter(pl.col("batch").is_in(list(green)))
    members = pl.concat([before, *(_kept_members(lake, dataset, batch, green[batch]) for batch in fresh)])
    return Pending(head, cut(members, intervals, head=head), green, fresh, left_out, behind)


def _since(chain: Chain) -> int:
    """Return the entry up to which batches were taken in: that of the latest version cut from them; 0 before it.

    A version that only takes samples out looks at no batch.
    """
    cut_from_batches = (
        each.seq for each in chain.releases.values() if each.details.get("cause", "release") == "release"
    )
    return max(cut_from_batches, default=0)


def _kept_members(lake: Lake, dataset: str, batch: str, green: dict[Stage, Entry]) -> pl.DataFrame:
    kept = green[Stage.TRAINING_READY].details.get("revision")
    rows = kept_lines(lake, kept["lines"]) if kept else lake.read("training_examples", dataset=dataset, batch=batch)
    return rows.select(MEMBER)
