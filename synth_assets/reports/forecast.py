"""What the next run of a batch would ask and cost, without asking or paying anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.domain.allotment import told
from synth_assets.domain.conversations import Step
from synth_assets.domain.planning import PROMPTS_SCHEMA, Plan, plan_attempt, requests_for
from synth_assets.domain.ports import Routing
from synth_assets.domain.transactions import Lake
from synth_assets.errors import SynthError
from synth_assets.recipe.loader import Recipe, template_sha256
from synth_assets.recipe.model import RecipeModel
from synth_assets.reports.ceiling import Ceiling, ceilings
from synth_assets.stages.asking import planned_templates
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt
from synth_assets.stages.refusals import missing_price, other_model
from synth_assets.vocabulary import UNLABELLED, Outcome


@dataclass(frozen=True)
class _Upcoming:
    """What the next run would work off: the rest of the open attempt, or the one it would open.

    Attributes:
        because: why it would ask for nothing.
        refusal: why it would ask nobody.
    """

    attempt: int
    is_open: bool
    plan: Plan
    templates: Mapping[tuple[str, str], Step]
    because: str | None
    refusal: SynthError | None


def forecast(lake: Lake, recipe: Recipe, batch: str, routing: Routing) -> dict[str, Any]:
    """Return what the next run would ask, and the most it can take and cost, altogether and by model.

    ``calls`` is one for each prompt; ``most_calls``, the tokens and ``cost_usd`` are upper bounds (see `ceiling`) that
    hold as far as a provider keeps to `max_tokens`.

    While an attempt is open (``is_open``) these are its requests without an outcome; answers that the journal holds and
    no commit yet are among them, although nobody pays them again. ``because`` says why no attempt would be opened,
    ``refusal`` why the run would ask nobody; ``cost_usd`` is None when a price is not known.
    """
    upcoming = _rest_of_open(lake, recipe, batch, routing) or _next(lake, recipe, batch, routing)
    planned, refusal = upcoming.plan, upcoming.refusal
    labels = planned.requests.group_by(pl.col("label").fill_null(UNLABELLED), maintain_order=True).len()
    models = _by_model(upcoming, recipe.model, routing)
    costs = [each["cost_usd"] for each in models]
    return {
        "dataset": recipe.dataset,
        "batch": batch,
        "attempt": upcoming.attempt,
        "is_open": upcoming.is_open,
        "because": upcoming.because,
        "refusal": None if refusal is None else f"{refusal.what}; {refusal.fix}",
        "requests": planned.requests.height,
        "calls": sum(each["calls"] for each in models),
        "most_calls": sum(each["most_calls"] for each in models),
        "requests_by_label": dict(labels.iter_rows()),
        "prompts": told(planned.allocations),
        "models": models,
        "model": ", ".join(each["model"] for each in models),
        "input_tokens": sum(each["input_tokens"] for each in models),
        "output_tokens": sum(each["output_tokens"] for each in models),
        "cost_usd": None if None in costs else math.fsum(costs),
    }


def _rest_of_open(lake: Lake, recipe: Recipe, batch: str, routing: Routing) -> _Upcoming | None:
    """Return the requests of the open attempt that have no outcome; how its prompts shared it is told as planned."""
    here = {"dataset": recipe.dataset, "batch": batch}
    opened = lake.read("batches", **here)["open_attempt"].drop_nulls()
    if opened.is_empty():
        return None
    here["attempt"] = opened[0]
    ended = lake.read("generations", **here).filter(pl.col("outcome") != Outcome.NOT_SENT)
    requests = lake.read("requests", **here).join(ended, on="request_id", how="anti").sort("ordinal")
    prompts = lake.payload("prompts", PROMPTS_SCHEMA, dataset=recipe.dataset, batch=batch)
    prompts = prompts.join(requests, on="request_id", how="semi")
    refusal = other_model(recipe, batch, requests, prompts, routing) or missing_price(recipe, routing)
    plan = Plan(requests, prompts, lake.read("prompt_allocations", **here))
    registered = lake.read("prompt_templates", dataset=recipe.dataset)
    templates = planned_templates(lake, recipe, registered, requests, prompts)
    return _Upcoming(opened[0], True, plan, templates, None, refusal)


def _next(lake: Lake, recipe: Recipe, batch: str, routing: Routing) -> _Upcoming:
    prospect = next_attempt(lake, recipe, batch)
    recipe = prospect.recipe
    wanted = {} if prospect.because else requests_for(recipe.model, prospect.missing)
    past = past_of(lake, recipe, routing, batch)
    planned = plan_attempt(recipe, routing, batch=batch, attempt=prospect.number, wanted=wanted, past=past)
    refusal = None if prospect.because else missing_price(recipe, routing)
    templates = {(each.name, each.version): Step(each, template_sha256(each)) for each in recipe.templates}
    return _Upcoming(prospect.number, False, planned, templates, prospect.because, refusal)


def _by_model(upcoming: _Upcoming, model: RecipeModel, routing: Routing) -> list[dict[str, Any]]:
    """Return what each model may be asked at most, what that costs, and the day its price was true."""
    most = ceilings(upcoming.plan, upcoming.templates, model, routing)
    named = [(route.provider.name, route.provider.model_id) for route in routing.routes] if not most else list(most)
    return [_told(each, most.get(each, Ceiling()), routing) for each in named]


def _told(asked: tuple[str, str], most: Ceiling, routing: Routing) -> dict[str, Any]:
    known = routing.find(*asked)
    price = known.price if known else None
    return {
        "provider": asked[0],
        "model": asked[1],
        "requests": most.requests,
        "calls": most.steps,
        "most_calls": most.calls,
        "input_tokens": most.input_tokens,
        "output_tokens": most.output_tokens,
        "cost_usd": price.of(most.input_tokens, most.output_tokens) if price else None,
        "price_as_of": price.as_of if price else None,
        "is_free": price is not None and price.of(1, 1) == 0,
    }
