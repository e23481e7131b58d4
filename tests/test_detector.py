"""The detector of languages: what it cannot tell is unknown, and a rule it can never judge by is refused."""

from pathlib import Path
from typing import Any

import pytest

from synth_assets.domain.scoring.language import _identifier, language_probability
from synth_assets.errors import UsageError
from synth_assets.recipe import load_recipe
from synth_assets.recipe.languages import ALIASES, DETECTED
from tests.fakes.recipes import RECIPE, write_recipe

RULE = {"language": {"min": 0.5, "because": "Another language was asked for."}}


@pytest.mark.parametrize("text", ["great film!", "my parcel is lost", "", "ok", "!!!", "12 34", "so good"])
def test_a_few_words_are_in_an_unknown_language_and_not_in_a_wrong_one(text: str) -> None:
    assert language_probability(text, "en") is None


@pytest.mark.parametrize(
    ("text", "language", "is_right"),
    [
        ("The parcel has not arrived yet and nobody answers.", "en", True),
        ("Das Paket ist noch nicht da, und niemand antwortet mir.", "en", False),
        ("Das Paket ist noch nicht da, und niemand antwortet mir.", "de", True),
        ("Pakken har ikke kommet enn\u00e5, og ingen svarer meg.", "nb", True),
        ("The parcel has not arrived yet and nobody answers.", "nb", False),
        ("\u5305\u88f9\u8fd8\u6ca1\u6709\u5230\uff0c\u4e5f\u6ca1\u6709\u4eba\u56de\u7b54\u3002", "zh", True),
    ],
)
def test_a_sentence_is_judged(text: str, language: str, is_right: bool) -> None:
    probability = language_probability(text, language)

    assert probability is not None
    assert (probability > 0.5) == is_right


def test_the_list_of_languages_is_the_detectors() -> None:
    assert {language for language, _ in _identifier().rank("")} - {"zxx"} == DETECTED
    assert set(ALIASES.values()) <= DETECTED
    assert not set(ALIASES) & DETECTED


@pytest.mark.parametrize(
    "recipe",
    [
        {"language": "tl"} | {"rules": RECIPE["rules"] | RULE},
        {"language": "nb"} | {"rules": RECIPE["rules"] | RULE},
        {"language": "kl"},
    ],
)
def test_a_recipe_may_have_any_language_that_no_rule_asks_the_detector_for(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    assert load_recipe(write_recipe(tmp_path, **recipe)).model.language == recipe["language"]


@pytest.mark.parametrize("part", [{"rules": RECIPE["rules"] | RULE}, {"quality_score": None}])
def test_a_rule_that_could_never_judge_is_refused_with_its_line(part: dict[str, Any], tmp_path: Path) -> None:
    if part.get("quality_score", 1) is None:
        weight = {"weight": 1, "worst": 0.0, "best": 1.0}
        part = {"quality_score": RECIPE["quality_score"] | {"language": weight}}

    with pytest.raises(UsageError, match="never judge a sample: the detector does not know kl") as refused:
        load_recipe(write_recipe(tmp_path, language="kl", **part))

    assert refused.value.where.rpartition(":")[2].isdigit()
