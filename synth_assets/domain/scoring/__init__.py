"""Scoring: every new sample measured by every scorer; nothing is judged or dropped here.

`SCORERS` is the closed registry; `assess` runs the ones a recipe names. Values are deterministic: the same samples and
context give the same values to the bit (each module says what guarantees it).
"""

from collections.abc import Collection

import polars as pl

from synth_assets.canonical import digest
from synth_assets.domain.scoring import copies, labels, language, neighbours, pii, refusals, surface
from synth_assets.domain.scoring.pii import Finding, find_pii
from synth_assets.domain.scoring.scorer import Context, Scorer, nothing_else
from synth_assets.errors import UsageError

__all__ = ["ASSESSMENT", "SCORERS", "Context", "Finding", "Scorer", "assess", "find_pii", "source_id"]

ASSESSMENT = {
    "sample_id": pl.String,
    "name": pl.String,
    "value": pl.Float64,
    "neighbour_id": pl.String,
    "source_id": pl.String,
}
"""Columns and types of what `assess` returns."""

SOURCE_HASH_LENGTH = 12


_ALL = (
    Scorer(
        name="words",
        version="2",
        meaning="How many words the text has.",
        unit="words",
        reads_the_batch=False,
        settings=nothing_else,
        function=surface.measure_words,
    ),
    Scorer(
        name="refusal",
        version="1",
        meaning="Whether the model refused or talked about the text instead of writing it.",
        unit="0 or 1",
        reads_the_batch=False,
        settings=nothing_else,
        function=refusals.measure_refusal,
    ),
    Scorer(
        name="repetition",
        version="2",
        meaning="Share of the text's word trigrams that it had already used.",
        unit="0..1",
        reads_the_batch=False,
        settings=nothing_else,
        function=surface.measure_repetition,
    ),
    Scorer(
        name="language",
        version="2",
        meaning="Probability that the text is in the language asked for; null if the detector cannot tell.",
        unit="0..1",
        reads_the_batch=False,
        settings=lambda context: {"language": context.language},
        function=language.measure_language,
    ),
    Scorer(
        name="pii",
        version="2",
        meaning="How many addresses and numbers in the text could be somebody's.",
        unit="findings",
        reads_the_batch=False,
        settings=lambda context: {"regions": list(context.pii_regions)},
        function=pii.measure_pii,
    ),
    Scorer(
        name="copied_shot",
        version="2",
        meaning="How much of the text is copied from an example the prompt showed; 1 if eight words in a row are.",
        unit="0..1",
        reads_the_batch=False,
        settings=lambda context: {"shots": context.shots},
        function=copies.measure_copied_shot,
    ),
    Scorer(
        name="mean_logprob",
        version="1",
        meaning="Mean log probability the model gave its own tokens; null if the provider does not say.",
        unit="nats",
        reads_the_batch=False,
        settings=nothing_else,
        function=surface.measure_mean_logprob,
    ),
    Scorer(
        name="label_consistency",
        version="1",
        meaning="Probability of the sample's label by a classifier that learnt from the rest of the batch.",
        unit="0..1",
        reads_the_batch=True,
        settings=lambda context: {"embedder": context.embedder},
        function=labels.measure_label_consistency,
    ),
    Scorer(
        name="nearest_neighbour",
        version="1",
        meaning="Highest cosine of meaning to an accepted sample or an earlier one of the batch; null if none.",
        unit="-1..1",
        reads_the_batch=True,
        settings=lambda context: {"embedder": context.embedder},
        function=neighbours.measure_nearest_neighbour,
    ),
    Scorer(
        name="exact_duplicate",
        version="2",
        meaning="Whether an accepted sample or an earlier one of the batch has the same words in the same order.",
        unit="0 or 1",
        reads_the_batch=True,
        settings=nothing_else,
        function=copies.measure_exact_duplicate,
    ),
    Scorer(
        name="near_duplicate",
        version="2",
        meaning="Highest share of three-word runs in common with an accepted sample or an earlier one; 0 below 0.3.",
        unit="0..1",
        reads_the_batch=True,
        settings=nothing_else,
        function=copies.measure_near_duplicate,
    ),
    Scorer(
        name="contamination",
        version="2",
        meaning="Highest share of three-word runs in common with a protected row; 1 if eight words in a row are.",
        unit="0..1",
        reads_the_batch=False,
        settings=lambda context: {"protected": context.protected.sha256},
        function=copies.measure_contamination,
    ),
)

SCORERS: dict[str, Scorer] = {scorer.name: scorer for scorer in _ALL}
"""Every scorer a recipe may name, in the order of their assessments."""


def source_id(scorer: Scorer, context: Context) -> str:
    """Name what an assessment comes from: scorer, version and a hash of all it depends on besides the samples.

    Example:
        ``language@1:0f3a5c...``: twelve hex digits.
    """
    settings = digest([scorer.name, scorer.version, dict(scorer.settings(context))])
    return f"{scorer.name}@{scorer.version}:{settings[:SOURCE_HASH_LENGTH]}"


def assess(samples: pl.DataFrame, context: Context, *, names: Collection[str]) -> pl.DataFrame:
    """Measure every new sample by every named scorer.

    Args:
        samples: all samples of the batch in plan order, columns sample_id, text, label (nullable), language,
            mean_logprob (nullable) and is_new, shape (n, 6). Those with is_new false keep their assessments and are
            context only.
        context: what they are measured against; its embeddings are read only by the scorers that need them.
        names: scorers to run; their order does not matter.

    Returns:
        Columns of `ASSESSMENT`, one row per named scorer and new sample, shape (scorers * new samples, 5), scorers in
        the order of `SCORERS`, samples in plan order. A value that could not be computed is null, never NaN.

    Raises:
        UsageError: a name is no scorer.
        ValueError: samples and embeddings differ in number.
    """
    unknown = sorted(set(names) - set(SCORERS))
    if unknown:
        raise UsageError(
            f"no scorer is called {', '.join(unknown)}",
            where="rules and quality_score of the recipe",
            fix=f"use one of {', '.join(SCORERS)}",
        )
    chosen = [scorer for scorer in SCORERS.values() if scorer.name in names]
    return pl.concat([pl.DataFrame(schema=ASSESSMENT), *(_assessed(samples, context, scorer) for scorer in chosen)])


def _assessed(samples: pl.DataFrame, context: Context, scorer: Scorer) -> pl.DataFrame:
    new = samples.filter("is_new")
    measured = scorer.function(samples, context)
    value = measured["value"]
    columns = {
        "sample_id": new["sample_id"],
        "name": pl.repeat(scorer.name, new.height, dtype=pl.String, eager=True),
        "value": value.zip_with(value.is_finite(), pl.Series([None], dtype=pl.Float64)),
        "neighbour_id": measured["neighbour_id"],
        "source_id": pl.repeat(source_id(scorer, context), new.height, dtype=pl.String, eager=True),
    }
    return pl.DataFrame(columns, schema=ASSESSMENT)
