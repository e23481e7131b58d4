"""What a scorer is: the context it may look at, its description and the shape of what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from synth_assets.domain.ports import LabelledTexts

RESULT = {"value": pl.Float64, "neighbour_id": pl.String}
"""What a scorer returns: one row per new sample, in plan order."""


@dataclass(frozen=True)
class Context:
    """What samples are measured against.

    Attributes:
        language: language asked for, ISO 639-1.
        shots: every text the prompts show, shots and seeds.
        pii_regions: regions whose national formats of personal data are looked for besides those of the language.
        protected: rows no training sample may resemble.
        earlier: accepted samples of other batches, columns sample_id and text, shape (m, 2).
        embeddings: unit vectors of the samples, float32, shape (n, d).
        earlier_embeddings: unit vectors of ``earlier``, float32, shape (m, d).
        embedder: name of the embedder that made them.
    """

    language: str
    shots: list[str]
    pii_regions: tuple[str, ...]
    protected: LabelledTexts
    earlier: pl.DataFrame
    embeddings: np.ndarray
    earlier_embeddings: np.ndarray
    embedder: str


Measure = Callable[[pl.DataFrame, Context], pl.DataFrame]
Settings = Callable[[Context], Mapping[str, Any]]


@dataclass(frozen=True)
class Scorer:
    """One measurement of a sample.

    Attributes:
        name: its name in recipes and assessments.
        version: raised whenever the same sample would get another value.
        meaning: one sentence for a person.
        unit: unit of the value.
        reads_the_batch: whether other generated samples decide the value too.
        settings: what else the value depends on, as plain data that can be hashed.
        function: the measurement; takes all samples and the context, returns `RESULT` for the new samples.
    """

    name: str
    version: str
    meaning: str
    unit: str
    reads_the_batch: bool
    settings: Settings
    function: Measure


def nothing_else(_: Context) -> dict[str, Any]:
    """Settings of a scorer that looks at the sample alone."""
    return {}


def new_texts(samples: pl.DataFrame) -> list[str]:
    """Return the texts of the new samples in plan order."""
    return samples.filter("is_new")["text"].to_list()


def result(values: Sequence[float | None] | pl.Series, neighbours: Sequence[str | None] | pl.Series) -> pl.DataFrame:
    """Return the frame a scorer owes, shape (len(values), 2)."""
    return pl.DataFrame({"value": values, "neighbour_id": neighbours}, schema=RESULT)


def for_each_text(measure: Callable[[str], float]) -> Measure:
    """Return the scorer's function of a measurement that needs one text and nothing else."""

    def function(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
        values = [float(measure(text)) for text in new_texts(samples)]
        return result(values, [None] * len(values))

    return function
