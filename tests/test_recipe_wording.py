"""Whatever stands in the wrong place of a recipe, its author reads our words with the key, and nobody else's."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from synth_assets.errors import UsageError
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.providers import ProvidersModel
from synth_assets.recipe.strict_yaml import Document
from synth_assets.recipe.template import FrontMatter
from synth_assets.recipe.validation import validated
from synth_assets.recipe.wording import LONGEST, NOT_KNOWN, RULE
from tests.fakes.recipes import RECIPE

Place = tuple[str | int, ...]
FILE = Path("recipe.yaml")

PRICE = {"input_usd_per_million": 1, "output_usd_per_million": 1, "as_of": "2026-11-01"}
TAGS = {
    "fixed": {"kind": "constant", "value": "dry"},
    "part": {"kind": "axis", "axis": "part"},
    "tongue": {"kind": "language", "min_probability": 0.5},
    "mood": {"kind": "words", "values": {"wry": ["oddly"]}},
    "size": {"kind": "buckets", "of": "words", "values": {"small": 1}},
    "topic": {"kind": "centroids", "values": {"roof": ["The roof leaks."]}, "min_similarity": 0.1},
}
AXES = {
    "rooms": {"kind": "number", "min": 1, "max": 5, "step": 1},
    "built": {"kind": "date", "from": "2026-01-01", "to": "2026-02-01"},
    "state": {
        "kind": "conditional",
        "on": "label",
        "values": {"positive": {"new": {"weight": 1}}, "negative": {"old": {}}},
    },
}
EVERY_KEY = RECIPE | {
    "cron": "0 6 * * *",
    "cover": "proportional",
    "max_ancestry_depth": 3,
    "rotation": {"kind": "adaptive", "floor": 0.1, "memory": 3},
    "tags": TAGS,
    "axes": RECIPE["axes"] | AXES,
    "generator": RECIPE["generator"] | {"dispatch": "online", "prices": {"some-model": PRICE}},
    "prompts": [{"name": "lines", "weight": 1, "then": [{"name": "talk", "continues": True}], "evolves": None}],
    "real_data": {"reader": "invented", "test_rows": 100},
    "trainer": {"name": "linear", "params": {}, "seed": 1},
    "automation": {"schedule": "stopped", "release_after": 3},
}
ENDPOINT = {
    "base_url": "https://llm.example.org/v1",
    "key": "SOME_KEY",
    "models": {"small": {"mode": "chat", "json_schema": True, "prices": PRICE}},
    "requests_per_minute": 3,
    "concurrency": 3,
}
REPLY = {"format": "json", "field": "text", "fields": {"text": "Text"}, "repair": True}
WHOLE: dict[type[BaseModel], dict[str, Any]] = {
    RecipeModel: EVERY_KEY,
    ProvidersModel: {"providers": {"campus": ENDPOINT}},
    FrontMatter: {"name": "lines", "version": "1", "mode": "chat", "reply": REPLY},
}
"""Documents that say everything a file may say."""

WRONG: list[Any] = [None, True, 5, -5, 10**12, 10**400, 1.5, float("nan"), "", "x", "2026-02-31", "x" * 3_000]
WRONG += [[], ["x"], ["x"] * 30, [5], {}, {"x": 5}, {"No Name": {}}, {5: 1}, {"kind": "x"}]
"""What YAML may put in any place."""


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    if here:
        yield here
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield from places(child, (*here, key))


def bent(whole: dict[str, Any], place: Place, wrong: Any) -> dict[str, Any]:
    value: Any = copy.deepcopy(whole)
    at = value
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = wrong
    return value  # type: ignore[no-any-return]


@pytest.mark.parametrize("model", WHOLE, ids=lambda model: model.__name__)
def test_no_word_of_the_validating_library_reaches_the_author_of_a_file(model: type[BaseModel]) -> None:
    refused = 0
    for place in places(WHOLE[model]):
        for wrong in WRONG:
            value = bent(WHOLE[model], place, wrong)
            try:
                model.model_validate(value)
            except ValidationError as error:
                refused += 1
                foreign = [each["msg"] for each in error.errors() if each["type"] != RULE]
            else:
                continue
            with pytest.raises(UsageError) as said:
                validated(model, Document(value, {}), file=FILE)
            what = said.value.what
            assert not [words for words in foreign if words in what], (place, wrong)
            assert NOT_KNOWN not in what, (place, wrong, foreign)
            assert re.match(r"[\w.<> -]+: .", what), (place, wrong)
            assert len(what) < LONGEST + 200, (place, wrong)
    assert refused > len(list(places(WHOLE[model])))


@pytest.mark.parametrize("model", WHOLE, ids=lambda model: model.__name__)
def test_the_whole_documents_are_right_until_they_are_bent(model: type[BaseModel]) -> None:
    assert validated(model, Document(WHOLE[model], {}), file=FILE)


@pytest.mark.parametrize(
    ("place", "wrong", "what"),
    [
        (("batch",), 5, "batch: keys and values belong here"),
        (("batch", "accept"), "many", "batch.accept: a whole number belongs here"),
        (("batch", "accept"), 2_000_000, "batch.accept: the number must be at most 100,000"),
        (("prompts",), {}, "prompts: a list belongs here"),
        (("owners",), [], "owners: too few entries: 0 of at least 1"),
        (("language",), "english", "language: a language is two small letters, as in ISO 639-1"),
        (("cadence",), "monthly", "cadence: write 'hourly', 'daily' or 'weekly'"),
        (("axes", "built", "from"), "2026-02-31", "axes.built.from: there is no such day"),
        (("splits",), {"exam": 1}, "splits.exam: as a key: write 'train', 'validation' or 'test'"),
        (("labels",), {5: {}}, "labels.5: as a key: text belongs here"),
    ],
)
def test_what_belongs_in_a_place_is_said(place: Place, wrong: Any, what: str) -> None:
    with pytest.raises(UsageError) as said:
        validated(RecipeModel, Document(bent(EVERY_KEY, place, wrong), {}), file=FILE)

    assert said.value.what.partition(" (and ")[0] == what


def test_all_that_is_wrong_is_said_at_once_in_words_each_with_its_cure() -> None:
    wrong = bent(EVERY_KEY, ("labels",), {"good": {"share": 0.5}, "bad": {"share": "half"}})
    wrong |= {
        "language": "english",
        "cadence": "monthly",
        "licence": "cc0-1.0",
        "seeds": {"Rows": {"file": "rows.csv"}},
    }

    with pytest.raises(UsageError) as said:
        validated(RecipeModel, Document(wrong, {("language",): 7}), file=FILE)

    assert "licence: there is no such key (and 5 more)" in said.value.what
    first, *others = said.value.fix.splitlines()
    assert first == "did you mean `license`?"
    assert len(others) == 5
    assert "line 7: language: a language is two small letters" in "".join(others)
    assert "^[" not in "".join(others)


def test_rules_across_keys_are_all_asked() -> None:
    wrong = bent(EVERY_KEY, ("splits",), {"train": 0.5, "validation": 0.1, "test": 0.1})
    wrong = bent(wrong, ("labels",), {"good": {"share": 0.5}, "bad": {"share": 0.2}})
    wrong |= {"start": "2026-11-1"}

    with pytest.raises(UsageError) as said:
        validated(RecipeModel, Document(wrong, {("splits",): 9}), file=FILE)

    told = said.value.what + said.value.fix
    for each in ("labels: shares add up to 0.7, not 1", "splits: shares add up to 0.7, not 1", "start: '2026-11-1' is"):
        assert each in told


def test_a_page_of_findings_is_cut_and_counted() -> None:
    wrong = EVERY_KEY | {f"key_{number}": 1 for number in range(40)}

    with pytest.raises(UsageError) as said:
        validated(RecipeModel, Document(wrong, {}), file=FILE)

    assert said.value.fix.splitlines()[-1] == "  and 19 more"
