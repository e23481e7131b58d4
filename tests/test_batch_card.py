"""The card of a batch: what stands in it, what cannot be written into it, and where Dagster shows it."""

import html
import re
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from synth_assets.checks.proof import standing_of
from synth_assets.domain.batch_card import BatchCard, batch_card
from synth_assets.domain.comparison import BatchRows
from synth_assets.domain.history import Revision
from synth_assets.recipe import RecipeModel
from synth_assets.reports.batches import card_of, history_of
from synth_assets.reports.funnel import funnel
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Stage
from tests.fakes.generator import CANARY
from tests.fakes.recipes import ANY_SHARE, RECIPE
from tests.fakes.world import CHECKED, DAY, NEXT_DAY, Ran, World
from tests.test_release import HOSTILE

AS_GITHUB = MarkdownIt("commonmark").enable("table").enable("strikethrough")
AS_GITHUB.validateLink = lambda url: url.startswith("data:image/svg+xml;base64,")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def rows(**changes: Any) -> BatchRows:
    """Two samples: one accepted, one too short."""
    made = [{"sample_id": f"s{n}", "request_id": f"r{n}", "label": "positive"} for n in range(2)]
    asked = {"prompt_name": "lines", "prompt_version": "1", "generator": "synth-assets", "model": "fake"} | changes
    ends = [("accepted", None, 0.75), ("rejected", "length", 0.5)]
    return BatchRows(
        requests=TABLES["requests"].frame([{"request_id": f"r{n}", **asked} for n in range(2)]),
        generations=TABLES["generations"].frame([{"outcome": "answered", "cost_usd": 0.25}] * 2),
        samples=TABLES["samples"].frame([each | {"label": changes.get("label", "positive")} for each in made]),
        assessments=TABLES["assessments"].frame([{"sample_id": "s0", "name": "words", "value": 8.0}]),
        decisions=TABLES["decisions"].frame(
            [
                {"sample_id": f"s{n}", "decision": decision, "reason": reason, "quality_score": score}
                for n, (decision, reason, score) in enumerate(ends)
            ]
        ),
    )


def card(**changes: Any) -> BatchCard:
    revision = Revision(1, ("attempt 1 opened",), Stage.TRAINING_READY, True, (), 1, "run 1", NOON, "d" * 64)
    batch = {"batch": "2026-11-02", "promised": 1, "attempts": 1, "short_accepted_by": None}
    whole = BatchCard(RecipeModel.model_validate(RECIPE), batch, [revision], rows(), None)
    return replace(whole, **changes)


def test_a_card_says_what_the_batch_is_and_what_became_of_it() -> None:
    text = batch_card(card())

    for line in (
        "# tiny 2026-11-02 r1",
        "| state | green |",
        "| cost | 0.5000 USD |",
        "| mean quality score | 0.750 |",
        "| answered | 2 |",
        "| rejected: length | 1 |",
        "| lines@1 | 2 | 1 | 0.500 |",
        "| words | 3 to 60 | Shorter lines are fragments. |",
        "| r1 | attempt 1 opened | green | 1 | 2026-11-01 12:00:00+00:00 | `run 1` |",
        "No earlier batch is green.",
    ):
        assert line in text.splitlines(), line


def test_a_card_stands_beside_the_batch_before() -> None:
    before = rows()
    before = replace(before, decisions=before.decisions.head(1), samples=before.samples.head(1))

    text = batch_card(card(previous=("2026-11-01", before)))

    assert "## Compared with batch 2026-11-01" in text
    assert "| samples | 1 | 2 | +1 |" in text
    assert "| accepted | 1 | 1 | 0 |" in text
    assert "| acceptance by prompt: lines@1 | 1.000 | 0.500 | -0.500 |" in text
    assert "| quality score | 0.000 |" in text


def test_a_red_batch_without_a_decision_has_a_card_too() -> None:
    some = rows()
    undecided = replace(some, decisions=some.decisions.clear(), assessments=some.assessments.clear())
    red = Revision(1, ("attempt 1 opened",), Stage.GENERATED, False, ("answered_share",), None, "run", NOON, "d")

    text = batch_card(card(rows=undecided, history=[red]))

    assert "| state | red at generated: answered\\_share |" in text
    assert "| mean quality score | unknown |" in text


def test_the_pictures_are_three_and_hold_no_script() -> None:
    found = re.findall(r"!\[shares by ([a-z ]+)\]\(data:image/svg\+xml;base64,([^)]+)\)", batch_card(card()))

    assert [name for name, _ in found] == ["words", "quality score", "label"]
    assert all(b64decode(data).startswith(b"<svg xmlns=") for _, data in found)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_and_do_nothing(text: str) -> None:
    words = {"words": {"min": 3, "because": text}}
    hostile = RecipeModel.model_validate(RECIPE | {"description": text, "rules": words})
    tame = RecipeModel.model_validate(RECIPE | {"rules": {"words": RECIPE["rules"]["words"]}})
    batch = card().batch
    names = {"prompt_name": text, "model": text, "label": text}
    by = [{**batch, "short_accepted_by": each} for each in (text, "ada")]

    told, plain = (
        AS_GITHUB.render(batch_card(each))
        for each in (
            card(model=hostile, batch=by[0], rows=rows(**names), previous=("2026-11-01", rows(**names))),
            card(model=tame, batch=by[1], previous=("2026-11-01", rows())),
        )
    )

    assert re.findall(r"</?\w+", told) == re.findall(r"</?\w+", plain)
    assert html.escape(" ".join(text.split())) in told


# --- in Dagster


@pytest.fixture(scope="module")
def ran_world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[Ran]]:
    """Two days: the first red at its first attempt and green at its second, the second green at once."""
    world = World(tmp_path_factory.mktemp("card"), gates=ANY_SHARE)
    world.generator.refuses = True
    runs = [world.run()]
    world.generator.refuses = False
    return world, [*runs, world.run(), world.run(batch=NEXT_DAY)]


def test_training_ready_shows_its_revision_and_its_card(ran_world: tuple[World, list[Ran]]) -> None:
    world, (_, second, other_day) = ran_world
    shown, other = second.materialized["training_ready"], other_day.materialized["training_ready"]

    assert (shown["revision"], other["revision"]) == (2, 1)
    assert shown["card"] == card_of(world.lake, "tiny", DAY)
    assert shown["card"].startswith(f"# tiny {DAY} r2\n")
    assert f"## Compared with batch {DAY}" in other["card"]
    assert [name for name, each in second.materialized.items() if "card" in each] == ["training_ready"]


def test_a_red_stage_shows_the_card_in_the_checks_that_failed(ran_world: tuple[World, list[Ran]]) -> None:
    _, (first, *_) = ran_world
    checks = [each.asset_check_evaluation_data for each in first.events if each.event_type_value == CHECKED]

    assert {each.check_name for each in checks if "card" in each.metadata} == {gate for _, gate in first.red}
    (red,) = {each.metadata["card"].value for each in checks if "card" in each.metadata}
    assert f"# tiny {DAY} r1" in red
    assert "| state | red at curated:" in red
    assert CANARY not in red


def test_the_history_stays_what_it_was_when_the_batch_is_looked_at_again(
    ran_world: tuple[World, list[Ran]], tmp_path: Path
) -> None:
    world = ran_world[0].copy(tmp_path)
    before = history_of(world.lake, "tiny", DAY)

    world.run("generated", "scored", "curated", "training_ready")

    assert [each.causes for each in before] == [("attempt 1 opened",), ("attempt 2 opened",)]
    assert history_of(world.lake, "tiny", DAY) == before
    assert funnel(world.lake, "tiny", DAY)["revision"] == 2


def test_a_stricter_rule_is_the_next_revision_and_the_card_shows_that_rule(
    ran_world: tuple[World, list[Ran]], tmp_path: Path
) -> None:
    world = ran_world[0].copy(tmp_path)
    world.edit(
        gates=ANY_SHARE,
        rules={**RECIPE["rules"], "words": {"min": 59, "because": "Only long lines will do from now on."}},
    )

    world.run("curated")

    last = history_of(world.lake, "tiny", DAY)[-1]
    assert (last.number, last.causes, last.passed) == (3, ("judged again under another recipe",), False)
    assert "| words | at least 59 | Only long lines will do from now on. |" in card_of(world.lake, "tiny", DAY)


def test_a_red_revision_keeps_its_card_and_its_difference_whatever_becomes_of_other_batches(
    ran_world: tuple[World, list[Ran]], tmp_path: Path
) -> None:
    world = ran_world[0].copy(tmp_path)
    world.edit(gates={**ANY_SHARE, "answered_share": {"min": 1.1, "because": "More than there is."}})
    assert not world.run("generated", batch=NEXT_DAY).success
    card = card_of(world.lake, "tiny", NEXT_DAY)
    ended = world.lake.chain("tiny").partitions[NEXT_DAY][-1].details["ended"]
    assert (ended["compared_with"], f"## Compared with batch {DAY}" in card) == (DAY, True)
    assert world.lake.get(ended["diff"], ".json")

    assert not world.run("generated", batch=DAY).success

    assert standing_of(world.lake, "tiny", DAY).is_green is False
    assert card_of(world.lake, "tiny", NEXT_DAY) == card, "the batch it was compared with is green no more"
