"""What the next run of a batch would ask and cost, without asking or paying anything."""

import math
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.allotment import told
from synth_assets.domain.planning import PROMPTS_SCHEMA, Plan, plan_attempt, requests_for
from synth_assets.domain.ports import Routing
from synth_assets.domain.transactions import Lake
from synth_assets.errors import SynthError
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt
from synth_assets.stages.refusals import missing_price, other_model
from synth_assets.vocabulary import UNLABELLED, Outcome

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text; the provider's own count replaces it once there is one."""


@dataclass(frozen=True)
class _Upcoming:
    """What the next run would work off: the rest of the open attempt, or the one it would open.

    Attributes:
        because: why it would ask for nothing.
        refusal: why it would be refused.
    """

    attempt: int
    is_open: bool
    plan: Plan
    because: str | None
    refusal: SynthError | None


def forecast(lake: Lake, recipe: Recipe, batch: str, routing: Routing) -> dict[str, Any]:
    """Return requests, tokens and the highest cost of what the next run would ask, altogether and by model.

    While an attempt is open (``is_open``) these are its requests without an outcome; answers that the journal holds and
    no commit yet are among them, although nobody pays them again. ``because`` says why no attempt would be opened,
    ``refusal`` why the run would be refused; ``cost_usd`` is None when a price is not known. Nobody is taken to stand
    in for another one.
    """
    upcoming = _rest_of_open(lake, recipe, batch, routing) or _next(lake, recipe, batch, routing)
    planned, refusal = upcoming.plan, upcoming.refusal
    labels = planned.requests.group_by(pl.col("label").fill_null(UNLABELLED), maintain_order=True).len()
    models = _by_model(planned, routing, most=recipe.model.generator.max_tokens)
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
    return _Upcoming(opened[0], True, plan, None, refusal)


def _next(lake: Lake, recipe: Recipe, batch: str, routing: Routing) -> _Upcoming:
    prospect = next_attempt(lake, recipe, batch)
    recipe = prospect.recipe
    wanted = {} if prospect.because else requests_for(recipe.model, prospect.missing)
    past = past_of(lake, recipe, routing, batch)
    planned = plan_attempt(recipe, routing, batch=batch, attempt=prospect.number, wanted=wanted, past=past)
    refusal = None if prospect.because else missing_price(recipe, routing)
    return _Upcoming(prospect.number, False, planned, prospect.because, refusal)


def _by_model(planned: Plan, routing: Routing, *, most: int) -> list[dict[str, Any]]:
    """Return what each model would be asked: requests, calls, tokens, cost, and the day its price was true."""
    rows = planned.requests.select("request_id", "provider", "model").join(planned.prompts, on="request_id")
    addressed = [(route.provider.name, route.provider.model_id) for route in routing.routes]
    addressed += rows.select("provider", "model").unique(maintain_order=True).iter_rows()
    found = []
    for name, model in dict.fromkeys(addressed):
        mine = rows.filter(provider=name, model=model)
        known = routing.find(name, model)
        price = known.price if known else None
        later = sum(len(orjson.loads(then)) for then in mine["then"].drop_nulls())
        calls = mine.height + later
        # A later prompt is taken to be as long as a first one and the answer it builds on.
        first = sum(len(_text_of(orjson.loads(text))) for text in mine["prompt"]) // CHARACTERS_PER_TOKEN
        given = round(first * calls / max(1, mine.height)) + later * most
        found.append(
            {
                "provider": name,
                "model": model,
                "requests": mine.height,
                "calls": calls,
                "input_tokens": given,
                "output_tokens": calls * most,
                "cost_usd": price.of(given, calls * most) if price else None,
                "price_as_of": price.as_of if price else None,
                "is_free": price is not None and price.of(1, 1) == 0,
            }
        )
    # Whom the recipe names now, but no request of an open attempt addresses, is asked for nothing.
    return [each for each in found if each["requests"]] or found


def _text_of(prompt: str | list[dict[str, str]]) -> str:
    return prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)
