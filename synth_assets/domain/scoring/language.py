"""The scorer for the language a text is in.

The model is a naive Bayes over byte sequences that ships with py3langid. Probabilities are rounded to six digits, so
that the last bits of a float32 product, which may differ between processors, never reach an assessment.
"""

from functools import lru_cache
from typing import Any

import polars as pl

from synth_assets.domain.scoring.scorer import Context, result
from synth_assets.recipe.languages import ALIASES

DIGITS = 6

SURE = 0.5
"""Below it the most probable language is less probable than all others together, and says nothing."""


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_probability(text: str, language: str) -> float | None:
    """Return how probable it is that a text is in a language, among all languages the model knows.

    Args:
        text: any text; a few words say little, an empty text nothing.
        language: ISO 639-1.

    Returns:
        A probability, 0..1; None if the model does not know the language, or if no language at all is as probable as
        `SURE`: a text of a few words is in an unknown language, not in a wrong one.

    Source:
        M. Lui and T. Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", 2012.
    """
    ranked = _identifier().rank(text)
    if ranked[0][1] < SURE:
        return None
    found: float | None = dict(ranked).get(ALIASES.get(language, language))
    return None if found is None else round(float(found), DIGITS)


def identified_language(text: str) -> tuple[str, float]:
    """Return the most probable language of a text, ISO 639-1, with its probability, 0..1; same source.

    Example:
        >>> identified_language("The parcel has not arrived yet and nobody answers.")[0]
        'en'
    """
    language, probability = _identifier().classify(text)
    return str(language), round(float(probability), DIGITS)


def measure_language(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Return the probability of the language each new sample was asked for in."""
    asked = samples.filter("is_new").select("text", "language").iter_rows()
    values = [language_probability(text, language) for text, language in asked]
    return result(values, [None] * len(values))
