"""What a batch owes by label: read where it is stored, worked out where it is not yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from synth_assets.checks.proof import proven, proven_states
from synth_assets.domain.owing import given_back, next_owed, undelivered
from synth_assets.domain.planning import owed
from synth_assets.domain.transactions import Change, Lake, Swap
from synth_assets.recipe.model import RecipeModel
from synth_assets.tables import TABLES

OTHERWISE = "another batch of the dataset took its numbers of samples by label in the meantime"


@dataclass(frozen=True)
class Promise:
    """A batch's numbers.

    Attributes:
        owed: accepted samples by label.
        changes, swaps: what a commit must carry so that they stay what they are; empty if they are stored.
    """

    owed: Mapping[str, int]
    changes: Sequence[Change] = ()
    swaps: Sequence[Swap] = ()


def promise_of(lake: Lake, model: RecipeModel, batch: str) -> Promise:
    """Return what a batch owes under the promise ``model`` states.

    Stored numbers stand as long as promise and labels do. Batches planned before numbers were stored, and those that
    hold ingested samples, owe what the shares alone say.
    """
    here = {"dataset": model.dataset, "batch": batch}
    if not model.labels:
        return Promise(owed(model))
    stored = _stored(lake, here)
    if stored.keys() == model.labels.keys() and sum(stored.values()) == model.batch.accept:
        return Promise({label: stored[label] for label in model.labels})
    if not stored and _was_planned(lake, here):
        return Promise(owed(model))
    due = _due(lake, model.dataset)
    shares = {name: label.share for name, label in model.labels.items()}
    mine = next_owed(model.batch.accept, shares, given_back(due, stored, shares) if stored else due)
    rows = [{**here, "label": label, "owed": count} for label, count in mine.numbers.items()]
    changes, swaps = _moved(lake, model.dataset, due, mine.due)
    return Promise(mine.numbers, [Change("batch_labels", TABLES["batch_labels"].frame(rows), here), *changes], swaps)


def short(lake: Lake, model: RecipeModel, batch: str, accepted: Mapping[str, int]) -> list[Swap]:
    """Return what puts back the samples a batch owes and did not deliver, once a person accepts it short."""
    stored = _stored(lake, {"dataset": model.dataset, "batch": batch})
    if not stored:
        return []
    due = _due(lake, model.dataset)
    return _moved(lake, model.dataset, due, undelivered(due, stored, accepted))[1]


def _stored(lake: Lake, here: Mapping[str, str]) -> dict[str, int]:
    rows = proven(lake, "batch_labels", **here)
    return dict(rows.select("label", "owed").iter_rows())


def _was_planned(lake: Lake, here: Mapping[str, str]) -> bool:
    return not lake.read("batches", **here).filter(pl.col("attempts") > 0).is_empty()


def _due(lake: Lake, dataset: str) -> dict[str, float]:
    rows = proven_states(lake, "label_balances", dataset)
    return dict(rows.select("label", "due").iter_rows())


def _moved(
    lake: Lake, dataset: str, before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[list[Change], list[Swap]]:
    """Return the new balances: known labels by compare-and-swap, new ones if nothing else was committed meanwhile."""
    swaps = [
        Swap("label_balances", {"dataset": dataset, "label": label}, {"due": before[label]}, {"due": due}, OTHERWISE)
        for label, due in after.items()
        if label in before and before[label] != due
    ]
    new = [{"dataset": dataset, "label": label, "due": due} for label, due in after.items() if label not in before]
    if not new:
        return [], swaps
    heads = lake.read("heads", dataset=dataset)
    alone = [
        Swap("heads", {"dataset": dataset}, {"audit_seq": seq}, {}, OTHERWISE)
        for seq in heads["audit_seq"]  # none before a dataset's first commit
    ]
    return [Change("label_balances", TABLES["label_balances"].frame(new))], [*alone, *swaps]
