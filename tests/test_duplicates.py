"""Likeness by shared runs of words: the fast functions against the obvious ones."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.domain import duplicates
from synth_assets.domain.duplicates import (
    ANY,
    best_containments,
    best_matches,
    duplicate_groups,
    fold,
    resemblance,
    shingles,
)

FEW_WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=7).map(" ".join)
TEXTS = st.lists(FEW_WORDS, max_size=8)
ANY_TEXT = st.text(max_size=60)


def by_brute_force(
    texts: list[str], against: list[str], *, width: int, floor: float, horizon: list[int]
) -> list[tuple]:
    rows = []
    for index, text in enumerate(texts):
        compared = [
            (resemblance(text, other, width=width), place) for place, other in enumerate(against[: horizon[index]])
        ]
        near = [(-value, place) for value, place in compared if value >= floor]
        value, place = min(near, default=(-0.0, None))
        rows.append((index, place, -value))
    return rows


@given(TEXTS, TEXTS, st.integers(1, 4), st.sampled_from([ANY, 0.3, 0.5, 1.0]))
@settings(max_examples=150, deadline=None)
def test_best_matches_equals_brute_force(texts: list[str], against: list[str], width: int, floor: float) -> None:
    found = best_matches(texts, against, width=width, floor=floor)

    everywhere = [len(against)] * len(texts)
    assert found.rows() == by_brute_force(texts, against, width=width, floor=floor, horizon=everywhere)


@given(TEXTS, st.integers(1, 3))
@settings(max_examples=75, deadline=None)
def test_with_a_horizon_a_text_sees_only_what_stands_before_it(texts: list[str], width: int) -> None:
    before = list(range(len(texts)))

    found = best_matches(texts, texts, width=width, floor=ANY, horizon=before)

    assert found.rows() == by_brute_force(texts, texts, width=width, floor=ANY, horizon=before)


@given(st.lists(ANY_TEXT, min_size=1, max_size=5), st.lists(ANY_TEXT, max_size=5))
@settings(max_examples=75, deadline=None)
def test_best_matches_equals_brute_force_on_any_unicode(texts: list[str], against: list[str]) -> None:
    found = best_matches(texts, against, width=2, floor=ANY)

    everywhere = [len(against)] * len(texts)
    assert found.rows() == by_brute_force(texts, against, width=2, floor=ANY, horizon=everywhere)


@given(ANY_TEXT, ANY_TEXT, st.integers(1, 4))
def test_resemblance_is_symmetric_and_a_share(left: str, right: str, width: int) -> None:
    value = resemblance(left, right, width=width)

    assert value == resemblance(right, left, width=width)
    assert 0.0 <= value <= 1.0


@given(ANY_TEXT, st.integers(1, 4))
def test_every_text_resembles_itself_and_its_folded_form(text: str, width: int) -> None:
    assert resemblance(text, text, width=width) == 1.0
    assert resemblance(text, fold(text), width=width) == 1.0


@given(ANY_TEXT)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.lists(FEW_WORDS, max_size=8), st.sampled_from([0.2, 0.5, 0.9]))
@settings(max_examples=75, deadline=None)
def test_groups_are_the_chains_of_resembling_texts(texts: list[str], threshold: float) -> None:
    expected = list(range(len(texts)))
    for _ in texts:
        for i, left in enumerate(texts):
            for j, right in enumerate(texts):
                if resemblance(left, right, width=2) >= threshold:
                    expected[i] = expected[j] = min(expected[i], expected[j])

    assert duplicate_groups(texts, width=2, threshold=threshold) == expected


def test_groups_hold_together_over_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{n} {n + 1} {n + 2}" for n in range(50)] + ["apart", "0 1 2"]
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", 5)

    assert duplicate_groups(texts, width=1, threshold=0.5) == [0] * 50 + [50, 0]


def test_the_size_of_the_chunks_changes_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the film {n % 7} was {n % 5} and {n % 3}" for n in range(60)]
    whole = best_matches(texts, texts, width=2, floor=ANY, horizon=range(60))
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", 11)

    assert best_matches(texts, texts, width=2, floor=ANY, horizon=range(60)).equals(whole)


def test_of_equal_matches_the_first_is_named() -> None:
    found = best_matches(["a b c"], ["x", "a b d", "a b e", "a b d"], width=2, floor=0.3)

    assert found.rows() == [(0, 1, 1 / 3)]


def test_what_lies_below_the_floor_is_nothing() -> None:
    found = best_matches(["a b c d"], ["a b x y"], width=2, floor=0.21)

    assert resemblance("a b c d", "a b x y", width=2) == 0.2
    assert found.rows() == [(0, None, 0.0)]


def test_a_short_text_inside_a_long_one_is_contained_though_hardly_resembling() -> None:
    short, long = "a b c d", "x y z a b c d e f g h i j k l m n o p q"

    found = best_containments([short, long], [long], width=2, least=3)

    assert found["resemblance"].to_list() == [1.0, 1.0]
    assert resemblance(short, long, width=2) == 3 / 19
    assert best_containments([short], [long], width=2, least=4)["resemblance"].to_list() == [0.0]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("A great film.", "a  GREAT film"),
        ("don't", "don\u2019t"),
        ("\uff21 \ufb01lm", "a film"),
        ("zero\u200bwidth", "zerowidth"),
        ("nul\x00between", "nul between"),
        ("Straße", "STRASSE"),
        ("很好 看", "很好看"),
    ],
)
def test_layout_alone_makes_no_difference(left: str, right: str) -> None:
    assert fold(left) == fold(right)


@pytest.mark.parametrize(("left", "right"), [("good 😀", "good 😡"), ("很好", "好很"), ("हिंदी", "हदी")])
def test_what_carries_meaning_is_kept(left: str, right: str) -> None:
    assert fold(left) != fold(right)


def test_a_text_shorter_than_a_shingle_is_one_shingle() -> None:
    assert shingles("so good", width=3) == {("so", "good")}
    assert shingles("!", width=3) == {()}
    assert resemblance("so good", "so good indeed", width=3) == 0.0


def test_long_shingles_over_a_large_vocabulary_do_not_overflow() -> None:
    texts = [" ".join(f"w{n}" for n in range(start, start + 300)) for start in range(0, 30_000, 300)]

    found = best_matches([*texts, "z " + texts[7]], texts, width=8, floor=ANY)

    assert found["neighbour"].to_list() == [*range(100), 7]
    assert found["resemblance"][100] == 293 / 294


def test_nothing_against_something_and_something_against_nothing() -> None:
    assert best_matches([], ["a"], width=3, floor=0.3).shape == (0, 3)
    assert best_matches(["a"], [], width=3, floor=0.3).rows() == [(0, None, 0.0)]
    assert duplicate_groups([], width=3, threshold=0.5) == []


def test_a_text_of_100_000_characters_is_compared_like_any_other() -> None:
    long = "word " * 20_000

    assert best_matches([long, "x" * 100_000], [long], width=3, floor=0.3)["resemblance"].to_list() == [1.0, 0.0]


@pytest.mark.parametrize("floor", [0.0, -0.1, 1.1])
def test_a_floor_outside_its_range_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match="floor"):
        best_matches(["a"], ["a"], width=3, floor=floor)
    with pytest.raises(ValueError, match="threshold"):
        duplicate_groups(["a"], width=3, threshold=floor)


def test_a_shingle_without_words_and_a_wrong_number_of_horizons_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 word"):
        resemblance("a", "b", width=0)
    with pytest.raises(ValueError, match="at least 1 word"):
        best_matches(["a"], ["b"], width=0, floor=0.3)
    with pytest.raises(ValueError, match="horizons"):
        best_matches(["a"], ["b"], width=3, floor=0.3, horizon=[1, 1])


def test_a_thousand_texts_against_twenty_thousand_agree_with_brute_force_where_it_is_asked() -> None:
    draw = np.random.default_rng(7)
    vocabulary = np.array([f"w{n}" for n in range(300)])
    old = [" ".join(draw.choice(vocabulary, 12)) for _ in range(20_000)]
    new = [" ".join(draw.permutation(text.split())) if n % 2 else text + " more" for n, text in enumerate(old[:1000])]

    found = best_matches(new, old, width=3, floor=0.3)

    assert found.filter(pl.col("index") % 2 == 0)["neighbour"].to_list() == list(range(0, 1000, 2))
    assert found["resemblance"][0] == resemblance(new[0], old[0], width=3) == 10 / 11
