"""What was planned before, as far as the next plan has to know it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.rotation import Record
from synth_assets.vocabulary import UNLABELLED

Asked = dict[str, Any]
"""What a request was asked for: its label, and its control values by axis as stored."""


@dataclass(frozen=True)
class Parent:
    """An accepted sample that may be evolved.

    Attributes:
        depth: how often its ancestors were evolved; 0 for one that was not made from another.
        fields: its texts by field.
    """

    sample_id: str
    label: str | None
    depth: int
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Past:
    """What earlier plans of a dataset asked for, and what came of it.

    Attributes:
        requests: columns batch, label, axes of `requests`, shape (n, 3).
        records: what became of the requests of the recipe's present prompts, by name.
        parents: samples that may be evolved, in a stable order.
    """

    requests: pl.DataFrame
    records: Mapping[str, Record] = field(default_factory=dict)
    parents: Sequence[Parent] = ()

    def has_parents(self, labels: Iterable[str]) -> bool:
        """Whether every one of some labels has a sample that may be evolved."""
        return bool(self.parents) and set(labels) <= set(self.parents_by_label())

    def parents_by_label(self) -> dict[str, list[Parent]]:
        """Return the parents of each label, in their order."""
        found: dict[str, list[Parent]] = {}
        for parent in self.parents:
            found.setdefault(parent.label or UNLABELLED, []).append(parent)
        return found

    def of_batch(self, batch: str) -> "Past":
        """Return what was planned for one batch."""
        return replace(self, requests=self.requests.filter(pl.col("batch") == batch))

    def asked(self) -> list[Asked]:
        """Return what every request was asked for."""
        rows = self.requests.select("label", "axes").iter_rows()
        return [{"label": label or UNLABELLED, **orjson.loads(axes)} for label, axes in rows]

    def counts(self, names: Sequence[str]) -> Counter[tuple[Any, ...]]:
        """Count the requests by their values of some axes; ``label`` may be one. Those that lack one are left out."""
        return Counter(tuple(each[name] for name in names) for each in self.asked() if set(names) <= set(each))


NOTHING = Past(pl.DataFrame(schema={"batch": pl.String, "label": pl.String, "axes": pl.String}))
"""The past of a dataset's first plan."""
