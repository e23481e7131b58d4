"""Labels over the history of a dataset: every one gets its share, however small, and nobody's numbers move."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.lake import open_lake
from synth_assets.checks.promises import Promise, promise_of, short
from synth_assets.domain.apportion import apportion
from synth_assets.domain.owing import given_back, next_owed, undelivered
from synth_assets.domain.transactions import Commit
from synth_assets.errors import RefusedError
from synth_assets.recipe import load_recipe
from tests.fakes.recipes import RECIPE, write_recipe
from tests.fakes.world import World

SHARES = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 1.0]), min_size=1)


@given(SHARES, st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_after_any_promises_every_label_had_its_share_to_within_one_sample(
    shares: dict[str, float], promises: list[int]
) -> None:
    due: dict[str, float] = {}
    had = dict.fromkeys(shares, 0)
    for promise in promises:
        owed = next_owed(promise, shares, due)
        assert sum(owed.numbers.values()) == promise
        assert min(owed.numbers.values()) >= 0
        due = dict(owed.due)
        had = {label: had[label] + count for label, count in owed.numbers.items()}
    for label, share in shares.items():
        fair = sum(promises) * share / sum(shares.values())
        assert abs(fair - had[label]) < len(shares), label
        assert abs(fair - had[label] - due[label]) < 1e-6, label


@given(SHARES, st.integers(0, 40))
def test_the_first_batch_owes_what_the_shares_alone_say(shares: dict[str, float], promise: int) -> None:
    assert next_owed(promise, shares, {}).numbers == apportion(promise, shares)


def test_twenty_labels_of_five_in_a_hundred_take_turns_in_batches_of_ten() -> None:
    shares = {f"l{n:02}": 0.05 for n in range(20)}
    due: dict[str, float] = {}
    days = []
    for _ in range(4):
        owed = next_owed(10, shares, due)
        due = dict(owed.due)
        days.append([label for label, count in owed.numbers.items() if count])

    assert days[0] == days[2] == list(shares)[:10]
    assert days[1] == days[3] == list(shares)[10:]


def test_a_promise_given_back_leaves_everybody_as_before() -> None:
    shares, before = {"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 0.25, "b": -0.5, "c": 0.25}
    owed = next_owed(7, shares, before)

    assert given_back(owed.due, owed.numbers, shares) == before


def test_what_a_short_batch_did_not_deliver_comes_first_next_time() -> None:
    shares = {"a": 0.5, "b": 0.5}
    first = next_owed(10, shares, {})
    due = undelivered(first.due, first.numbers, {"a": 9, "b": 1})

    assert due == {"a": 0.0, "b": 4.0}
    assert next_owed(10, shares, due).numbers == {"a": 3, "b": 7}


def test_an_excess_that_nobody_can_owe_is_shared_by_all() -> None:
    owed = next_owed(4, {"a": 0.5, "b": 0.5}, {"a": -50.0, "b": 0.0, "former": 3.0})

    assert owed.numbers == {"a": 0, "b": 4}
    assert owed.due["former"] == 3.0


def test_two_batches_that_plan_at_once_cannot_take_the_same_numbers(home: Path, tmp_path: Path) -> None:
    lake = open_lake(home, {})
    model = load_recipe(write_recipe(tmp_path, batch={"accept": 3})).model

    def take(batch: str, promise: Promise) -> None:
        changes, swaps = promise.changes, promise.swaps
        lake.commit(Commit("tiny", batch, "plan", "", {}, changes=changes, swaps=swaps))

    lake.commit(Commit("tiny", "claim", "claim", "", {}))
    for first, second in (("b1", "b2"), ("b3", "b4")):
        stale = [promise_of(lake, model, batch) for batch in (first, second)]
        take(first, stale[0])
        with pytest.raises(RefusedError, match="another batch of the dataset"):
            take(second, stale[1])
        take(second, promise_of(lake, model, second))

    rows = lake.read("batch_labels", dataset="tiny")
    due = lake.read("label_balances", dataset="tiny")
    lake.close()
    assert rows.group_by("label").agg(pl.col("owed").sum())["owed"].to_list() == [6, 6]
    assert due["due"].to_list() == [0.0, 0.0]


LABELS = {name: {"share": 0.25} for name in ("positive", "negative", "mixed", "none")}
TWO_OF_FOUR = {
    "labels": LABELS,
    "batch": RECIPE["batch"] | {"accept": 2},
    "seeds": {"words": {"file": "seeds/words.jsonl", "per_request": 2}},
    "openings": [{"text": "The {{ part }}"}],
    "real_data": None,
}


def owed_by(world: World, batch: str) -> dict[str, int]:
    rows = world.rows("batch_labels").filter(pl.col("batch") == batch)
    return dict(rows.select("label", "owed").iter_rows())


def test_batches_take_turns_and_keep_their_numbers_through_regeneration(tmp_path: Path) -> None:
    world = World(tmp_path, **TWO_OF_FOUR)
    for day in ("2026-11-01", "2026-11-02"):
        assert world.run("prompt_templates", "seeds", "generation_plan", batch=day).success

    first = {"positive": 1, "negative": 1, "mixed": 0, "none": 0}
    assert owed_by(world, "2026-11-01") == first
    assert owed_by(world, "2026-11-02") == {"positive": 0, "negative": 0, "mixed": 1, "none": 1}
    assert set(world.rows("requests").filter(pl.col("batch") == "2026-11-02")["label"]) == {"mixed", "none"}
    assert world.rows("label_balances")["due"].to_list() == [0.0] * 4
    assert world.run("generation_plan", batch="2026-11-03").success

    assert world.run("generated", "scored", "curated").started
    assert world.run("generation_plan", regenerate=True).success
    assert owed_by(world, "2026-11-01") == first
    again = world.rows("requests").filter((pl.col("batch") == "2026-11-01") & (pl.col("attempt") == 2))
    assert set(again["label"]) == {"positive", "negative"}


def test_accepting_a_batch_short_puts_back_what_it_did_not_deliver(tmp_path: Path) -> None:
    world = World(tmp_path, **TWO_OF_FOUR)
    assert world.run("prompt_templates", "seeds", "generation_plan").success
    due = dict(world.rows("label_balances").select("label", "due").iter_rows())

    swaps = short(world.lake, world.recipe.model, "2026-11-01", {"positive": 1})

    assert [(swap.where["label"], swap.expect["due"], swap.set["due"]) for swap in swaps] == [
        ("negative", due["negative"], due["negative"] + 1)
    ]


def test_another_promise_takes_other_numbers_and_gives_the_first_back(tmp_path: Path) -> None:
    world = World(tmp_path, **TWO_OF_FOUR)
    told = world.run("prompt_templates", "seeds", "generation_plan")
    assert told.success, told.told
    assert world.run("generation_plan", accept=3).success

    assert sum(owed_by(world, "2026-11-01").values()) == 3
    assert sum(world.rows("label_balances")["due"]) == 0.0
    assert sorted(world.rows("label_balances")["due"]) == [-0.25, -0.25, -0.25, 0.75]


def test_a_batch_of_an_earlier_time_owes_what_its_shares_say(tmp_path: Path) -> None:
    world = World(tmp_path, **TWO_OF_FOUR)
    assert world.run("prompt_templates", "seeds", "generation_plan").success
    chain = world.lake.chain("tiny")  # as if no entry had ever bound them
    for table in ("batch_labels", "label_balances"):
        world.lake._tables[table] = world.lake._tables[table].clear()
        chain.rows.pop(table, None)
        chain.state.pop(table, None)

    assert world.run("generated", "scored", "curated").materialized
    assert world.rows("batch_labels").is_empty()
    assert short(world.lake, world.recipe.model, "2026-11-01", {}) == []
