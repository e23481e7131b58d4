"""Asking a model for everything a plan needs: wave after wave, within the money there is."""

import math
import threading
from collections.abc import Callable, Sequence

import orjson
import polars as pl

from synth_assets.checks.evidence import Evidence
from synth_assets.checks.verdict import prepare
from synth_assets.domain.conversations import Conversations, Step
from synth_assets.domain.ports import Call, Endings, Generator, Routing, Stop
from synth_assets.errors import RefusedError
from synth_assets.recipe.template import Template
from synth_assets.stages.work import Work
from synth_assets.vocabulary import STOPS_ALL

UNDER_WAY_S = 1.0
"""When the first calls are surely under way, so that what the judgement needs can be loaded without delaying them."""


def work_off(
    work: Work,
    conversations: Conversations,
    generator: Generator,
    *,
    money_usd: float | None,
    progress: Callable[[int, int], None],
) -> tuple[Stop | None, int]:
    """Ask wave after wave until nothing follows any more; return the stop there was, and the calls paid now."""
    paid_now = 0
    stop: Stop | None = None
    loading = threading.Timer(UNDER_WAY_S, prepare)
    loading.daemon = True
    loading.start()
    while conversations.wave:
        endings = generator.generate(
            conversations.wave,
            dataset=work.recipe.dataset,
            batch=work.batch,
            spend_limit_usd=money_usd,
            progress=progress,
        )
        paid_now += endings.paid_now
        if money_usd is not None:
            money_usd -= _spent(conversations.wave, endings)
        conversations.take(endings.endings)
        stop = stop or endings.stop
        if endings.stop is not None and _ends_all(endings.stop, generator.routing):
            conversations.leave(endings.stop.reason)
            return endings.stop, paid_now
    return stop, paid_now


def _ends_all(stop: Stop, routing: Routing) -> bool:
    """Whether nobody is left to ask: what stopped one provider of several leaves the others at work."""
    return stop.reason in STOPS_ALL or len({each.name for each in routing.providers}) == 1


def _spent(calls: Sequence[Call], endings: Endings) -> float:
    paid = [
        call.asks.price.of(ending.answer.input_tokens, ending.answer.output_tokens)
        for call, ending in zip(calls, endings.endings, strict=True)
        if ending.answer is not None and call.asks is not None and call.asks.price is not None
    ]
    return math.fsum(cost or 0.0 for cost in paid)


def planned_templates(
    work: Work, registered: pl.DataFrame, requests: pl.DataFrame, prompts: pl.DataFrame
) -> dict[tuple[str, str], Step]:
    """Return every template version that was planned with, whatever the recipe says now.

    Raises:
        RefusedError: one was never registered, so its samples would have no provenance; nothing was sent.
    """
    wanted = set(requests.select("prompt_name", "prompt_version").iter_rows())
    for then in prompts["then"].drop_nulls().unique():
        wanted |= {(name, version) for name, version, _ in orjson.loads(then)}
    known = {(row["prompt_name"], row["prompt_version"]): row for row in registered.iter_rows(named=True)}
    found = {}
    for name, version in sorted(wanted):
        row = known.get((name, version))
        if row is None:
            raise RefusedError(
                f"template '{name}' version '{version}' was planned with but never registered",
                where=f"{work.recipe.dataset}/prompt_templates",
                fix="materialize prompt_templates, then this again",
            )
        stored = orjson.loads(work.lake.get(row["object_sha256"], ".json"))
        template = Template.model_validate({**stored, "file": work.recipe.folder / "prompts" / f"{name}.md"})
        found[name, version] = Step(template, row["template_sha256"])
    return found


def money_left(work: Work, evidence: Evidence, attempt: int) -> float | None:
    """Return the budget minus what other attempts cost; what this one already paid is counted by the journal."""
    budget = work.recipe.model.batch.budget_usd
    if budget is None:
        return None
    earlier = evidence.generations.filter(pl.col("attempt") != attempt)["cost_usd"].sum()
    return max(0.0, budget - float(earlier or 0.0))
