"""Tagging: what a recipe's rules say of every sample. A tag describes; it neither accepts nor rejects anything.

Values are deterministic: the same sample, rules and embedder give the same tags, whatever else is in the batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl

from synth_assets.canonical import digest
from synth_assets.domain.ports import Embedder
from synth_assets.domain.scoring.language import identified_language
from synth_assets.domain.scoring.neighbours import cosine
from synth_assets.domain.shingles import words
from synth_assets.recipe.tags import AxisTag, BucketsTag, CentroidsTag, ConstantTag, LanguageTag, TagRule, WordsTag

TAG = {"sample_id": pl.String, "name": pl.String, "value": pl.String, "score": pl.Float64, "source_id": pl.String}
"""Columns and types of what `tag` returns."""

SOURCE_HASH_LENGTH = 12
DIGITS = 6

Found = tuple[str, float | None] | None
"""A value and what decided for it; None where the rule finds nothing."""


@dataclass(frozen=True)
class Tagged:
    """What is tagged.

    Attributes:
        samples: columns sample_id, text, axes (JSON of names and values), shape (n, 3 or more).
        assessments: columns sample_id, name, value.
        vectors: unit vectors of the samples in their order, shape (n, d); read by `centroids` alone.
        embedder: what made them.
    """

    samples: pl.DataFrame
    assessments: pl.DataFrame
    vectors: np.ndarray
    embedder: Embedder

    @property
    def texts(self) -> list[str]:
        """The text of every sample."""
        return self.samples["text"].to_list()


def source_id(rule: TagRule, *, embedder: str) -> str:
    """Name what a tag comes from: the kind of its rule, that kind's version and a hash of all it depends on.

    Example:
        ``words@1:0f3a5c...``: twelve hex digits.
    """
    beside = embedder if isinstance(rule, CentroidsTag) else None
    settings = digest([rule.model_dump(mode="json"), beside])
    return f"{rule.kind}@{KINDS[rule.kind].version}:{settings[:SOURCE_HASH_LENGTH]}"


def tag(tagged: Tagged, rules: Mapping[str, TagRule]) -> pl.DataFrame:
    """Return the tags of all samples, columns of `TAG`: by the tags' names, then in the order of the samples.

    Raises:
        ValueError: a rule needs vectors, and there are not as many as samples.
    """
    rows = [
        {"sample_id": sample, "name": name, "value": found[0], "score": found[1], "source_id": source}
        for name, rule in sorted(rules.items())
        for source in [source_id(rule, embedder=tagged.embedder.name)]
        for sample, found in zip(tagged.samples["sample_id"], KINDS[rule.kind].find(rule, tagged), strict=True)
        if found is not None
    ]
    return pl.DataFrame(rows, schema=TAG, orient="row")


def _constant(rule: ConstantTag, tagged: Tagged) -> list[Found]:
    return [(rule.value, None)] * tagged.samples.height


def _axis(rule: AxisTag, tagged: Tagged) -> list[Found]:
    drawn = (orjson.loads(axes).get(rule.axis) for axes in tagged.samples["axes"])
    return [None if value is None else (str(value), None) for value in drawn]  # an older recipe had no such axis


def _language(rule: LanguageTag, tagged: Tagged) -> list[Found]:
    found = (identified_language(text) for text in tagged.texts)
    return [each if each[1] >= rule.min_probability else None for each in found]


def _words(rule: WordsTag, tagged: Tagged) -> list[Found]:
    phrases = {value: [words(phrase) for phrase in listed] for value, listed in rule.values.items()}
    return [_most_said(words(text), phrases) for text in tagged.texts]


def _most_said(text: list[str], phrases: Mapping[str, list[list[str]]]) -> Found:
    said = {value: sum(_occurrences(text, phrase) for phrase in listed) for value, listed in phrases.items()}
    most = max(said.values())
    first, *others = [value for value, count in said.items() if count == most]
    return (first, float(most)) if most and not others else None


def _occurrences(text: list[str], phrase: list[str]) -> int:
    width = len(phrase)
    return sum(text[start : start + width] == phrase for start in range(len(text) - width + 1)) if width else 0


def _buckets(rule: BucketsTag, tagged: Tagged) -> list[Found]:
    measured = tagged.assessments.filter(pl.col("name") == rule.of)
    values = dict(measured.select("sample_id", "value").iter_rows())
    return [_bucket(rule, values.get(sample)) for sample in tagged.samples["sample_id"]]


def _bucket(rule: BucketsTag, measured: float | None) -> Found:
    if measured is None:
        return None
    reached = {bound: value for value, bound in rule.values.items() if bound <= measured}
    return (reached[max(reached)], measured) if reached else None


def _centroids(rule: CentroidsTag, tagged: Tagged) -> list[Found]:
    if len(tagged.vectors) != tagged.samples.height:
        raise ValueError(f"{tagged.samples.height} samples, {len(tagged.vectors)} vectors")
    centroids = {
        value: tagged.embedder.embed(examples).astype(np.float64).mean(axis=0)
        for value, examples in sorted(rule.values.items())
    }
    return [_nearest(vector, centroids, at_least=rule.min_similarity) for vector in tagged.vectors]


def _nearest(vector: np.ndarray, centroids: Mapping[str, np.ndarray], *, at_least: float) -> Found:
    near = {value: round(cosine(vector, centroid), DIGITS) for value, centroid in centroids.items()}
    best = max(near, key=near.__getitem__)  # the first of equals
    return (best, near[best]) if near[best] >= at_least else None


@dataclass(frozen=True)
class Kind:
    """How rules of one kind find a tag; ``version`` is raised whenever a sample would get another one."""

    version: str
    find: Callable[[Any, Tagged], list[Found]]


KINDS: dict[str, Kind] = {
    "constant": Kind("1", _constant),
    "axis": Kind("1", _axis),
    "language": Kind("1", _language),
    "words": Kind("1", _words),
    "buckets": Kind("1", _buckets),
    "centroids": Kind("1", _centroids),
}
"""Every kind of rule a recipe may name."""
