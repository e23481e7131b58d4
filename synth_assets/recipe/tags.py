"""The `tags` of a recipe: how each tag is found. What a rule does lives in `synth_assets.domain.tagging`."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from synth_assets.recipe.strict import Name, Strict
from synth_assets.vocabulary import Assessment

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"\w", max_length=100)]
Example = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class ConstantTag(Strict):
    """The same value for every sample."""

    kind: Literal["constant"]
    value: Name


class AxisTag(Strict):
    """The value of a control axis that the sample's request was dealt."""

    kind: Literal["axis"]
    axis: Name


class LanguageTag(Strict):
    """The most probable language of the text, ISO 639-1."""

    kind: Literal["language"]
    min_probability: float = Field(ge=0, le=1, description="Below it there is no tag.")


class WordsTag(Strict):
    """The value whose words the text uses most often; none of them, or a tie, gives no tag."""

    kind: Literal["words"]
    values: dict[Name, Annotated[list[Phrase], Field(min_length=1)]] = Field(min_length=1)

    @field_validator("values")
    @classmethod
    def _a_word_says_one_thing(cls, values: dict[str, list[str]]) -> dict[str, list[str]]:
        said = Counter(" ".join(phrase.casefold().split()) for phrases in values.values() for phrase in phrases)
        twice = sorted(phrase for phrase, count in said.items() if count > 1)
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice")
        return values


class BucketsTag(Strict):
    """The value with the highest lower bound that an assessment reaches; below all of them there is no tag."""

    kind: Literal["buckets"]
    of: Assessment
    values: dict[Name, float] = Field(min_length=1, description="Lower bound by value.")

    @field_validator("values")
    @classmethod
    def _bounds_differ(cls, values: dict[str, float]) -> dict[str, float]:
        twice = [bound for bound, count in Counter(values.values()).items() if count > 1]
        if twice:
            raise ValueError(f"two values begin at {twice[0]:g}")
        return values


class CentroidsTag(Strict):
    """The value whose example sentences are nearest in meaning: cosine to the mean of their embeddings."""

    kind: Literal["centroids"]
    values: dict[Name, Annotated[list[Example], Field(min_length=1)]] = Field(min_length=1)
    min_similarity: float = Field(ge=-1, le=1, description="Below it there is no tag.")


TagRule = Annotated[
    ConstantTag | AxisTag | LanguageTag | WordsTag | BucketsTag | CentroidsTag, Field(discriminator="kind")
]
"""How a tag is found; `kind` says which keys it takes."""
