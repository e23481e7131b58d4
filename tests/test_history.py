"""The revisions of a batch: what raises the number, what does not, and why it was raised."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.canonical import stored_json
from synth_assets.domain.history import CHAIN, Revision, revisions
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Stage

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLAN, GENERATED, SCORED, CURATED, READY = CHAIN
Commit = dict[str, Any]


def commit(
    stage: Stage, wrote: str, *, red: Sequence[str] = (), passed: bool = True, recipe: str = "first", **promise: Any
) -> Commit:
    """A stage that finished, with the gates that were red and what `minimum_count` counted."""
    return {
        "stage": str(stage),
        "output_digest": wrote,
        "passed": passed and not red,
        "recipe_sha256": recipe,
        "red": red,
        "promise": {"accepted": 12, "promised": 12, "accepted_short": False} | promise,
    }


def chain(*wrote: str, first: Stage = PLAN, **last: Any) -> list[Commit]:
    """Stages from the first one on, one for each output; ``last`` is what the last one said."""
    stages = CHAIN[CHAIN.index(first) :][: len(wrote)]
    recipe = {"recipe": last["recipe"]} if "recipe" in last else {}
    return [
        commit(stage, each, **(last if place == len(wrote) - 1 else recipe))
        for place, (stage, each) in enumerate(zip(stages, wrote, strict=True))
    ]


GREEN = chain("p1", "g1", "s1", "c1", "t1")
AGAIN = chain("g1", "s1", "c1", "t1", first=GENERATED)


def history(*commits: Commit, is_ingested: bool = False) -> list[Revision]:
    rows, verdicts = [], []
    for place, each in enumerate(commits, start=1):
        here = {"dataset": "tiny", "partition": "2026-11-01", "stage": each["stage"], "commit_key": f"key {place}"}
        row = {name: each[name] for name in ("output_digest", "passed", "recipe_sha256")}
        row |= {"commit_seq": place, "input_digest": "", "recipe_object": "", "run_id": f"run {place}"}
        rows.append(here | row | {"committed_at": NOON + timedelta(minutes=place)})
        said = [("minimum_count", each["promise"])] if each["stage"] == CURATED else []
        said += [(gate, each["promise"]) for gate in each["red"] if (gate, each["promise"]) not in said]
        verdicts += [
            here
            | {"gate": gate, "passed": gate not in each["red"], "is_blocking": True}
            | {"facts": stored_json(facts), "judged_at": NOON}
            for gate, facts in said
        ]
    return revisions(TABLES["stage_commits"].frame(rows), TABLES["verdicts"].frame(verdicts), is_ingested=is_ingested)


def told(found: list[Revision]) -> list[tuple[int, tuple[str, ...], str, int | None]]:
    return [(each.number, each.causes, each.state, each.accepted) for each in found]


def test_a_batch_nothing_was_done_for_has_no_revision() -> None:
    assert history() == []


def test_the_first_chain_is_the_first_revision_and_ends_with_its_last_stage() -> None:
    (only,) = history(*GREEN)

    assert told([only]) == [(1, ("attempt 1 opened",), "green", 12)]
    assert (only.run_id, only.at, only.output_digest) == ("run 5", NOON + timedelta(minutes=5), "t1")


def test_looking_again_is_no_revision() -> None:
    assert history(*GREEN, *AGAIN, *AGAIN) == history(*GREEN)


def test_judging_by_another_recipe_with_the_same_result_is_no_revision() -> None:
    assert history(*GREEN, *chain("g1", "s1", "c1", "t1", first=GENERATED, recipe="second")) == history(*GREEN)


def test_judging_by_another_recipe_with_another_result_is_a_revision() -> None:
    stricter = chain("g1", "s1", "c2", first=GENERATED, recipe="second", red=["minimum_count"], accepted=7)

    assert told(history(*GREEN, *stricter)) == [
        (1, ("attempt 1 opened",), "green", 12),
        (2, ("judged again under another recipe",), "red at curated: minimum_count", 7),
    ]


def test_another_verdict_on_the_same_samples_is_a_revision() -> None:
    drifted = chain("g1", "s1", "c1", first=GENERATED, red=["drift"])

    assert told(history(*GREEN, *drifted))[1] == (2, ("judged again",), "red at curated: drift", 12)


def test_a_result_that_comes_back_is_another_revision() -> None:
    drifted = chain("g1", "s1", "c1", first=GENERATED, red=["drift"])

    assert [each.state for each in history(*GREEN, *drifted, *AGAIN)] == ["green", "red at curated: drift", "green"]


def test_a_top_up_names_the_attempt_it_opened() -> None:
    short = chain("p1", "g1", "s1", "c1", red=["minimum_count"], accepted=9)

    assert told(history(*short, *chain("p2", "g2", "s2", "c2", "t2"))) == [
        (1, ("attempt 1 opened",), "red at curated: minimum_count", 9),
        (2, ("attempt 2 opened",), "green", 12),
    ]


def test_an_attempt_that_was_stopped_goes_on_in_the_next_revision() -> None:
    stopped = chain("p1", "g1", passed=False)

    assert told(history(*stopped, *stopped[1:], *chain("g2", "s2", "c2", "t2", first=GENERATED))) == [
        (1, ("attempt 1 opened",), "stopped at generated", None),
        (2, ("attempt 1 went on",), "green", 12),
    ]


def test_a_batch_accepted_short_says_so() -> None:
    short = chain("p1", "g1", "s1", "c1", red=["minimum_count"], accepted=9)
    lifted = commit(CURATED, "c1", accepted=9, accepted_short=True)

    found = history(*short, *AGAIN[:2], lifted, commit(READY, "t1"))

    assert told(found)[1] == (2, ("accepted short",), "green", 9)


def test_another_promise_is_a_cause() -> None:
    fewer = commit(CURATED, "c2", accepted=6, promised=6)

    assert told(history(*GREEN, *AGAIN[:2], fewer, commit(READY, "t2")))[1] == (2, ("promise of 6",), "green", 6)


def test_ingested_samples_are_named_as_such() -> None:
    assert told(history(*GREEN, is_ingested=True)) == [(1, ("samples ingested",), "green", 12)]


def test_a_crash_between_two_stages_leaves_no_revision_of_its_own() -> None:
    crashed = GREEN[:3]

    assert told(history(*crashed)) == [(1, ("attempt 1 opened",), "unfinished after scored", None)]
    assert told(history(*crashed, *AGAIN)) == told(history(*GREEN))


def test_what_was_decided_on_other_samples_is_not_counted() -> None:
    topped_up = chain("p2", "g2", red=["answered_share"])

    assert told(history(*GREEN, *topped_up))[1] == (2, ("attempt 2 opened",), "red at generated: answered_share", None)


def test_a_gate_that_does_not_block_makes_no_revision_red() -> None:
    row = {"commit_key": "key 4", "gate": "hint", "passed": False, "is_blocking": False, "facts": "{}"}
    hint = TABLES["verdicts"].frame([row])
    commits = [{**each, "commit_key": f"key {place}"} for place, each in enumerate(GREEN)]
    rows = [{name: each[name] for name in each.keys() & TABLES["stage_commits"].dtypes.keys()} for each in commits]
    frame = TABLES["stage_commits"].frame(rows).with_columns(pl.int_range(pl.len()).alias("commit_seq"))

    (found,) = revisions(frame, hint, is_ingested=False)

    assert (found.state, found.failed_gates) == ("green", ())


@st.composite
def pasts(draw: st.DrawFn) -> list[Commit]:
    """Stages in any order with few outputs and verdicts, so that they often repeat."""
    stages = draw(st.lists(st.sampled_from(CHAIN), min_size=1, max_size=12))
    return [
        commit(
            stage,
            draw(st.sampled_from(["a", "b"])),
            red=draw(st.sampled_from([(), (), ("drift",)])),
            recipe=draw(st.sampled_from(["first", "second"])),
        )
        for stage in stages
    ]


@settings(deadline=None)
@given(pasts())
def test_the_number_never_falls_and_what_is_past_stays(past: list[Commit]) -> None:
    seen = [history(*past[:length]) for length in range(1, len(past) + 1)]

    for before, after in pairwise(seen):
        assert 0 <= len(after) - len(before) <= 1
        assert after[: len(before) - 1] == before[:-1]
    assert [each.number for each in seen[-1]] == list(range(1, len(seen[-1]) + 1))


@settings(deadline=None)
@given(pasts(), st.integers(1, 3))
def test_a_green_chain_can_be_looked_at_any_number_of_times(past: list[Commit], times: int) -> None:
    once = history(*past, *AGAIN)

    assert history(*past, *AGAIN, *AGAIN * times) == once
