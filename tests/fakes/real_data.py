"""Real data without reality: labelled film reviews in words the fake model uses, in runs it never does."""

import random

import polars as pl

from synth_assets.canonical import digest
from synth_assets.domain.ports import LabelledTexts, RealData
from synth_assets.recipe import Recipe
from tests.fakes.film_talk import BAD, GOOD

TEST_ROWS, VALIDATION_ROWS, POOL_ROWS = 100, 10, 40


def reviews(name: str, count: int) -> LabelledTexts:
    """Return labelled rows, labels in turn, a function of name and count."""
    draw = random.Random(name)
    rows = []
    for number in range(count):
        label, words = (("negative", BAD), ("positive", GOOD))[number % 2]
        rows.append({"text": f"{name} {number}: {', '.join(draw.sample(words, 4))}.", "label": label})
    frame = pl.DataFrame(rows)
    return LabelledTexts(name=f"fake/{name}", source="invented", sha256=digest(frame.rows()), rows=frame)


def protecting(*sets: LabelledTexts) -> LabelledTexts:
    rows = pl.concat([each.rows for each in sets])
    return LabelledTexts("fake/protected", "invented", digest(rows.rows()), rows)


class FakeRealData:
    """Reads the same small data for every recipe that names real data at all."""

    def __init__(self) -> None:
        test, validation = reviews("test", TEST_ROWS), reviews("validation", VALIDATION_ROWS)
        self.data = RealData(test, validation, reviews("pool", POOL_ROWS), protecting(test, validation))

    def read(self, recipe: Recipe) -> RealData | None:
        return None if recipe.model.real_data is None else self.data

    def protected(self, recipe: Recipe) -> LabelledTexts:
        return LabelledTexts.empty() if recipe.model.real_data is None else self.data.protected
