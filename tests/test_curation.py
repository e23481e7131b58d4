"""Curation: rules in their order, the promise in plan order, people before machines, and one decision per sample."""

import hashlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.domain.curation import REASON_OF, decide, quality_score, rules_id, split_of, training_examples
from synth_assets.domain.planning import owed
from synth_assets.recipe import RecipeModel, load_recipe
from synth_assets.recipe.model import Weight
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Assessment, Decision, RejectReason
from tests.fakes.recipes import RECIPE, write_recipe

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LABELS = ("positive", "negative")
GOOD = dict.fromkeys(Assessment, 0.0) | dict.fromkeys((Assessment.LANGUAGE, Assessment.LABEL_CONSISTENCY), 1.0)
GOOD[Assessment.WORDS] = 10.0
BAD = {
    Assessment.WORDS: 1.0,
    Assessment.REFUSAL: 1.0,
    Assessment.REPETITION: 0.9,
    Assessment.LANGUAGE: 0.1,
    Assessment.PII: 2.0,
    Assessment.COPIED_SHOT: 1.0,
    Assessment.CONTAMINATION: 1.0,
    Assessment.EXACT_DUPLICATE: 1.0,
    Assessment.NEAR_DUPLICATE: 1.0,
    Assessment.NEAREST_NEIGHBOUR: 1.0,
    Assessment.MEAN_LOGPROB: -9.0,
    Assessment.LABEL_CONSISTENCY: 0.0,
}


def rule(**bounds: float) -> dict[str, Any]:
    return {**bounds, "because": "A bound for the tests."}


ALL_RULES = {
    "label_consistency": rule(min=0.5),
    "words": rule(min=3, max=60),
    **{
        str(name): rule(max=0.5)
        for name in Assessment
        if name not in {"words", "language", "mean_logprob", "label_consistency"}
    },
    "language": rule(min=0.5),
    "mean_logprob": rule(min=-5),
}
"""A rule for every assessment, on purpose not in the order they are asked."""


def model_of(root: Path, **changes: Any) -> RecipeModel:
    return load_recipe(write_recipe(root, **changes)).model


@pytest.fixture
def model(tmp_path: Path) -> RecipeModel:
    """Owes one positive and one negative sample, and knows two rules."""
    return model_of(tmp_path, batch={"accept": 2}, rules={"words": rule(min=3), "refusal": rule(max=0)})


def batch_of(*rows: tuple[str, int, str]) -> pl.DataFrame:
    """Return samples of (name, attempt, label), ordinals counting up within an attempt."""
    seen: Counter[int] = Counter()
    made = []
    for name, attempt, label in rows:
        made.append(
            {
                "dataset": "tiny",
                "batch": "2026-11-01",
                "attempt": attempt,
                "ordinal": seen[attempt],
                "position": 0,
                "sample_id": name,
                "content_sha256": hashlib.sha256(name.encode()).hexdigest(),
                "label": label,
            }
        )
        seen[attempt] += 1
    return TABLES["samples"].frame(made)


def assessed(values: dict[str, dict[Assessment, float | None]]) -> pl.DataFrame:
    rows = [
        {"sample_id": sample, "name": str(name), "value": value}
        for sample, found in values.items()
        for name, value in found.items()
    ]
    return TABLES["assessments"].frame(rows)


def by_hand(sample: str, decision: Decision, reason: RejectReason | None = None) -> pl.DataFrame:
    row = {
        "dataset": "tiny",
        "batch": "2026-11-01",
        "sample_id": sample,
        "decision": decision,
        "reason": reason,
        "quality_score": 0.9,
        "source_type": "HUMAN",
        "source_id": "ada",
        "decided_at": datetime(2026, 11, 1, 9, tzinfo=UTC),
    }
    return TABLES["decisions"].frame([row])


NOBODY = TABLES["decisions"].frame([])


def decided(
    samples: pl.DataFrame,
    assessments: pl.DataFrame,
    model: RecipeModel,
    *,
    superseded_before: int = 0,
    human: pl.DataFrame = NOBODY,
) -> dict[str, str]:
    """Return what became of each sample, in the order of the rows: accepted, or the reason against it."""
    rows = decide(
        samples,
        assessments,
        model=model,
        superseded_before=superseded_before,
        human=human,
        at=NOON,
        owed=owed(model),
    )
    return {row["sample_id"]: row["reason"] or row["decision"] for row in rows.iter_rows(named=True)}


# --- rules


def test_every_assessment_has_its_reason_and_both_lists_have_one_order() -> None:
    assert list(REASON_OF) == list(Assessment)
    assert [reason for reason in RejectReason if reason in REASON_OF.values()] == list(REASON_OF.values())
    assert set(RejectReason) - set(REASON_OF.values()) == {RejectReason.SUPERSEDED, RejectReason.SURPLUS}


@pytest.mark.parametrize("first", range(len(REASON_OF)))
def test_of_several_broken_rules_the_first_in_order_is_the_reason(tmp_path: Path, first: int) -> None:
    names = list(REASON_OF)
    model = model_of(tmp_path, rules=ALL_RULES)
    values = GOOD | {name: BAD[name] for name in names[first:]}

    assert decided(batch_of(("a", 1, "positive")), assessed({"a": values}), model) == {"a": REASON_OF[names[first]]}


@pytest.mark.parametrize("name", REASON_OF)
def test_a_rule_the_recipe_does_not_have_rejects_nothing(tmp_path: Path, name: Assessment) -> None:
    rules = {other: bounds for other, bounds in ALL_RULES.items() if other != name}
    model = model_of(tmp_path, rules=rules)

    assert decided(batch_of(("a", 1, "positive")), assessed({"a": GOOD | {name: BAD[name]}}), model) == {
        "a": "accepted"
    }


@pytest.mark.parametrize(("words", "fate"), [(2.0, "length"), (3.0, "accepted"), (60.0, "accepted"), (61.0, "length")])
def test_a_bound_itself_is_admitted(tmp_path: Path, words: float, fate: str) -> None:
    model = model_of(tmp_path, rules={"words": rule(min=3, max=60)})

    assert decided(batch_of(("a", 1, "positive")), assessed({"a": {Assessment.WORDS: words}}), model) == {"a": fate}


def test_what_could_not_be_computed_is_no_reason(tmp_path: Path) -> None:
    model = model_of(tmp_path, rules=ALL_RULES)
    samples = batch_of(("a", 1, "positive"), ("b", 1, "positive"))

    assert decided(samples, assessed({"a": dict.fromkeys(Assessment), "b": {}}), model) == {
        "a": "accepted",
        "b": "accepted",
    }


# --- the promise


def test_what_passes_beyond_the_promise_is_surplus_in_plan_order(model: RecipeModel) -> None:
    samples = batch_of(("a", 1, "negative"), ("b", 1, "positive"), ("c", 1, "positive"), ("d", 2, "negative"))
    values = dict.fromkeys("abcd", GOOD)

    fates = decided(samples.reverse(), assessed(values), model)

    assert fates == {"a": "accepted", "b": "accepted", "c": "surplus", "d": "surplus"}
    assert list(fates) == ["a", "b", "c", "d"]


def test_a_surplus_sample_is_promoted_when_one_before_it_falls(model: RecipeModel) -> None:
    samples = batch_of(("a", 1, "positive"), ("b", 1, "positive"), ("c", 1, "positive"))
    bad = GOOD | {Assessment.REFUSAL: 1.0}

    assert decided(samples, assessed({"a": bad, "b": GOOD, "c": GOOD}), model) == {
        "a": "refusal",
        "b": "accepted",
        "c": "surplus",
    }


def test_a_label_the_recipe_no_longer_has_is_owed_nothing(model: RecipeModel) -> None:
    assert decided(batch_of(("a", 1, "neutral")), assessed({"a": GOOD}), model) == {"a": "surplus"}


def test_samples_of_attempts_before_are_superseded_whatever_they_are_worth(model: RecipeModel) -> None:
    samples = batch_of(("a", 1, "positive"), ("b", 2, "positive"), ("c", 3, "positive"))
    values = {"a": GOOD, "b": GOOD | {Assessment.REFUSAL: 1.0}, "c": GOOD}

    assert decided(samples, assessed(values), model, superseded_before=3) == {
        "a": "superseded",
        "b": "superseded",
        "c": "accepted",
    }


# --- people


def test_a_persons_decision_stands_against_rules_and_regeneration(model: RecipeModel) -> None:
    samples = batch_of(("a", 1, "positive"), ("b", 2, "negative"))
    values = assessed({"a": GOOD | {Assessment.REFUSAL: 1.0}, "b": GOOD})
    human = pl.concat([by_hand("a", Decision.ACCEPTED), by_hand("b", Decision.REJECTED, RejectReason.LENGTH)])

    rows = decide(samples, values, model=model, superseded_before=2, human=human, at=NOON, owed=owed(model))

    assert rows.equals(human)


def test_what_a_person_accepted_counts_first_wherever_it_stands_in_the_plan(model: RecipeModel) -> None:
    samples = batch_of(("a", 1, "positive"), ("b", 1, "positive"), ("c", 1, "negative"))
    values = assessed(dict.fromkeys("abc", GOOD))

    fates = decided(samples, values, model, human=by_hand("b", Decision.ACCEPTED))

    assert fates == {"a": "surplus", "b": "accepted", "c": "accepted"}


@pytest.mark.parametrize(
    ("decision", "reason"), [(Decision.REJECTED, RejectReason.LENGTH), (Decision.PENDING_REVIEW, None)]
)
def test_what_a_person_did_not_accept_leaves_its_place_to_the_next(
    model: RecipeModel, decision: Decision, reason: RejectReason | None
) -> None:
    samples = batch_of(("a", 1, "positive"), ("b", 1, "positive"))

    fates = decided(samples, assessed({"a": GOOD, "b": GOOD}), model, human=by_hand("a", decision, reason))

    assert fates == {"a": reason or decision, "b": "accepted"}


def test_a_persons_decision_about_another_batch_changes_nothing(model: RecipeModel) -> None:
    samples = batch_of(("a", 1, "positive"))

    assert decided(samples, assessed({"a": GOOD}), model, human=by_hand("z", Decision.ACCEPTED)) == {"a": "accepted"}


# --- the second sum

FATES = st.tuples(
    st.sampled_from(LABELS),
    st.integers(1, 3),
    st.fixed_dictionaries(
        {Assessment.WORDS: st.sampled_from([None, 1.0, 9.0]), Assessment.REFUSAL: st.sampled_from([None, 0.0, 1.0])}
    ),
    st.sampled_from([None, None, *Decision]),
)


@given(fates=st.lists(FATES, max_size=12), superseded_before=st.integers(0, 3), accept=st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_samples_are_accepted_and_rejected_and_pending_one_by_one(
    fates: list[tuple], superseded_before: int, accept: int
) -> None:
    changes = {"batch": RECIPE["batch"] | {"accept": accept}, "rules": {"words": rule(min=3), "refusal": rule(max=0)}}
    model = RecipeModel.model_validate(RECIPE | changes)
    samples = batch_of(*[(f"s{n}", attempt, label) for n, (label, attempt, _, _) in enumerate(fates)])
    values = assessed({f"s{n}": found for n, (_, _, found, _) in enumerate(fates)})
    people = {
        f"s{n}": by_hand(f"s{n}", person, RejectReason.LENGTH if person == Decision.REJECTED else None)
        for n, (*_, person) in enumerate(fates)
        if person
    }
    human = pl.concat([NOBODY, *people.values()])

    rows = decide(
        samples,
        values,
        model=model,
        superseded_before=superseded_before,
        human=human,
        at=NOON,
        owed=owed(model),
    )

    TABLES["decisions"].schema.validate(rows)
    assert sorted(rows["sample_id"]) == sorted(samples["sample_id"])
    assert rows.filter(pl.col("reason").is_null() == (pl.col("decision") == "rejected")).is_empty()
    machine = rows.filter(pl.col("source_type") == "CODE").join(samples.select("sample_id", "label"), on="sample_id")
    assert set(machine["source_id"]) <= {rules_id(model)}
    for label, due in {"positive": (accept + 1) // 2, "negative": accept // 2}.items():
        mine = machine.filter(pl.col("label") == label)
        taken = sum(1 for n, (named, *_, person) in enumerate(fates) if named == label and person == "accepted")
        kept = mine.filter(pl.col("decision") == "accepted").height
        passed = kept + mine.filter(pl.col("reason") == "surplus").height
        assert kept == min(passed, max(0, due - taken))


# --- quality


def test_quality_is_the_weighted_mean_of_normalised_values() -> None:
    weights = {
        Assessment.LABEL_CONSISTENCY: Weight(weight=2, worst=0.5, best=1.0),
        Assessment.REPETITION: Weight(weight=1, worst=0.2, best=0.0),
    }
    values = pl.DataFrame(
        {
            "label_consistency": [0.75, 0.9, 1.2, 0.1, None, None],
            "repetition": [0.1, 0.0, 0.0, 0.9, 0.05, None],
        },
        schema={"label_consistency": pl.Float64, "repetition": pl.Float64},
    )

    scores = quality_score(values, weights)

    # (2 x 0.5 + 1 x 0.5) / 3; (2 x 0.8 + 1) / 3; clipped to 1; clipped to 0; the one there is; nothing to go by
    assert scores.to_list() == pytest.approx([0.5, 2.6 / 3, 1.0, 0.0, 0.75, None], nan_ok=False)


@given(st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=6), st.floats(0.1, 5), st.floats(-1, 1))
def test_quality_lies_between_0_and_1(values: list[float | None], weight: float, worst: float) -> None:
    frame = pl.DataFrame({"repetition": values}, schema={"repetition": pl.Float64})

    scores = quality_score(frame, {Assessment.REPETITION: Weight(weight=weight, worst=worst, best=worst + 1)})

    assert [score is None for score in scores] == [value is None for value in values]
    assert all(0 <= score <= 1 for score in scores if score is not None)


def test_another_rule_is_another_source_but_another_license_is_not(tmp_path: Path) -> None:
    here = rules_id(model_of(tmp_path))

    assert here == rules_id(model_of(tmp_path, license="mit"))
    assert here != rules_id(model_of(tmp_path, rules={"words": rule(min=4)}))
    assert here != rules_id(model_of(tmp_path, batch={"accept": 11}))


# --- splits


def test_splits_follow_their_shares_and_the_content_alone() -> None:
    shares = {"train": 0.8, "validation": 0.15, "test": 0.05}
    hashes = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(20_000)]

    counts = Counter(split_of(sha, shares) for sha in hashes)

    for name, share in shares.items():
        spread = (share * (1 - share) / len(hashes)) ** 0.5
        assert abs(counts[name] / len(hashes) - share) < 4 * spread


@pytest.mark.parametrize(
    ("start", "split"),
    [("00", "train"), ("7f", "train"), ("80", "validation"), ("bf", "validation"), ("c0", "test"), ("ff", "test")],
)
def test_a_split_is_the_place_of_the_hash_among_the_shares(start: str, split: str) -> None:
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    turned = dict(reversed(shares.items()))

    assert split_of(start * 32, shares) == split_of(start * 32, turned) == split


@pytest.mark.parametrize("only", ["train", "validation", "test"])
def test_a_share_of_one_takes_all_and_a_share_of_none_takes_nothing(only: str) -> None:
    shares = dict.fromkeys(("train", "validation", "test"), 0.0) | {only: 1.0}

    assert {split_of(start * 32, shares) for start in ("00", "7f", "ff")} == {only}


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.floats(0, 1), st.floats(0, 1))
def test_what_trains_goes_on_training_when_its_share_grows(sha: str, left: float, right: float) -> None:
    low, high = sorted([left, right])
    if split_of(sha, {"train": low, "test": 1 - low}) == "train":
        assert split_of(sha, {"train": high, "test": 1 - high}) == "train"


def test_training_examples_are_the_accepted_samples_in_plan_order(model: RecipeModel) -> None:
    samples = batch_of(("z", 1, "positive"), ("a", 1, "positive"), ("m", 1, "negative"))
    decisions = decide(
        samples,
        assessed(dict.fromkeys("zam", GOOD)),
        model=model,
        superseded_before=0,
        human=NOBODY,
        at=NOON,
        owed=owed(model),
    )

    examples = training_examples(samples.reverse(), decisions.reverse(), shares={"train": 1.0})

    TABLES["training_examples"].schema.validate(examples)
    assert examples["sample_id"].to_list() == ["z", "m"]
    assert examples["split"].to_list() == ["train", "train"]
    assert examples["quality_score"].to_list() == [1.0, 1.0]  # nothing repeated, nothing resembled
