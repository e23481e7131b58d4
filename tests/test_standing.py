"""Where a batch stands, and when more of it may be paid for."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain import fingerprints
from synth_assets.domain.planning import owed
from synth_assets.domain.standing import (
    Standing,
    State,
    accepted_by_label,
    latest,
    may_open_attempt,
    missing_samples,
    standing,
)
from synth_assets.recipe import load_recipe
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Stage
from tests.fakes.recipes import write_recipe

PLAN, GENERATED, SCORED, CURATED, READY = Stage.GENERATION_PLAN, *BATCH_STAGES
MISSING, PASSED, FAILED, OUTDATED = State.MISSING, State.PASSED, State.FAILED, State.OUTDATED
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def history(*commits: tuple[Stage, str, str] | tuple[Stage, str, str, bool]) -> pl.DataFrame:
    """Return stage commits in order: stage, what it read, what it wrote, and whether it passed (yes if not said)."""
    rows = []
    for seq, (stage, read, wrote, *passed) in enumerate(commits, start=1):
        rows.append(
            {
                "dataset": "tiny",
                "partition": "2026-11-01",
                "stage": stage,
                "commit_key": f"key{seq}",
                "commit_seq": seq,
                "passed": passed[0] if passed else True,
                "input_digest": read,
                "output_digest": wrote,
                "recipe_sha256": "r",
                "recipe_object": "r",
                "run_id": "",
                "committed_at": NOON,
            }
        )
    return TABLES["stage_commits"].frame(rows)


WHOLE = ((PLAN, "r", "p"), (GENERATED, "p", "g"), (SCORED, "g", "s"), (CURATED, "s", "c"), (READY, "c", "t"))


def states(commits: pl.DataFrame) -> list[State]:
    return [standing(commits).states[stage] for stage in BATCH_STAGES]


# --- standing


def test_a_batch_nobody_began_misses_everything() -> None:
    where = standing(history())

    assert set(where.states.values()) == {MISSING}
    assert not where.is_green
    assert where.first_not_passed is GENERATED


def test_a_batch_whose_stages_all_passed_on_each_others_output_is_green() -> None:
    where = standing(history(*WHOLE))

    assert where.is_green
    assert where.first_not_passed is None
    assert all(where.has_passed(stage) for stage in BATCH_STAGES)


@pytest.mark.parametrize("finished", range(1, 5))
def test_a_stage_that_did_not_finish_yet_is_missing(finished: int) -> None:
    where = standing(history(*WHOLE[:finished]))

    assert where.first_not_passed is BATCH_STAGES[finished - 1]
    assert list(where.states.values()) == [PASSED] * (finished - 1) + [MISSING] * (5 - finished)


@pytest.mark.parametrize("red", BATCH_STAGES)
def test_one_failed_gate_makes_the_batch_red_and_shuts_what_comes_after(red: Stage) -> None:
    where = standing(history(*[(stage, read, wrote, stage != red) for stage, read, wrote in WHOLE]))

    assert not where.is_green
    assert where.first_not_passed is red
    assert where.states[red] is FAILED
    for stage in BATCH_STAGES:
        assert where.has_passed(stage) == (BATCH_STAGES.index(stage) < BATCH_STAGES.index(red))


def test_the_latest_commit_of_a_stage_counts_by_its_place_and_not_by_its_row() -> None:
    commits = history(*WHOLE, (CURATED, "s", "c", False), (CURATED, "s", "c", True))

    assert standing(commits.reverse()).is_green
    assert latest(commits.reverse())[CURATED]["commit_seq"] == 7
    assert standing(commits.filter(pl.col("commit_seq") < 7).reverse()).first_not_passed is CURATED


@pytest.mark.parametrize("again", range(5))
def test_what_reads_a_stage_that_since_wrote_something_else_is_outdated(again: int) -> None:
    stage, read, _ = WHOLE[again]

    found = states(history(*WHOLE, (stage, read, "something else")))

    expected = [PASSED] * 4
    if again < 4:
        expected[again] = OUTDATED
    assert found == expected


def test_judging_again_with_the_same_result_makes_nothing_outdated() -> None:
    assert standing(history(*WHOLE, (GENERATED, "p", "g"), (SCORED, "g", "s"))).is_green


def test_a_new_plan_outdates_the_whole_chain_step_by_step() -> None:
    planned = history(*WHOLE, (PLAN, "r", "p2"))
    generated = history(*WHOLE, (PLAN, "r", "p2"), (GENERATED, "p2", "g2"))
    scored = history(*WHOLE, (PLAN, "r", "p2"), (GENERATED, "p2", "g2"), (SCORED, "g2", "s2"))

    assert states(planned) == [OUTDATED, PASSED, PASSED, PASSED]
    assert states(generated) == [PASSED, OUTDATED, PASSED, PASSED]
    assert states(scored) == [PASSED, PASSED, OUTDATED, PASSED]
    assert not any(standing(each).is_green for each in (planned, generated, scored))


def test_an_outdated_stage_is_outdated_whether_it_passed_or_failed() -> None:
    commits = history(*WHOLE[:3], (CURATED, "s", "c", False), (SCORED, "g", "s2"))

    assert standing(commits).states[CURATED] is OUTDATED


def test_a_stage_without_a_plan_before_it_is_outdated() -> None:
    assert states(history(*WHOLE[1:]))[0] is OUTDATED


@given(st.lists(st.sampled_from(WHOLE).flatmap(lambda commit: st.sampled_from([(*commit, True), (*commit, False)]))))
def test_green_means_that_the_last_word_of_every_stage_was_yes(commits: list[tuple]) -> None:
    last = {stage: passed for stage, _, _, passed in commits}

    assert standing(history(*commits)).is_green == (PLAN in last and all(last.get(stage) for stage in BATCH_STAGES))


# --- what is missing


def decided(*rows: tuple[str, str, str | None]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return samples and decisions of (label, decision, reason)."""
    samples = [{"sample_id": f"s{n}", "label": label} for n, (label, _, _) in enumerate(rows)]
    decisions = [{"sample_id": f"s{n}", "decision": said, "reason": why} for n, (_, said, why) in enumerate(rows)]
    return TABLES["samples"].frame(samples), TABLES["decisions"].frame(decisions)


def test_surplus_is_promoted_before_anything_is_generated(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path, batch={"accept": 4})).model
    samples, decisions = decided(
        ("positive", "accepted", None),
        ("positive", "rejected", "surplus"),
        ("positive", "rejected", "surplus"),
        ("negative", "rejected", "length"),
        ("negative", "pending_review", None),
        ("negative", "accepted", None),
    )

    assert accepted_by_label(samples, decisions) == {"positive": 1, "negative": 1}
    assert missing_samples(model, samples, decisions, owed=owed(model)) == {"positive": 0, "negative": 1}


def test_a_batch_without_samples_misses_all_it_owes(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path, batch={"accept": 5})).model

    assert missing_samples(model, *decided(), owed=owed(model)) == {"positive": 3, "negative": 2}


def test_samples_nobody_has_judged_yet_count_as_the_recipe_expects_them_to_turn_out(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path, batch={"accept": 10, "overdraw": 1.5})).model
    samples, decisions = decided(*[("positive", "accepted", None)] * 4)

    missing = missing_samples(model, samples, decisions, owed=owed(model))
    undecided = missing_samples(model, samples, decisions.clear(), owed=owed(model))

    assert undecided["positive"] == missing["positive"] + 4 - 2  # of four at one in 1.5, two are expected to do
    assert undecided["negative"] == missing["negative"]


# --- opening an attempt


def batch(**changes: Any) -> dict[str, Any]:
    row = {"attempts": 1, "max_attempts": 3, "open_attempt": None, "short_accepted_by": None, "promised": 12}
    return row | changes


def where(*four: State) -> Standing:
    return Standing(dict(zip(BATCH_STAGES, four, strict=True)))


SHORT, KEPT = {"positive": 2, "negative": 0}, {"positive": 0, "negative": 0}
JUDGED_SHORT = where(PASSED, PASSED, FAILED, MISSING)


@pytest.mark.parametrize(
    ("row", "standing_", "missing", "because"),
    [
        (batch(), JUDGED_SHORT, SHORT, None),
        (batch(attempts=2), JUDGED_SHORT, SHORT, None),
        (batch(attempts=0), where(MISSING, MISSING, MISSING, MISSING), SHORT, None),
        (batch(attempts=0), where(MISSING, MISSING, MISSING, MISSING), KEPT, "the promise is kept"),
        (batch(open_attempt=1), JUDGED_SHORT, SHORT, "attempt 1 is still open"),
        (batch(open_attempt=1, attempts=3), JUDGED_SHORT, KEPT, "attempt 1 is still open"),
        (batch(), where(PASSED, PASSED, PASSED, PASSED), KEPT, "the promise is kept"),
        (batch(attempts=3), JUDGED_SHORT, SHORT, "all 3 attempts are used up"),
        (batch(attempts=4), JUDGED_SHORT, SHORT, "all 3 attempts are used up"),
        (batch(short_accepted_by="ada"), JUDGED_SHORT, SHORT, "it was accepted short"),
        (batch(short_accepted_by="ada", attempts=3), JUDGED_SHORT, SHORT, "it was accepted short"),
        (batch(), where(MISSING, MISSING, MISSING, MISSING), SHORT, "generated has not judged what is there yet"),
        (batch(), where(PASSED, MISSING, MISSING, MISSING), SHORT, "scored has not judged what is there yet"),
        (batch(), where(PASSED, PASSED, MISSING, MISSING), SHORT, "curated has not judged what is there yet"),
        (batch(), where(OUTDATED, PASSED, PASSED, PASSED), SHORT, "generated has not judged what is there yet"),
        (batch(), where(PASSED, OUTDATED, FAILED, MISSING), SHORT, "scored has not judged what is there yet"),
        (batch(), where(PASSED, PASSED, OUTDATED, PASSED), SHORT, "curated has not judged what is there yet"),
        (batch(), where(FAILED, MISSING, MISSING, MISSING), SHORT, None),
        (batch(), where(FAILED, PASSED, OUTDATED, MISSING), SHORT, None),
        (batch(), where(PASSED, FAILED, MISSING, MISSING), SHORT, None),
        (batch(), where(PASSED, PASSED, PASSED, MISSING), SHORT, None),
        (batch(), where(PASSED, PASSED, PASSED, FAILED), SHORT, None),
    ],
)
def test_an_attempt_opens_or_says_why_not(
    row: dict[str, Any], standing_: Standing, missing: dict[str, int], because: str | None
) -> None:
    assert may_open_attempt(row, standing_, missing) == because


def test_what_is_paid_is_judged_before_more_is_paid() -> None:
    """In no state of the chain does an attempt open while a judgement of what is there is due."""
    for four in itertools.product(State, repeat=4):
        if may_open_attempt(batch(), where(*four), SHORT) is None:
            judged = list(itertools.takewhile(lambda state: state is PASSED, four[:3]))
            assert len(judged) == 3 or four[len(judged)] is FAILED


def test_nothing_opens_an_attempt_of_a_batch_that_owes_nothing() -> None:
    for four in itertools.product(State, repeat=4):
        for attempts in range(4):
            assert may_open_attempt(batch(attempts=attempts), where(*four), KEPT) is not None


# --- what a stage wrote, as one hash


def assessments_of(*values: tuple[str, str, float | None, str]) -> pl.DataFrame:
    columns = ("sample_id", "name", "value", "source_id")
    return TABLES["assessments"].frame([dict(zip(columns, row, strict=True)) for row in values])


def test_a_fingerprint_knows_no_order_of_rows() -> None:
    rows = assessments_of(("a", "words", 7.0, "w@1"), ("a", "language", None, "l@1"), ("b", "words", 7.0, "w@1"))

    assert fingerprints.of_scored(rows) == fingerprints.of_scored(rows.reverse())


@pytest.mark.parametrize(
    "other",
    [("a", "words", 8.0, "w@1"), ("a", "words", None, "w@1"), ("a", "words", 7.0, "w@2"), ("b", "words", 7.0, "w@1")],
)
def test_a_fingerprint_changes_with_every_value_that_was_read(other: tuple[str, str, float | None, str]) -> None:
    assert fingerprints.of_scored(assessments_of(other)) != fingerprints.of_scored(
        assessments_of(("a", "words", 7.0, "w@1"))
    )


def test_a_decision_made_again_at_another_time_is_the_same_writing() -> None:
    row = {"sample_id": "a", "decision": "accepted", "reason": None, "quality_score": 0.5, "decided_at": NOON}
    later = row | {"decided_at": datetime(2027, 1, 1, tzinfo=UTC)}
    here, there = (TABLES["decisions"].frame([each]) for each in (row, later))

    assert fingerprints.of_curated(here) == fingerprints.of_curated(there)
    assert fingerprints.of_curated(here) != fingerprints.of_curated(
        TABLES["decisions"].frame([row | {"quality_score": 0.6}])
    )
