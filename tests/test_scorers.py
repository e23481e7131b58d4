"""Every scorer against numbers worked out by hand."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from synth_assets.domain.ports import LabelledTexts
from synth_assets.domain.scoring import ASSESSMENT, SCORERS, Context, Finding, assess, find_pii
from synth_assets.domain.scoring.labels import FEWEST_PER_CLASS
from synth_assets.errors import UsageError

HOSTILE = [
    "",
    "\x00",
    "\x00nul\x00 inside",
    "x" * 100_000,
    "word " * 20_000,
    "😀🎉" * 50,
    "很好看的电影。" * 20,
    "\u202e\u0301\ufeff",
    "#@!?",
]
FULL_WIDTH = "".join(chr(ord(digit) + 0xFEE0) for digit in "13812345678")
NO_TEXTS = pl.DataFrame(schema={"sample_id": pl.String, "text": pl.String})


def batch(
    texts: Sequence[str],
    *,
    labels: Sequence[str | None] | None = None,
    languages: Sequence[str] | None = None,
    logprobs: Sequence[float | None] | None = None,
    new: Sequence[bool] | None = None,
) -> pl.DataFrame:
    count = len(texts)
    columns = {
        "sample_id": [f"s{n}" for n in range(count)],
        "text": list(texts),
        "label": labels or [None] * count,
        "language": languages or ["en"] * count,
        "mean_logprob": logprobs or [None] * count,
        "is_new": new or [True] * count,
    }
    types = [pl.String, pl.String, pl.String, pl.String, pl.Float64, pl.Boolean]
    return pl.DataFrame(columns, schema=dict(zip(columns, types, strict=True)))


def earlier_rows(*texts: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"sample_id": [f"e{n}" for n in range(len(texts))], "text": list(texts)}, schema=NO_TEXTS.schema
    )


def context_of(
    *,
    count: int = 0,
    language: str = "en",
    shots: Sequence[str] = (),
    protected: Sequence[str] = (),
    earlier: pl.DataFrame = NO_TEXTS,
    embeddings: np.ndarray | None = None,
    earlier_embeddings: np.ndarray | None = None,
) -> Context:
    rows = pl.DataFrame(
        {"text": list(protected), "label": [None] * len(protected)}, schema={"text": pl.String, "label": pl.String}
    )
    return Context(
        language=language,
        pii_regions=(),
        shots=list(shots),
        protected=LabelledTexts(name="real", source="a test", sha256="ab" * 32, rows=rows),
        earlier=earlier,
        embeddings=np.eye(max(count, 1), 8, dtype=np.float32)[:count] if embeddings is None else embeddings,
        earlier_embeddings=np.zeros((earlier.height, 8), np.float32)
        if earlier_embeddings is None
        else earlier_embeddings,
        embedder="a fake",
    )


def measured(name: str, texts: Sequence[str], **given: object) -> list[tuple[float | None, str | None]]:
    """Return (value, neighbour_id) of all texts, all of them new."""
    found = assess(batch(texts), context_of(count=len(texts), **given), names=[name])
    return found.select("value", "neighbour_id").rows()


def values(name: str, texts: Sequence[str], **given: object) -> list[float | None]:
    return [value for value, _ in measured(name, texts, **given)]


# --- the registry and the frame


def test_there_is_one_row_per_new_sample_and_scorer_in_the_order_of_registry_and_plan() -> None:
    samples = batch(["one text", "two texts", "three texts"], new=[True, False, True])

    found = assess(samples, context_of(count=3), names=list(SCORERS)[::-1])

    assert found.select("name", "sample_id").rows() == [(name, sample) for name in SCORERS for sample in ("s0", "s2")]
    assert found.schema == pl.Schema(ASSESSMENT)


@pytest.mark.parametrize("name", SCORERS)
def test_an_empty_batch_gives_an_empty_frame(name: str) -> None:
    found = assess(batch([]), context_of(shots=["a shot"], protected=["a row"]), names=[name])

    assert found.shape == (0, 5)
    assert found.schema == pl.Schema(ASSESSMENT)


@pytest.mark.parametrize("name", SCORERS)
def test_a_batch_without_new_samples_gives_an_empty_frame(name: str) -> None:
    assert assess(batch(["old"], new=[False]), context_of(count=1), names=[name]).shape == (0, 5)


@pytest.mark.parametrize("name", SCORERS)
def test_hostile_texts_get_a_finite_value_or_null(name: str) -> None:
    count = len(HOSTILE)
    samples = batch(HOSTILE, labels=["a", None, "b"] * (count // 3), logprobs=[math.nan, math.inf, -1.0] * (count // 3))
    context = context_of(count=count, shots=HOSTILE, protected=HOSTILE, earlier=earlier_rows("", "很好看的电影"))

    found = assess(samples, context, names=[name])

    assert found.height == count
    assert found["value"].drop_nulls().is_finite().all()


@pytest.mark.parametrize("name", SCORERS)
def test_the_same_input_gives_the_same_frame_to_the_bit(name: str) -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(["good", "bad", "film", "plot", "cast"], 9)) for _ in range(40)]
    vectors = draw.normal(size=(40, 8)).astype(np.float32)
    context = context_of(shots=texts[:2], protected=texts[2:4], embeddings=vectors)
    samples = batch(texts, labels=["good", "bad"] * 20)

    assert assess(samples, context, names=[name]).equals(assess(samples, context, names=[name]))


def test_a_name_that_is_no_scorer_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"no scorer is called wrods[\s\S]*words, refusal"):
        assess(batch([]), context_of(), names=["wrods"])


def test_a_source_changes_with_what_the_value_depends_on_and_with_nothing_else() -> None:
    samples = batch(["a text"])

    def sources(**given: object) -> dict[str, str]:
        found = assess(samples, context_of(count=1, **given), names=SCORERS)
        return dict(found.select("name", "source_id").rows())

    plain = sources()

    assert {name for name, source in sources(language="de").items() if source != plain[name]} == {"language"}
    assert {name for name, source in sources(shots=["x"]).items() if source != plain[name]} == {"copied_shot"}
    assert sources(earlier=earlier_rows("other")) == plain
    assert plain["words"].startswith("words@2:")
    assert len(plain["words"]) == len("words@2:") + 12


def test_only_scorers_that_compare_generated_samples_read_the_batch() -> None:
    readers = {name for name, scorer in SCORERS.items() if scorer.reads_the_batch}

    assert readers == {"label_consistency", "nearest_neighbour", "exact_duplicate", "near_duplicate"}


# --- surface


def test_words_are_counted_as_a_reader_would() -> None:
    texts = ["Don't miss it!", "well-made", "很好看", "good 😀", "", "a\x00b"]

    assert values("words", texts) == [3.0, 2.0, 2.0, 2.0, 0.0, 2.0]


def test_repetition_is_the_share_of_trigrams_seen_before() -> None:
    texts = ["so good so good so good", "a b c a b c", "no word comes twice here", "ha ha ha ha ha", "two words", ""]

    assert values("repetition", texts) == pytest.approx([0.5, 0.25, 0.0, 2 / 3, 0.0, 0.0])


@pytest.mark.parametrize(
    "text",
    [
        "As an AI, I have no taste.",
        "as a large language model I do not watch films",
        "I cannot provide that.",
        "I\u2019m sorry, but I can\u2019t assist with that request.",
        "Sorry, I can't write a review about that",
        "I cannot.",
        "Here is a review",
        "Sure! Here's a short, positive film review of the acting.",
        "Certainly, here are five example sentences about the plot:",
        "Of course! I'd be happy to",
        "Great cast. I hope this helps!",
        "[Movie Title] was great",
        "<|im_start|>user",
        "Review: a fine film",
    ],
)
def test_refusals_and_the_talk_of_an_assistant_are_recognised(text: str) -> None:
    assert values("refusal", [text]) == [1.0]


@pytest.mark.parametrize(
    "text",
    [
        "I can't help but feel moved.",
        "I cannot recommend this film.",
        "I'm sorry, but this is a dreadful movie.",
        "Here is a film that knows its audience.",
        "Here's an example of what goes wrong when nobody writes the script.",
        "Sure, it had some of the makings of a good film.",
        "Scarlett Johansson as an AI is a marvel.",
        "I hope this helps nobody to see it.",
        "",
    ],
)
def test_reviewers_who_sound_a_little_like_it_are_left_alone(text: str) -> None:
    assert values("refusal", [text]) == [0.0]


def test_the_mean_logprob_is_passed_through_and_null_when_nobody_gave_one() -> None:
    samples = batch(["a", "b", "c"], logprobs=[-0.5, None, math.nan])

    assert assess(samples, context_of(count=3), names=["mean_logprob"])["value"].to_list() == [-0.5, None, None]


def test_language_is_a_probability_and_null_for_a_language_the_model_does_not_know() -> None:
    english, german = (
        "The acting is superb and the plot never drags.",
        "Die Schauspieler sind großartig und das Ende auch.",
    )

    def probable(texts: list[str], languages: list[str]) -> list[float | None]:
        frame = batch(texts, languages=languages)
        return assess(frame, context_of(count=len(texts)), names=["language"])["value"].to_list()

    assert probable([english], ["en"])[0] > 0.9
    assert probable([german], ["en"])[0] < 0.1
    assert min(probable([english, german], ["en", "de"])) > 0.9, "each is asked about its own language"
    assert probable([english], ["xx"]) == [None]


# --- personal data


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("mail a.b+c@sub.example.co.uk now", "email", "a.b+c@sub.example.co.uk"),
        ("写信给li@example.cn谢谢", "email", "li@example.cn"),
        ("john\uff20example.com", "email", "john\uff20example.com"),
        ("ftp://bob:secret@host.org/x", "url_credentials", "ftp://bob:secret@host.org"),
        ("pay DE89 3704 0044 0532 0130 00 please", "iban", "DE89 3704 0044 0532 0130 00"),
        ("请付GB82WEST12345698765432谢谢", "iban", "GB82WEST12345698765432"),
        ("card 4111 1111 1111 1111.", "credit_card", "4111 1111 1111 1111"),
        ("order 12 4111-1111-1111-1111", "credit_card", "4111-1111-1111-1111"),
        ("卡号5555555555554444号", "credit_card", "5555555555554444"),
        ("ssn 123-45-6789", "us_ssn", "123-45-6789"),
        ("at 192.168.0.1.", "ipv4", "192.168.0.1"),
        ("在10.0.0.1上", "ipv4", "10.0.0.1"),
        ("from 2001:db8::ff00:42:8329", "ipv6", "2001:db8::ff00:42:8329"),
        ("from ::ffff:192.0.2.1", "ipv6", "::ffff:192.0.2.1"),
        ("call (212) 555-0123", "phone", "(212) 555-0123"),
        ("call +49 30 901820", "phone", "+49 30 901820"),
        ("电话13812345678吧", "phone", "13812345678"),
        (FULL_WIDTH, "phone", FULL_WIDTH),
    ],
)
def test_personal_data_is_found_where_it_stands(text: str, kind: str, found: str) -> None:
    start = text.index(found)

    assert find_pii(text, regions=("US", "GB")) == [Finding(kind=kind, start=start, end=start + len(found))]


@pytest.mark.parametrize(
    "text",
    [
        "at 12:30:45 on 2024-01-31",
        "1984-1985 and 1990-2000",
        "std::cout",
        "4.5/5 from 1,234,567 votes",
        "ISBN 978-3-16-148410-0",
        "version 1.2.3",
        "I @ you",
        "card 4111 1111 1111 1112",
        "https://example.com/a?b=1",
        "000-12-3456",
        "3.14159265358979",
        "12345678901234567890123",
        "see http://x.org/@user",
    ],
)
def test_other_numbers_are_not_personal_data(text: str) -> None:
    assert find_pii(text, regions=("US", "GB")) == []


def test_pii_counts_findings_in_the_order_of_the_text() -> None:
    text = "call 212-555-0123 or write a@b.org"

    assert [finding.kind for finding in find_pii(text, regions=("US", "GB"))] == ["phone", "email"]
    assert values("pii", [text, "nothing here"]) == [2.0, 0.0]


# --- copies


SHOT = "the acting is a quiet triumph of restraint and wit"


def test_a_shot_inside_a_longer_text_is_found() -> None:
    longer = f"To begin with, I would like to say that {SHOT}, and so on, and on, and on."

    assert measured("copied_shot", [longer], shots=["other words entirely", SHOT]) == [(1.0, "shot:1")]


def test_an_edited_shot_counts_by_how_much_of_it_is_left() -> None:
    edited = "the acting is a loud triumph of restraint and wit plus a good deal more text of its own that goes on"

    (value, neighbour), *_ = measured("copied_shot", [edited], shots=[SHOT])

    assert value == 5 / 8  # of eight trigrams three held the word that changed
    assert neighbour == "shot:0"


def test_a_few_words_that_any_text_may_share_with_a_short_shot_count_by_resemblance() -> None:
    assert values("copied_shot", ["the acting is wooden"], shots=["the acting is"]) == [0.5]
    assert measured("copied_shot", ["unlike"], shots=[SHOT]) == [(0.0, None)]
    assert measured("copied_shot", ["anything"], shots=[]) == [(0.0, None)]


def test_contamination_is_resemblance_to_a_protected_row_or_one_for_eight_words_in_a_row() -> None:
    protected = ["x y z", "one two three four five six seven eight nine ten", "a b c d"]
    texts = [
        "A, b: c e",
        "zero one two three four five six seven eight and then something else",
        "one two three four five six seven",
        "new",
    ]

    found = measured("contamination", texts, protected=protected)

    assert found == [(1 / 3, "protected:2"), (1.0, "protected:1"), (5 / 8, "protected:1"), (0.0, None)]


def test_an_exact_duplicate_differs_at_most_in_layout_and_names_the_first() -> None:
    texts = ["A good film.", "a  GOOD film", "Another.", "a good film!", "accepted"]

    found = measured("exact_duplicate", texts, earlier=earlier_rows("Accepted!", "accepted"))

    assert found == [(0.0, None), (1.0, "s0"), (0.0, None), (1.0, "s0"), (1.0, "e0")]


def test_a_near_duplicate_is_measured_against_earlier_samples_only() -> None:
    texts = ["a b c d", "a b c e", "p q r s t", "a b c d e"]

    found = measured("near_duplicate", texts, earlier=earlier_rows("p q r s", "z"))

    assert found == [(0.0, None), (1 / 3, "s0"), (2 / 3, "e0"), (2 / 3, "s0")]


def test_less_than_three_tenths_in_common_is_no_near_duplicate() -> None:
    assert measured("near_duplicate", ["a b c d e f", "a b c x y z"]) == [(0.0, None), (0.0, None)]


@pytest.mark.parametrize("name", ["exact_duplicate", "near_duplicate", "nearest_neighbour"])
def test_old_samples_of_the_batch_are_compared_with_but_not_assessed(name: str) -> None:
    samples = batch(["first text here", "other", "first text here"], new=[False, False, True])
    vectors = np.eye(8, dtype=np.float32)[[0, 1, 0]]

    found = assess(samples, context_of(embeddings=vectors), names=[name])

    assert found.select("sample_id", "value", "neighbour_id").rows() == [("s2", 1.0, "s0")]


# --- meaning


def test_the_nearest_neighbour_is_the_closest_earlier_vector() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [1, 0]], dtype=np.float32)
    accepted = np.array([[-1, 0]], dtype=np.float32)
    context = context_of(embeddings=vectors, earlier=earlier_rows("x"), earlier_embeddings=accepted)

    found = assess(batch(list("abcd")), context, names=["nearest_neighbour"])

    assert found["value"].to_list() == pytest.approx([-1.0, 0.6, 0.8, 1.0])
    assert found["neighbour_id"].to_list() == ["e0", "s0", "s1", "s0"]


def test_the_first_sample_of_all_has_no_neighbour() -> None:
    assert measured("nearest_neighbour", ["alone"]) == [(None, None)]


def test_a_cosine_depends_on_the_two_vectors_alone_and_not_on_the_block_they_are_found_in() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [str(n) for n in range(300)]

    together = assess(batch(texts), context_of(embeddings=vectors), names=["nearest_neighbour"])
    last = assess(batch(texts, new=[False] * 299 + [True]), context_of(embeddings=vectors), names=["nearest_neighbour"])

    assert together[-1].equals(last)


@pytest.mark.parametrize("name", ["nearest_neighbour", "label_consistency"])
def test_embeddings_that_do_not_fit_the_samples_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="embeddings"):
        assess(batch(["a", "b"]), context_of(count=1), names=[name])


def two_clouds(count: int) -> tuple[np.ndarray, list[str]]:
    """Vectors around two far corners, and the corner's name for each."""
    corners = np.arange(count) % 2
    noise = np.random.default_rng(3).normal(scale=0.1, size=(count, 8))
    return (np.eye(8)[corners] + noise).astype(np.float32), [("good", "bad")[corner] for corner in corners]


def consistency(labels: Sequence[str | None], vectors: np.ndarray) -> list[float | None]:
    samples = batch(["t"] * len(labels), labels=labels)
    return assess(samples, context_of(embeddings=vectors), names=["label_consistency"])["value"].to_list()


def test_a_flipped_label_is_less_probable_than_every_true_one() -> None:
    vectors, labels = two_clouds(60)
    labels[7] = "good"

    found = consistency(labels, vectors)

    assert found[7] < 0.5 < min(found[:7] + found[8:])


def test_label_consistency_does_not_depend_on_the_order_of_the_samples() -> None:
    vectors, labels = two_clouds(40)
    samples = batch(["t"] * 40, labels=labels)
    order = np.random.default_rng(5).permutation(40)

    found = assess(samples, context_of(embeddings=vectors), names=["label_consistency"])
    shuffled = assess(samples[order], context_of(embeddings=vectors[order]), names=["label_consistency"])

    assert found.sort("sample_id").equals(shuffled.sort("sample_id"))


def test_a_class_that_is_too_small_takes_no_part_and_one_class_alone_says_nothing() -> None:
    vectors, labels = two_clouds(40)
    with_strays = [None, "rare", *labels[2:]]
    rare = ["bad"] * (FEWEST_PER_CLASS - 1) + ["good"] * (40 - FEWEST_PER_CLASS + 1)

    found = consistency(with_strays, vectors)

    assert found[:2] == [None, None]
    assert None not in found[2:]
    assert consistency(rare, vectors) == [None] * 40
    assert consistency(["good"] * 40, vectors) == [None] * 40


def test_label_consistency_learns_from_old_samples_and_reports_new_ones() -> None:
    vectors, labels = two_clouds(40)
    samples = batch(["t"] * 40, labels=labels, new=[False] * 39 + [True])

    found = assess(samples, context_of(embeddings=vectors), names=["label_consistency"])

    assert found["sample_id"].to_list() == ["s39"]
    assert found["value"].to_list() == consistency(labels, vectors)[39:]
