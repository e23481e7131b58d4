"""A cost nobody knows counts at its most: against the budget of waves, parts and attempts, and in its gate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from synth_assets.checks.evidence import Evidence
from synth_assets.checks.gates import within_budget
from synth_assets.domain.costs import at_most_usd, bound_usd
from synth_assets.domain.ports import Answer, Call, Ending, Price
from synth_assets.domain.transactions import Change, Commit
from synth_assets.recipe.model import RecipeModel
from synth_assets.reports.funnel import funnel
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, _Reply
from tests.fakes.recipes import RECIPE
from tests.fakes.steps import PRICED
from tests.fakes.world import DAY, World
from tests.test_generator import CHAT, generator_at

PRICE = Price(input_usd_per_million=1.0, output_usd_per_million=2.0, as_of="2026-11-01")
CALL = Call("c", "r", "twelve bytes", {"max_tokens": 100}, 0)
BOUND = (7 + 2 * 100) / 1e6
"""By hand: twelve bytes are at most seven tokens."""


def ending(outcome: Outcome, reason: Any = None, tokens: Any = None, lost: int = 0) -> Ending:
    answer = None
    if tokens is not None:
        answer = Answer("c", "x", False, "stop", "m", *tokens, None, 0.1, None, 1)
    return Ending("r", "c", outcome, reason, answer, 1, lost)


@pytest.mark.parametrize(
    ("found", "usd"),
    [
        (ending(Outcome.ANSWERED, tokens=(10, 20)), 50 / 1e6),
        (ending(Outcome.ANSWERED, tokens=(None, 20)), BOUND),
        (ending(Outcome.QUARANTINED, QuarantineReason.MALFORMED_ANSWER), BOUND),
        (ending(Outcome.QUARANTINED, QuarantineReason.BAD_REQUEST), 0.0),
        (ending(Outcome.NOT_SENT, QuarantineReason.STOPPED), 0.0),
        (ending(Outcome.NOT_SENT, QuarantineReason.STOPPED, lost=2), 2 * BOUND),
        (ending(Outcome.ANSWERED, tokens=(10, 20), lost=1), 50 / 1e6 + BOUND),
    ],
)
def test_what_a_call_counts(found: Ending, usd: float) -> None:
    assert bound_usd(CALL, PRICE) == pytest.approx(BOUND)
    assert at_most_usd(CALL, found, PRICE) == pytest.approx(usd)
    assert at_most_usd(CALL, found, replace(PRICE, input_usd_per_million=0.0, output_usd_per_million=0.0)) == 0.0


class Silent(FakeOpenAI):
    """Never says how many tokens it took."""

    async def _answer(self, *arguments: Any) -> _Reply | None:
        import orjson

        reply = await super()._answer(*arguments)
        document = orjson.loads(reply.body)
        document.pop("usage")
        return replace(reply, body=orjson.dumps(document))


def test_a_provider_that_never_says_what_it_took_spends_no_more_than_the_budget(tmp_path: Path) -> None:
    """Ninety requests in three waves, and a second run: without a bound each wave would get the whole budget again."""
    world = World(tmp_path, batch={"accept": 60, "budget_usd": 1.0}, prompts=[{"name": "talk"}])
    with Silent() as provider:
        world.generator = generator_at(provider.base_url, world.home, provider=replace(CHAT, price=PRICE))
        world.run("prompt_templates", "seeds", "generation_plan")
        prompts = world.lake.payload("prompts", {"request_id": pl.String, "prompt": pl.String})
        dearest = max((len(text.encode()) / 2 + 2 * 40 + 1) / 1e6 for text in prompts["prompt"])
        world.edit(batch={"accept": 60, "budget_usd": 30 * dearest}, prompts=[{"name": "talk"}])

        first = world.run("generated")
        asked = len(provider.requests)
        world.run("generated")

    assert first.told["exit_code"] == 1
    assert 20 < asked <= 40
    assert len(provider.requests) == asked, "running it again spends nothing"
    rows = world.rows("generations", outcome="answered")
    assert rows["cost_usd"].null_count() == rows.height == asked
    assert asked * dearest / 2 < rows["cost_bound_usd"].sum() <= 30 * dearest
    assert funnel(world.lake, "tiny", DAY)["cost_usd"] is None, "and shown as unknown"
    facts = pl.DataFrame(world.rows("verdicts", gate="budget")).row(-1, named=True)["facts"]
    assert '"spent_at_most_usd"' in facts


@pytest.mark.parametrize(("bound", "passed"), [(0.9, True), (1.1, False)])
def test_the_gate_counts_what_is_unknown_at_its_most(bound: float, *, passed: bool) -> None:
    row = {"outcome": "answered", "cost_usd": None, "cost_bound_usd": bound, "lost_calls": 0}
    model = RecipeModel.model_validate(RECIPE | {"batch": RECIPE["batch"] | {"budget_usd": 1.0}})
    evidence = Evidence(model, {"promised": 12}, {}, generations=TABLES["generations"].frame([row]))

    verdict = within_budget(evidence)

    assert (verdict.passed, verdict.facts["spent_usd"]) == (passed, 0.0)
    assert verdict.facts["spent_at_most_usd"] == bound


def test_another_attempt_gets_what_the_first_one_may_have_left(tmp_path: Path) -> None:
    world = World(tmp_path, batch={"accept": 60, "budget_usd": 1.0}, prompts=[{"name": "talk"}])
    world.generator.provider = PRICED
    world.run("prompt_templates", "seeds", "generation_plan", "generated")
    unknown = world.rows("generations").with_columns(pl.lit(None, pl.Float64).alias("cost_usd"))
    world.lake.commit(
        Commit(
            "tiny",
            "forget",
            "test",
            "",
            {},
            changes=[Change("generations", unknown, {"dataset": "tiny", "batch": DAY, "attempt": 1})],
        )
    )
    bound = world.rows("generations")["cost_bound_usd"].sum()

    world.run(regenerate=True)

    assert bound > 0
    assert world.generator.allowed_usd[-1] == pytest.approx(1.0 - bound, abs=bound)
    assert world.generator.allowed_usd[-1] <= 1.0 - bound
