"""Which revision of a batch counts: the latest one that was green, whatever came after it."""

from collections.abc import Iterable, Mapping, Sequence

from synth_assets.domain.chain import Chain, Entry, has_passed
from synth_assets.vocabulary import BATCH_STAGES, Stage


def green_entries(entries: Iterable[Entry]) -> dict[Stage, Entry] | None:
    """Return the entries of a batch's stages as they were when it was last green; None if it never was.

    Args:
        entries: of the batch, oldest first.
    """
    held: dict[Stage, Entry] = {}
    green = None
    for entry in entries:
        held[Stage(entry.action)] = entry
        if first_held(held) is None:
            green = dict(held)
    return green


def first_held(held: Mapping[Stage, Entry]) -> Stage | None:
    """Return the first stage that did not pass on its present input; None if all did."""
    before = held.get(Stage.GENERATION_PLAN)
    for stage in BATCH_STAGES:
        entry = held.get(stage)
        is_current = entry is not None and before is not None and entry.details["input"] == before.details["output"]
        if entry is None or not is_current or not has_passed(entry):
            return stage
        before = entry
    return None


def held_now(entries: Sequence[Entry]) -> dict[Stage, Entry]:
    """Return the latest entry of every stage of a batch."""
    return {Stage(entry.action): entry for entry in entries}


def opened(chain: Chain) -> list[str]:
    """Return every batch that was planned, sorted."""
    return sorted(
        key for key, found in chain.partitions.items() if any(each.action == Stage.GENERATION_PLAN for each in found)
    )
