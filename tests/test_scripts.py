"""Scripts of the world: what a writer may leave out makes no other text, and words are those that readers count."""

import pytest

from synth_assets.domain.duplicates import best_matches
from synth_assets.domain.shingles import fold, spoken_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "كَتَبَ الوَلَدُ",
            "كتب الولد",
        ),  # Arabic, with and without vowels
        ("مــرحبا", "مرحبا"),  # tatweel
        ("أحمد", "احمد"),  # hamza
        (
            "کتاب منی",
            "كتاب مني",
        ),  # Persian and Arabic letters
        ("שָׁלוֹם", "שלום"),  # Hebrew points
        ("\uff26\uff55\uff4c\uff4c \uff57\uff49\uff44\uff54\uff48 \uff11", "full width 1"),
        ("\uff76\uff9e\uff97\uff7d", "ガラス"),  # half-width katakana
        ("ΑΘΗΝΑ", "Αθήνα"),  # Greek capitals have no accents
        ("Всё", "все"),
        ("İstanbul", "istanbul"),
        ("STRASSE", "straße"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("cafe\u0301", "café"),
    ],
)
def test_what_a_writer_may_leave_out_makes_no_other_text(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert best_matches([one], [other], width=3, floor=0.3)["resemblance"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe"),
        ("мир", "миры"),
        ("की", "कि"),
        ("か", "が"),
    ],
)
def test_what_makes_another_word_is_kept(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("ฉันชอบกินข้าว", 4),  # I like (to) eat rice
        ("พัสดุยังไม่มาถึง", 5),
        ("我喜欢吃苹果", 4),
        ("私は学生です", 4),
        ("ខ្ញុំស្រឡាញ់អ្នក", 3),
        ("Don't miss it!", 3),
        ("مرحبا بالعالم", 2),
        ("नमस्ते दुनिया", 2),
        ("good 我", 2),
        ("", 0),
    ],
)
def test_words_are_counted_as_readers_count_them(text: str, count: int) -> None:
    assert len(spoken_words(text)) == count
