"""What was planned before, as far as the next plan has to know it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.rotation import Record

Asked = dict[str, Any]
"""What a request was asked for: its label, and its control values by axis as stored."""


@dataclass(frozen=True)
class Past:
    """What earlier plans of a dataset asked for, and what came of it.

    Attributes:
        requests: their requests: columns batch, label, axes of `requests`, shape (n, 3).
        records: what became of the requests of the recipe's present prompts, by name.
    """

    requests: pl.DataFrame
    records: Mapping[str, Record] = field(default_factory=dict)

    def of_batch(self, batch: str) -> "Past":
        """Return what was planned for one batch."""
        return replace(self, requests=self.requests.filter(pl.col("batch") == batch))

    def asked(self) -> list[Asked]:
        """Return what every request was asked for."""
        rows = self.requests.select("label", "axes").iter_rows()
        return [{"label": label, **orjson.loads(axes)} for label, axes in rows]

    def counts(self, names: Sequence[str]) -> Counter[tuple[Any, ...]]:
        """Count the requests by their values of some axes; ``label`` may be one. Those that lack one are left out."""
        return Counter(tuple(each[name] for name in names) for each in self.asked() if set(names) <= set(each))


NOTHING = Past(pl.DataFrame(schema={"batch": pl.String, "label": pl.String, "axes": pl.String}))
"""The past of a dataset's first plan."""
