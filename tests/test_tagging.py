"""Every kind of tag against values worked out by hand."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter

from synth_assets.domain.tagging import KINDS, TAG, Tagged, source_id, tag
from synth_assets.recipe.tags import TagRule
from tests.fakes.embedder import HashedWords

EMBEDDER = HashedWords()
MOODS = {"angry": ["never again", "late"], "glad": ["thank you", "thanks"]}


def rule(kind: str, **keys: Any) -> TagRule:
    return TypeAdapter(TagRule).validate_python({"kind": kind, **keys})


def tagged(*texts: str, axes: str = '{"tone":"dry"}', measured: dict[str, list[float | None]] | None = None) -> Tagged:
    samples = pl.DataFrame({"sample_id": [f"s{n}" for n in range(len(texts))], "text": texts, "axes": axes})
    assessments = [
        {"sample_id": f"s{place}", "name": name, "value": value}
        for name, values in (measured or {}).items()
        for place, value in enumerate(values)
    ]
    schema = {"sample_id": pl.String, "name": pl.String, "value": pl.Float64}
    return Tagged(samples, pl.DataFrame(assessments, schema=schema), EMBEDDER.embed(texts), EMBEDDER)


def found(rule: TagRule, of: Tagged) -> dict[str, tuple[str, float | None]]:
    """Value and score by sample; a sample without tag is not there."""
    rows = tag(of, {"it": rule})
    assert set(rows["name"]) <= {"it"}
    return {row["sample_id"]: (row["value"], row["score"]) for row in rows.iter_rows(named=True)}


def test_every_kind_of_the_recipe_has_a_tagger() -> None:
    kinds = {model.model_fields["kind"].annotation.__args__[0] for model in TagRule.__args__[0].__args__}

    assert kinds == set(KINDS)


def test_a_constant_is_everybodys() -> None:
    assert found(rule("constant", value="chat"), tagged("a", "b")) == {"s0": ("chat", None), "s1": ("chat", None)}


def test_an_axis_gives_the_value_the_request_was_dealt() -> None:
    assert found(rule("axis", axis="tone"), tagged("a")) == {"s0": ("dry", None)}


def test_an_axis_of_numbers_gives_them_in_words() -> None:
    assert found(rule("axis", axis="stars"), tagged("a", axes='{"stars":3.5}')) == {"s0": ("3.5", None)}


def test_a_sample_from_before_the_axis_has_no_tag() -> None:
    assert found(rule("axis", axis="tone"), tagged("a", axes="{}")) == {}


def test_the_language_is_the_most_probable_one_and_unsure_texts_have_none() -> None:
    german, english = "Ich habe mein Paket immer noch nicht bekommen.", "My parcel has still not arrived, sadly."

    tags = found(rule("language", min_probability=0.9), tagged(german, english, "ok"))

    assert {sample: value for sample, (value, _) in tags.items()} == {"s0": "de", "s1": "en"}
    assert all(0.9 <= score <= 1 for _, score in tags.values() if score is not None)


def test_words_are_counted_whole_folded_and_as_phrases() -> None:
    texts = ("LATE, late and never-again!", "I am translated; thank you.", "you thank nobody", "nothing of it")

    assert found(rule("words", values=MOODS), tagged(*texts)) == {"s0": ("angry", 3.0), "s1": ("glad", 1.0)}


def test_as_many_words_of_two_values_give_no_tag_whatever_their_order() -> None:
    text = tagged("Late, but thanks")

    assert found(rule("words", values=MOODS), text) == {}
    assert found(rule("words", values=dict(reversed(MOODS.items()))), text) == {}


def test_a_bucket_begins_at_its_bound_and_the_highest_one_reached_counts() -> None:
    sizes = rule("buckets", of="words", values={"long": 20, "short": 5, "medium": 10})
    measured = {"words": [4.9, 5.0, 9.0, 10.0, 500.0, None], "pii": [99.0] * 6}

    assert found(sizes, tagged(*"abcdef", measured=measured)) == {
        "s1": ("short", 5.0),
        "s2": ("short", 9.0),
        "s3": ("medium", 10.0),
        "s4": ("long", 500.0),
    }


def test_a_sample_that_was_not_assessed_is_in_no_bucket() -> None:
    assert found(rule("buckets", of="words", values={"any": 0}), tagged("a")) == {}


def test_the_nearest_centroid_gives_the_tag_with_its_cosine() -> None:
    topics = {"boat": ["oar oar", "oar"], "tree": ["leaf"]}
    # The fake counts words beside a constant 1: "oar" is (1, 1)/sqrt 2, "oar oar" (1, 2)/sqrt 5.
    centroid = (np.array([1, 2]) / np.sqrt(5) + np.array([1, 1]) / np.sqrt(2)) / 2
    cosine = centroid @ np.array([1, 1]) / np.sqrt(2) / np.linalg.norm(centroid)

    tags = found(rule("centroids", values=topics, min_similarity=0.9), tagged("oar", "leaf", "stone"))

    assert tags == {"s0": ("boat", pytest.approx(cosine, abs=1e-6)), "s1": ("tree", pytest.approx(1.0))}


def test_below_the_least_similarity_there_is_no_tag() -> None:
    """Texts without a word in common have the constant alone: 1/2."""
    topics = {"tree": ["leaf"]}

    assert found(rule("centroids", values=topics, min_similarity=0.51), tagged("stone")) == {}
    assert found(rule("centroids", values=topics, min_similarity=0.5), tagged("stone")) == {"s0": ("tree", 0.5)}


def test_a_tie_of_centroids_goes_to_the_first_name_whatever_the_order_of_the_recipe() -> None:
    for topics in ({"b": ["leaf"], "a": ["leaf"]}, {"a": ["leaf"], "b": ["leaf"]}):
        assert found(rule("centroids", values=topics, min_similarity=0), tagged("leaf"))["s0"][0] == "a"


def test_vectors_that_do_not_belong_to_the_samples_are_refused() -> None:
    whole = tagged("a", "b")
    torn = Tagged(whole.samples, whole.assessments, whole.vectors[:1], EMBEDDER)

    with pytest.raises(ValueError, match="2 samples, 1 vectors"):
        tag(torn, {"it": rule("centroids", values={"a": ["b"]}, min_similarity=0)})


def test_a_tag_depends_on_its_sample_alone() -> None:
    rules = {
        "mood": rule("words", values=MOODS),
        "topic": rule("centroids", values={"late": ["late"]}, min_similarity=0.6),
    }
    alone, together = (tag(tagged(*texts), rules) for texts in (["late"], ["late", "thanks", "stone"]))

    assert together.filter(pl.col("sample_id") == "s0").equals(alone)


def test_without_rules_or_samples_there_are_no_tags() -> None:
    for empty in (tag(tagged("a"), {}), tag(tagged(), {"it": rule("constant", value="a")})):
        assert empty.is_empty()
        assert dict(empty.schema) == TAG


def test_a_source_changes_with_the_rule_and_only_with_what_the_rule_reads() -> None:
    late, later = (rule("words", values={"angry": [word]}) for word in ("late", "later"))
    topics = rule("centroids", values={"angry": ["late"]}, min_similarity=0)

    assert source_id(late, embedder="e").startswith("words@1:")
    assert source_id(late, embedder="e") != source_id(later, embedder="e")
    assert source_id(late, embedder="e") == source_id(late, embedder="another")
    assert source_id(topics, embedder="e") != source_id(topics, embedder="another")


def test_the_order_of_a_rules_values_is_no_part_of_its_source() -> None:
    here, there = (rule("words", values=values) for values in (MOODS, dict(reversed(MOODS.items()))))

    assert source_id(here, embedder="e") == source_id(there, embedder="e")
