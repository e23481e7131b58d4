"""Rotation: requests move towards the prompts whose accepted samples cost less, and every prompt keeps its floor."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.domain import ids
from synth_assets.domain.apportion import apportion, apportion_rows
from synth_assets.domain.past import NOTHING, Past
from synth_assets.domain.planning import plan_attempt
from synth_assets.domain.ports import Routing
from synth_assets.domain.rotation import Allocation, Record, allocate, records
from synth_assets.errors import UsageError
from synth_assets.recipe import RecipeModel, load_recipe
from synth_assets.recipe.rotation import AdaptiveRotation, WeightsRotation
from synth_assets.reports.forecast import forecast
from synth_assets.tables import TABLES
from tests.fakes.generator import NOON
from tests.fakes.recipes import COMPLETIONS, FILES, write_recipe
from tests.fakes.world import DAY, NEXT_DAY, World

ALONE = Routing.to(COMPLETIONS)
ADAPTIVE = AdaptiveRotation()
EVENLY = {"one": 1.0, "two": 1.0}
AGAIN = FILES["prompts/lines.md"].replace("name: lines", "name: again")
TWO = [{"name": "lines"}, {"name": "again"}, {"name": "talk"}]


def record(requests: int, accepted: float, *, tokens: int | None = 100, usd: float | None = None) -> Record:
    """A record of requests that were all answered, for so many tokens and so much money each."""
    return Record(
        requests,
        accepted,
        requests,
        None if tokens is None else requests * tokens,
        None if usd is None else requests * usd,
    )


def shares(allocations: dict[str, Allocation]) -> dict[str, float]:
    return {name: each.share for name, each in allocations.items()}


# --- what one allocation says


def test_with_weights_nothing_that_happened_counts() -> None:
    allocations = allocate(WeightsRotation(), {"one": 3.0, "two": 1.0}, {"two": record(100, 100)})

    assert shares(allocations) == {"one": 0.75, "two": 0.25}
    assert {each.record for each in allocations.values()} == {None}


def test_while_nothing_is_known_the_weights_decide() -> None:
    allocations = allocate(ADAPTIVE, {"one": 3.0, "two": 1.0}, {})

    assert shares(allocations) == {"one": 0.75, "two": 0.25}
    assert allocations["two"].reason == "never tried: it counts as average"


def test_twice_as_good_is_four_times_the_requests_once_there_are_many() -> None:
    allocations = allocate(ADAPTIVE, EVENLY, {"one": record(10_000, 8_000), "two": record(10_000, 4_000)})

    assert shares(allocations)["one"] == pytest.approx(0.8, abs=0.002)


def test_few_requests_move_little() -> None:
    few = allocate(ADAPTIVE, EVENLY, {"one": record(2, 2), "two": record(2, 0)})
    many = allocate(ADAPTIVE, EVENLY, {"one": record(200, 200), "two": record(200, 0)})

    assert 0.5 < shares(few)["one"] < 0.7
    assert shares(many) == {"one": 0.9, "two": 0.1}
    assert many["two"].reason.endswith("; kept at the floor of 0.1")


def test_half_the_price_is_as_good_as_twice_the_yield() -> None:
    cheap = allocate(ADAPTIVE, EVENLY, {"one": record(5_000, 2_500, tokens=50), "two": record(5_000, 2_500)})
    dear = allocate(ADAPTIVE, EVENLY, {"one": record(5_000, 5_000), "two": record(5_000, 2_500)})

    assert shares(cheap)["one"] == pytest.approx(shares(dear)["one"], abs=0.01) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("one", "two", "unit", "per_accepted"),
    [
        ({"usd": 0.01}, {"usd": 0.02}, "USD", 0.02),
        ({"usd": 0.01}, {"usd": None}, "tokens", 200),
        ({"usd": 0.0}, {"usd": 0.0}, "tokens", 200),
        ({"tokens": None}, {}, "requests", 2),
    ],
)
def test_cost_is_told_in_the_first_unit_in_which_all_is_known(
    one: dict[str, Any], two: dict[str, Any], unit: str, per_accepted: float
) -> None:
    allocations = allocate(ADAPTIVE, EVENLY, {"one": record(40, 20, **one), "two": record(40, 20, **two)})

    assert allocations["one"].cost_unit == allocations["two"].cost_unit == unit
    assert allocations["one"].cost_per_accepted == per_accepted
    assert f"20 of 40 requests accepted, {per_accepted:g} {unit} per accepted sample" in allocations["one"].reason


def test_a_prompt_that_is_never_answered_is_not_taken_for_cheap() -> None:
    silent = Record(requests=100, accepted=0.0, answers=0, tokens=0, cost_usd=0.0)

    allocations = allocate(ADAPTIVE, EVENLY, {"one": record(100, 80, usd=0.01), "two": silent})

    assert shares(allocations)["two"] == 0.1
    assert allocations["two"].cost_per_accepted is None


RECORDS = st.builds(
    lambda requests, accepted, tokens: record(requests, min(requests, accepted), tokens=tokens),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, 900),
)


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 9), RECORDS | st.none()), min_size=1),
    st.sampled_from([0.01, 0.1, 0.125]),
)
def test_shares_add_up_and_none_is_below_the_floor(prompts: dict[str, tuple[int, Record | None]], floor: float) -> None:
    weights = {name: float(weight) for name, (weight, _) in prompts.items()}
    known = {name: each for name, (_, each) in prompts.items() if each is not None}

    found = shares(allocate(AdaptiveRotation(floor=floor), weights, known))

    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert min(found.values()) >= floor - 1e-6


@given(
    st.dictionaries(st.sampled_from("xyzuvw"), st.integers(0, 30)),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 99), min_size=1),
)
def test_small_numbers_of_labels_add_up_to_exact_quotas_of_the_plan(
    counts: dict[str, int], weights: dict[str, int]
) -> None:
    rows = apportion_rows(counts, weights)

    assert {name: sum(row.values()) for name, row in rows.items()} == counts
    assert min((part for row in rows.values() for part in row.values()), default=0) >= 0
    whole = apportion(sum(counts.values()), weights)
    assert {name: sum(row[name] for row in rows.values()) for name in weights} == whole


# --- batch after batch


def batches(rates: dict[str, float], count: int) -> list[dict[str, float]]:
    """Return the shares of ``count`` plans of 60 requests, where prompts yield accepted samples at these rates."""
    known: dict[str, Record] = {}
    given_out = []
    for batch in range(count):
        found = shares(allocate(ADAPTIVE, dict.fromkeys(rates, 1.0), known))
        given_out.append(found)
        for name, requests in apportion(60, found).items():
            dice = ids.seeded("yield", name, batch)
            old = known.get(name, record(0, 0))
            accepted = old.accepted + sum(dice.random() < rates[name] for _ in range(requests))
            known[name] = record(old.requests + requests, accepted)
    return given_out


def test_after_a_few_batches_a_prompt_twice_as_good_has_most_requests_and_the_other_its_floor() -> None:
    plans = batches({"good": 0.8, "poor": 0.4, "useless": 0.0}, 6)

    assert plans[0] == pytest.approx({"good": 1 / 3, "poor": 1 / 3, "useless": 1 / 3}, abs=1e-5)
    assert all(plan["good"] > 0.6 for plan in plans[3:])
    assert all(0.1 < plan["poor"] < 0.3 for plan in plans[3:])
    assert all(plan["useless"] == 0.1 for plan in plans[3:])


def test_equal_prompts_keep_nearly_equal_shares() -> None:
    plans = batches({"one": 0.7, "two": 0.7}, 20)

    assert all(0.4 < plan["one"] < 0.6 for plan in plans)


def test_a_prompt_that_was_never_tried_is_tried() -> None:
    found = shares(allocate(ADAPTIVE, EVENLY | {"new": 1.0}, {"one": record(300, 240), "two": record(300, 120)}))

    assert found["two"] < found["new"] < found["one"]


# --- what is counted


def test_what_came_of_requests_is_counted_by_template() -> None:
    ends = [  # template, outcome, tokens, decision, reason
        ("a", "answered", 5, "accepted", None),
        ("a", "answered", 5, "rejected", "surplus"),
        ("a", "answered", 5, "rejected", "refusal"),
        ("a", "answered", 5, "pending_review", None),
        ("a", "answered", 5, None, None),
        ("a", "quarantined", None, None, None),
        ("a", "not_sent", None, None, None),
        ("b", "answered", None, "accepted", None),
        ("c", "not_sent", None, None, None),
    ]
    requests = [{"request_id": str(n), "template_sha256": end[0]} for n, end in enumerate(ends)]
    generations = [
        {"request_id": str(n), "outcome": outcome, "input_tokens": tokens, "output_tokens": tokens, "cost_usd": 0.5}
        | {"generated_at": NOON if outcome == "answered" else None}
        for n, (_, outcome, tokens, _, _) in enumerate(ends)
    ]
    samples = [{"request_id": str(n), "sample_id": f"s{n}"} for n, end in enumerate(ends) if end[1] == "answered"]
    decisions = [
        {"sample_id": f"s{n}", "decision": decision, "reason": reason}
        for n, (*_, decision, reason) in enumerate(ends)
        if decision
    ]

    found = records(
        TABLES["requests"].frame(requests),
        TABLES["generations"].frame(generations),
        TABLES["samples"].frame(samples),
        TABLES["decisions"].frame(decisions),
        overdraw=2.0,
    )

    assert found == {"a": Record(6, 3.0, 5, 50, 2.5), "b": Record(1, 1.0, 1, None, 0.5)}


# --- in a plan


def test_a_plan_gives_each_prompt_its_share_of_all_labels_and_says_why(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, prompts=TWO, rotation="adaptive", files={"prompts/again.md": AGAIN}))
    past = Past(NOTHING.requests, {"lines": record(500, 500), "again": record(500, 0)})

    plan = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=2, wanted={"positive": 5, "negative": 5}, past=past)

    rows = {row["prompt_name"]: row for row in plan.allocations.iter_rows(named=True)}
    assert dict(plan.requests.group_by("prompt_name").len().iter_rows()) == {"lines": 9, "again": 1}
    assert {name: row["planned_requests"] for name, row in rows.items()} == {"lines": 9, "again": 1}
    assert rows["again"]["reason"].startswith("0 of 500 requests accepted; 0.0")
    assert rows["lines"]["attempt"] == 2
    TABLES["prompt_allocations"].schema.validate(plan.allocations)


def test_by_weights_a_plan_says_so_too(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))

    plan = plan_attempt(recipe, COMPLETIONS, batch="b", attempt=1, wanted={"positive": 5})

    assert plan.allocations.select("prompt_name", "share", "planned_requests", "reason").rows() == [
        ("lines", 1.0, 5, "by the weights of the recipe")
    ]


@pytest.mark.parametrize(
    ("rotation", "what"),
    [
        ("fast", "rotation: there is no kind 'fast'"),
        ({"kind": "adaptive", "floor": 0.4}, "rotation.floor: 3 prompts cannot keep 0.4 each"),
        ({"kind": "adaptive", "floor": 0}, "rotation.floor: the number must be greater than 0"),
        ({"kind": "adaptive", "memory": 0}, "rotation.memory: the number must be at least 1"),
        ({"kind": "weights", "floor": 0.1}, "rotation.floor: there is no such key"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused_at_its_line(tmp_path: Path, rotation: Any, what: str) -> None:
    folder = write_recipe(tmp_path, prompts=TWO, rotation=rotation, files={"prompts/again.md": AGAIN})

    with pytest.raises(UsageError) as caught:
        load_recipe(folder)

    lines = (folder / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines, 1) if line.startswith("rotation:"))
    assert what in caught.value.what
    assert begin <= int(caught.value.where.rsplit(":", 1)[1]) <= begin + 2


def test_a_recipe_with_rotation_can_be_read_back_from_the_store(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, rotation={"kind": "adaptive", "memory": 3}))

    assert RecipeModel.model_validate_json(recipe.canonical) == recipe.model
    assert recipe.model.rotation == AdaptiveRotation(memory=3)


# --- in the graph


def test_the_next_batch_asks_the_better_prompt_and_both_plans_are_kept_with_their_reasons(tmp_path: Path) -> None:
    never_read = AGAIN.replace("format: line", "format: json")
    rotation = {"kind": "adaptive", "floor": 0.25, "memory": 2}
    world = World(tmp_path, prompts=TWO, rotation=rotation, files={"prompts/again.md": never_read})
    first_forecast = forecast(world.lake, world.recipe, DAY, ALONE)

    first = world.run()
    second_forecast = forecast(world.lake, world.recipe, NEXT_DAY, ALONE)
    second = world.run("generation_plan", batch=NEXT_DAY)

    stored = world.rows("prompt_allocations").sort("batch", "prompt_name")
    given_out = {batch: rows["planned_requests"].to_list() for (batch,), rows in stored.group_by("batch")}
    assert given_out[DAY] == [9, 9]
    assert given_out[NEXT_DAY][0] < 6
    reasons = stored.filter(pl.col("batch") == NEXT_DAY)["reason"]
    assert reasons[0].startswith("0 of 9 requests accepted; ")
    assert re.match(r"9 of 9 requests accepted, \S+ USD per accepted sample; 1\.\d\d times as good", reasons[1])
    for told, ran, batch in ((first_forecast, first, DAY), (second_forecast, second, NEXT_DAY)):
        assert {name: of["planned_requests"] for name, of in told["prompts"].items()} == dict(
            stored.filter(pl.col("batch") == batch).select("prompt_name", "planned_requests").iter_rows()
        )
        assert ran.materialized["generation_plan"]["prompts"] == told["prompts"]


def test_only_the_present_version_of_a_prompt_and_the_present_model_count(tmp_path: Path) -> None:
    world = World(tmp_path, prompts=TWO, rotation="adaptive", files={"prompts/again.md": AGAIN})
    world.run()
    changed = AGAIN.replace('version: "1"', 'version: "2"')

    world.edit(prompts=TWO, rotation="adaptive", files={"prompts/again.md": changed})
    plan = forecast(world.lake, world.recipe, NEXT_DAY, ALONE)["prompts"]
    other = forecast(world.lake, world.recipe, NEXT_DAY, Routing.to(replace(COMPLETIONS, model_id="fake-base-2")))

    assert "of 9 requests accepted" in plan["lines"]["reason"]
    assert plan["again"]["reason"] == "never tried: it counts as average"
    assert other["prompts"]["lines"]["reason"] == "never tried: it counts as average"


def test_what_was_superseded_is_no_evidence(tmp_path: Path) -> None:
    world = World(tmp_path, prompts=TWO, rotation="adaptive", files={"prompts/again.md": AGAIN})
    world.run()
    world.run("generation_plan", regenerate=True)

    anew = forecast(world.lake, world.recipe, NEXT_DAY, ALONE)["prompts"]

    assert {each["reason"] for each in anew.values()} == {"never tried: it counts as average"}


@pytest.mark.parametrize(("memory", "said"), [(1, "never tried"), (2, "9 of 9 requests")])
def test_memory_counts_the_latest_batches(tmp_path: Path, memory: int, said: str) -> None:
    rotation = {"kind": "adaptive", "memory": memory}
    world = World(tmp_path, prompts=TWO, rotation=rotation, files={"prompts/again.md": AGAIN})
    world.run()
    world.run("generation_plan", batch=NEXT_DAY)

    prompts = forecast(world.lake, world.recipe, "2026-11-03", ALONE)["prompts"]

    assert all(each["reason"].startswith(said) for each in prompts.values())
