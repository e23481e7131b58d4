"""What the next attempt of a batch would ask and cost, without asking or paying anything."""

import math
from typing import Any

import orjson

from synth_assets.domain.allotment import told
from synth_assets.domain.planning import Plan, plan_attempt, requests_for
from synth_assets.domain.ports import Routing
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.budget import missing_price
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text; the provider's own count replaces it once there is one."""


def forecast(lake: Lake, recipe: Recipe, batch: str, routing: Routing) -> dict[str, Any]:
    """Return requests, tokens and the highest cost of the next attempt, altogether and by model.

    ``because`` says why no attempt would be opened, ``refusal`` why the run would be refused; ``cost_usd`` is None when
    a price is not known. Nobody is taken to stand in for another one.
    """
    here = {"dataset": recipe.dataset, "batch": batch}
    prospect = next_attempt(lake, recipe, batch)
    recipe = prospect.recipe
    wanted = {} if prospect.because else requests_for(recipe.model, prospect.missing)
    past = past_of(lake, recipe, routing, batch)
    planned = plan_attempt(recipe, routing, batch=batch, attempt=prospect.number, wanted=wanted, past=past)
    models = _by_model(planned, routing, most=recipe.model.generator.max_tokens)
    costs = [each["cost_usd"] for each in models]
    unpriced = None if prospect.because else missing_price(recipe, routing)
    return {
        **here,
        "attempt": prospect.number,
        "because": prospect.because,
        "refusal": None if unpriced is None else f"{unpriced.what}; {unpriced.fix}",
        "requests": planned.requests.height,
        "calls": sum(each["calls"] for each in models),
        "requests_by_label": wanted,
        "prompts": told(planned.allocations),
        "models": models,
        "model": ", ".join(each["model"] for each in models),
        "input_tokens": sum(each["input_tokens"] for each in models),
        "output_tokens": sum(each["output_tokens"] for each in models),
        "cost_usd": None if None in costs else math.fsum(costs),
    }


def _by_model(planned: Plan, routing: Routing, *, most: int) -> list[dict[str, Any]]:
    """Return what each model would be asked: requests, calls, tokens, cost, and the day its price was true."""
    rows = planned.requests.select("request_id", "provider", "model").join(planned.prompts, on="request_id")
    found = []
    for provider in dict.fromkeys(route.provider for route in routing.routes):
        mine = rows.filter(provider=provider.name, model=provider.model_id)
        later = sum(len(orjson.loads(then)) for then in mine["then"].drop_nulls())
        calls = mine.height + later
        # A later prompt is taken to be as long as a first one and the answer it builds on.
        first = sum(len(_text_of(orjson.loads(text))) for text in mine["prompt"]) // CHARACTERS_PER_TOKEN
        given = round(first * calls / max(1, mine.height)) + later * most
        found.append(
            {
                "provider": provider.name,
                "model": provider.model_id,
                "requests": mine.height,
                "calls": calls,
                "input_tokens": given,
                "output_tokens": calls * most,
                "cost_usd": provider.price.of(given, calls * most) if provider.price else None,
                "price_as_of": provider.price.as_of if provider.price else None,
                "is_free": provider.price is not None and provider.price.of(1, 1) == 0,
            }
        )
    return found


def _text_of(prompt: str | list[dict[str, str]]) -> str:
    return prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)
