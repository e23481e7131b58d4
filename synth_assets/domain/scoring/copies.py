"""Scorers for words taken from elsewhere: from the prompt, from the test set, from other samples.

All of them count shared runs of words exactly (see `duplicates`), so their values are the same to the bit wherever and
beside whatever they are computed.
"""

import polars as pl

from synth_assets.domain.duplicates import ANY, best_containments, best_matches
from synth_assets.domain.scoring.scorer import Context, new_texts, result
from synth_assets.domain.shingles import fold

WIDTH = 3
"""Words of a shingle."""

LONG_RUN = 8
"""Words in a row that two texts do not share by chance."""

LONG_SHINGLES = LONG_RUN - WIDTH + 1
"""Shingles of a text of `LONG_RUN` words: below that, being contained in another text means little."""

NEAR_FLOOR = 0.3
"""Near duplicates are exact from here on; less counts as 0."""


def measure_copied_shot(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return how much of a text was copied from one of the texts its prompt shows, 0..1.

    The highest of: the resemblance to a shot; the containment of the shorter in the longer, if the shorter has at
    least `LONG_SHINGLES` shingles, so that a shot inside a longer text is found; 1.0 if `LONG_RUN` words in a row are a
    shot's. neighbour_id is ``shot:<place in the context's shots>``.
    """
    texts = new_texts(samples)
    measured = [
        best_matches(texts, context.shots, width=LONG_RUN, floor=ANY).with_columns(_certain()),
        best_containments(texts, context.shots, width=WIDTH, least=LONG_SHINGLES),
        best_matches(texts, context.shots, width=WIDTH, floor=ANY),
    ]
    return _highest(measured, "shot:")


def measure_contamination(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return how much a text resembles a protected row, 0..1; 1.0 if it shares `LONG_RUN` words in a row with one.

    neighbour_id is ``protected:<row>``.

    Source:
        Shared runs of words as the sign of contamination: T. Brown et al., "Language Models are Few-Shot Learners",
        2020, appendix C, which takes 13 words and at least 8.
    """
    return contamination(new_texts(samples), context.protected.rows["text"].to_list())


def contamination(texts: list[str], rows: list[str]) -> pl.DataFrame:
    """Return how much each text resembles a row it must not know; see `measure_contamination`.

    Args:
        texts: n of them.
        rows: what they must not resemble.

    Returns:
        Columns value and neighbour_id, shape (n, 2).
    """
    measured = [
        best_matches(texts, rows, width=LONG_RUN, floor=ANY).with_columns(_certain()),
        best_matches(texts, rows, width=WIDTH, floor=ANY),
    ]
    return _highest(measured, "protected:")


def measure_exact_duplicate(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return 1.0 if a text, folded, equals an accepted one or an earlier one of the batch; else 0.0.

    neighbour_id is the first sample that had it. Texts without any word are all equal.
    """
    everyone = _everyone(samples, context)
    folded = everyone.select("sample_id", "is_new", pl.Series("folded", [fold(text) for text in everyone["text"]]))
    first = pl.col("sample_id").first().over("folded")
    is_first = pl.int_range(pl.len()).over("folded") == 0
    duplicates = folded.with_columns(first.alias("first"), is_first.alias("is_first")).filter("is_new")
    return duplicates.select(
        (~pl.col("is_first")).cast(pl.Float64).alias("value"),
        pl.when(~pl.col("is_first")).then("first").alias("neighbour_id"),
    )


def measure_near_duplicate(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return the highest resemblance to an accepted sample or an earlier one of the batch, 0..1.

    Below `NEAR_FLOOR` it is 0.0. neighbour_id is that sample, the first of equals; null if there is none.
    """
    everyone = _everyone(samples, context).with_row_index("place")
    new = everyone.filter("is_new")
    best = best_matches(
        new["text"].to_list(), everyone["text"].to_list(), width=WIDTH, floor=NEAR_FLOOR, horizon=new["place"].to_list()
    )
    return result(best["resemblance"], everyone["sample_id"].gather(best["neighbour"]))


def _everyone(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return accepted samples of other batches, then the batch in plan order; columns sample_id, text, is_new."""
    earlier = context.earlier.select("sample_id", "text", pl.lit(value=False).alias("is_new"))
    return pl.concat([earlier, samples.select("sample_id", "text", "is_new")])


def _certain() -> pl.Expr:
    """A long run shared with anyone counts as 1.0, however little else is shared."""
    return pl.when(pl.col("neighbour").is_not_null()).then(1.0).otherwise(0.0).alias("resemblance")


def _highest(measured: list[pl.DataFrame], prefix: str) -> pl.DataFrame:
    """Return the highest of several measurements per text; of equals the one named first."""
    best = measured[0]
    for other in measured[1:]:
        is_higher = other["resemblance"] > best["resemblance"]
        best = pl.DataFrame(
            {name: other[name].zip_with(is_higher, best[name]) for name in ("neighbour", "resemblance")}
        )
    return best.select(
        pl.col("resemblance").alias("value"), pl.format(prefix + "{}", "neighbour").alias("neighbour_id")
    )
