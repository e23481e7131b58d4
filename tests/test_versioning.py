"""Versions as intervals: what was added, removed and came back, against sets that are kept in full."""

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.domain import ids
from synth_assets.domain.versioning import MEMBER, advanced, cut, digest_of, members_of
from synth_assets.tables import TABLES

Member = tuple[str, str, str, str]
"""sample_id, content_sha256, split, batch."""

NOTHING = TABLES["version_members"].frame([])


def examples(*rows: Member) -> pl.DataFrame:
    return TABLES["training_examples"].frame(
        [dict(zip(MEMBER, row, strict=True)) | {"dataset": "tiny"} for row in rows]
    )


def released(intervals: pl.DataFrame, *rows: Member, head: int) -> pl.DataFrame:
    """Return the intervals after the version that follows ``head``."""
    change = cut(examples(*rows), intervals, head=head)
    return advanced(intervals, change, dataset="tiny", version=head + 1, cause="release")


def names(members: pl.DataFrame) -> list[str]:
    return members["sample_id"].to_list()


A, B, C = ("a", "1", "train", "day1"), ("b", "2", "train", "day1"), ("c", "3", "test", "day2")


# --- by hand


def test_nothing_is_in_a_version_that_was_never_cut() -> None:
    assert members_of(NOTHING, 0).is_empty()
    assert members_of(NOTHING, 5).columns == MEMBER


def test_a_sample_is_added_removed_and_comes_back_as_another_interval() -> None:
    one = released(NOTHING, A, B, head=0)
    two = released(one, B, head=1)
    three = released(two, A, B, C, head=2)

    assert [names(members_of(three, version)) for version in range(5)] == [
        [],
        ["a", "b"],
        ["b"],
        ["a", "b", "c"],
        ["a", "b", "c"],
    ]
    rows = three.select("sample_id", "added_in", "removed_in", "cause").sort("sample_id", "added_in").rows()
    assert rows == [("a", 1, 2, "release"), ("a", 3, None, None), ("b", 1, None, None), ("c", 3, None, None)]


def test_versions_already_cut_do_not_change() -> None:
    one = released(NOTHING, A, B, head=0)
    before = digest_of(members_of(one, 1))

    assert digest_of(members_of(released(one, C, head=1), 1)) == before


def test_a_cut_says_what_came_and_went() -> None:
    one = released(NOTHING, A, B, head=0)

    change = cut(examples(B, C), one, head=1)

    assert (names(change.members), names(change.added), names(change.removed)) == (["b", "c"], ["c"], ["a"])
    assert not change.is_empty
    assert cut(examples(B, A), one, head=1).is_empty


def test_a_sample_that_changed_its_split_leaves_and_comes_in_one_version() -> None:
    one = released(NOTHING, A, head=0)
    moved = ("a", "1", "test", "day1")

    two = released(one, moved, head=1)

    assert members_of(two, 1).rows() == [A]
    assert members_of(two, 2).rows() == [moved]


def test_of_the_same_content_the_first_batch_enters_and_the_other_is_left_out_in_the_open() -> None:
    later, earlier = ("a", "1", "train", "day2"), ("z", "1", "train", "day1")

    change = cut(examples(later, B, earlier), NOTHING, head=0)

    assert names(change.members) == ["b", "z"]
    assert names(change.left_out) == ["a"]


def test_the_causes_of_what_left_before_are_kept() -> None:
    one = released(NOTHING, A, B, head=0)
    change = cut(examples(B), one, head=1)

    two = advanced(one, change, dataset="tiny", version=2, cause="disable")
    three = released(two, head=2)

    assert dict(three.select("sample_id", "cause").iter_rows()) == {"a": "disable", "b": "release"}
    TABLES["version_members"].schema.validate(three)


def test_a_digest_is_of_samples_contents_and_splits_and_knows_no_order() -> None:
    whole = examples(A, B, C)

    assert (
        digest_of(whole)
        == digest_of(whole.reverse())
        == ids.digest([["a", "1", "train"], ["b", "2", "train"], ["c", "3", "test"]])
    )
    assert digest_of(whole) == digest_of(examples(A, B, ("c", "3", "test", "another batch")))
    for other in (("c", "4", "test", "day2"), ("c", "3", "train", "day2"), ("d", "3", "test", "day2")):
        assert digest_of(examples(A, B, other)) != digest_of(whole)
    assert digest_of(examples(A, B)) != digest_of(whole)


# --- against the obvious implementation

POOL = [(f"s{n}", f"content{n % 9}", "train" if n % 2 else "test", f"day{n % 3}") for n in range(12)]
HISTORIES = st.lists(st.sets(st.sampled_from(POOL)), max_size=7)


def chosen(rows: set[Member]) -> set[Member]:
    """Of the same content the first by batch and sample_id."""
    kept: dict[str, Member] = {}
    for row in sorted(rows, key=lambda row: (row[3], row[0])):
        kept.setdefault(row[1], row)
    return set(kept.values())


@given(HISTORIES, st.randoms())
@settings(max_examples=40, deadline=None)
def test_every_version_holds_what_was_green_when_it_was_cut(history: list[set[Member]], dice: random.Random) -> None:
    intervals = NOTHING
    versions: list[set[Member]] = [set()]
    for rows in history:
        mixed = sorted(rows)
        dice.shuffle(mixed)
        change = cut(examples(*mixed), intervals, head=len(versions) - 1)
        assert set(change.added.rows()) == chosen(rows) - versions[-1]
        assert set(change.removed.rows()) == versions[-1] - chosen(rows)
        assert set(change.left_out.rows()) == rows - chosen(rows)
        assert change.is_empty == (chosen(rows) == versions[-1])
        intervals = advanced(intervals, change, dataset="tiny", version=len(versions), cause="release")
        versions.append(chosen(rows))

    intervals = intervals.sample(fraction=1.0, shuffle=True, seed=dice.randrange(2**31))
    for number, members in enumerate(versions):
        found = members_of(intervals, number)
        assert found.rows() == sorted(members)
        assert digest_of(found) == ids.digest(sorted([list(row[:3]) for row in members]))
    key = list(TABLES["version_members"].key)
    assert intervals.select(key).is_duplicated().sum() == 0
    TABLES["version_members"].schema.validate(intervals)
