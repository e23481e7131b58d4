"""What was planned before, as far as the next plan has to know it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import polars as pl

Asked = dict[str, Any]
"""What a request was asked for: its label, and its control values by axis as stored."""


@dataclass(frozen=True)
class Past:
    """The requests of earlier plans of a dataset: columns batch, label, axes of `requests`, shape (n, 3)."""

    requests: pl.DataFrame

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
