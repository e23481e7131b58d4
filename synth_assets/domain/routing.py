"""Which model each planned request is addressed to, and how a plan keeps it."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import stored_json
from synth_assets.domain.apportion import dealt
from synth_assets.domain.ports import Mode, Provider, Route, Routing
from synth_assets.recipe.template import Template

ASKED = ("provider", "model", "fallback")
"""Columns of a request and its payload that say who is asked."""


def balanced(weights: Mapping[str, float], templates: Iterable[Template], routing: Routing) -> dict[str, float]:
    """Return the weights of templates such that each mode gets the share of the models that take it.

    Within a mode the templates keep their proportions. Models of one mode leave the weights as they are.

    Args:
        weights: by template name.
        templates: at least one of each mode.
        routing: the models.
    """
    by_models = _sums((route.provider.mode, route.weight) for route in routing.routes)
    if len(by_models) == 1:
        return dict(weights)
    modes = {template.name: template.mode for template in templates}
    by_templates = _sums((mode, weights[name]) for name, mode in modes.items())
    return {name: weights[name] / by_templates[mode] * by_models[mode] for name, mode in modes.items()}


def _sums(pairs: Iterable[tuple[Mode, float]]) -> dict[Mode, float]:
    sums: dict[Mode, float] = {}
    for mode, weight in pairs:
        sums[mode] = sums.get(mode, 0.0) + weight
    return sums


def routes_for(modes: Sequence[Mode], routing: Routing, dice: random.Random) -> list[Route]:
    """Deal the models to requests in exact proportion to their weights, among those that take a request's mode.

    Args:
        modes: of the requests, in plan order.
        routing: the models, at least one of each mode.
        dice: shuffles who gets which.
    """
    decks = {
        mode: iter(_deck(count, [route for route in routing.routes if route.provider.mode == mode], dice))
        for mode, count in sorted(Counter(modes).items())
    }
    return [next(decks[mode]) for mode in modes]


def _deck(count: int, routes: Sequence[Route], dice: random.Random) -> list[Route]:
    if len(routes) == 1:
        return list(routes) * count
    by_number = {str(number): route for number, route in enumerate(routes)}
    return [by_number[each] for each in dealt(count, {key: route.weight for key, route in by_number.items()}, dice)]


def stored_fallback(route: Route) -> str | None:
    """Return what a plan keeps of those who may stand in, null if nobody may."""
    return stored_json([[each.name, each.model_id] for each in route.fallback]) if route.fallback else None


def asked_by(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return provider and model of all who may be asked for a planned request, in order; ``row`` has `ASKED`."""
    later = orjson.loads(row["fallback"]) if row["fallback"] else []
    return [(row["provider"], row["model"]), *((name, model) for name, model in later)]


def unknown_models(requests: pl.DataFrame, prompts: pl.DataFrame, routing: Routing) -> list[str]:
    """Return the models a plan addresses that ``routing`` does not know, sorted."""
    stood_in = prompts.select("request_id", "fallback").drop_nulls("fallback")
    rows = requests.select("request_id", "provider", "model").join(stood_in, on="request_id", how="left")
    asked = {each for row in rows.select(ASKED).unique().iter_rows(named=True) for each in asked_by(row)}
    return sorted(f"{name}/{model}" for name, model in asked if routing.find(name, model) is None)


def address(provider: Provider) -> str:
    """Return how a model is called where one word must do."""
    return f"{provider.name}/{provider.model_id}"
