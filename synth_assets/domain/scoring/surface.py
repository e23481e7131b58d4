"""Scorers that read a text's surface: how long it is, how much it repeats itself, how sure its model was.

All of them count or pass through, so their values are exact.
"""

import polars as pl

from synth_assets.domain.scoring.scorer import Context, for_each_text, result
from synth_assets.domain.shingles import spoken_words

TRIGRAM = 3


def word_count(text: str) -> float:
    """Return the number of words; in scripts written without spaces those of ICU's dictionaries.

    Example:
        >>> word_count("Don't miss it!")
        3.0
    """
    return float(len(spoken_words(text)))


def repetition(text: str) -> float:
    """Return the share of a text's word trigrams that it had already used.

    ``1 - different trigrams / trigrams``, on folded words. A text of fewer than four words has at most one trigram,
    which cannot repeat: 0.0.

    Returns:
        A share from 0.0 (no trigram twice) up to, but never, 1.0.

    Source:
        "seq-rep-n" of S. Welleck et al., "Neural Text Generation with Unlikelihood Training", 2019, with n = 3.

    Example:
        >>> repetition("so good so good so good")
        0.5
    """
    found = spoken_words(text)
    trigrams = list(zip(found, found[1:], found[2:], strict=False))
    return 1.0 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def _mean_logprob(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    given = samples.filter("is_new")["mean_logprob"].cast(pl.Float64)
    return result(given, [None] * len(given))


measure_words = for_each_text(word_count)
measure_repetition = for_each_text(repetition)
measure_mean_logprob = _mean_logprob
