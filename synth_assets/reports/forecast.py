"""What the next attempt of a batch would ask and cost, without asking or paying anything."""

from typing import Any

import orjson

from synth_assets.domain.allotment import told
from synth_assets.domain.planning import plan_attempt, requests_for
from synth_assets.domain.ports import Provider
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text; the provider's own count replaces it once there is one."""


def forecast(lake: Lake, recipe: Recipe, batch: str, provider: Provider) -> dict[str, Any]:
    """Return requests, tokens and the highest cost of the next attempt.

    ``because`` says why no attempt would be opened; ``cost_usd`` is None when no price is known.
    """
    here = {"dataset": recipe.dataset, "batch": batch}
    prospect = next_attempt(lake, recipe, batch)
    recipe = prospect.recipe
    wanted = {} if prospect.because else requests_for(recipe.model, prospect.missing)
    past = past_of(lake, recipe, provider, batch)
    planned = plan_attempt(recipe, provider, batch=batch, attempt=prospect.number, wanted=wanted, past=past)
    texts = planned.prompts["prompt"].to_list()
    later = planned.prompts["then"].drop_nulls().to_list()
    calls = len(texts) + sum(len(orjson.loads(then)) for then in later)
    asked = calls * recipe.model.generator.max_tokens
    # A later prompt is taken to be as long as a first one and the answer it builds on.
    first = sum(len(_text_of(orjson.loads(text))) for text in texts) // CHARACTERS_PER_TOKEN
    given = round(first * calls / max(1, len(texts))) + (calls - len(texts)) * recipe.model.generator.max_tokens
    return {
        **here,
        "attempt": prospect.number,
        "because": prospect.because,
        "requests": len(texts),
        "calls": calls,
        "requests_by_label": wanted,
        "prompts": told(planned.allocations),
        "model": provider.model_id,
        "input_tokens": given,
        "output_tokens": asked,
        "cost_usd": provider.price.of(given, asked) if provider.price else None,
    }


def _text_of(prompt: str | list[dict[str, str]]) -> str:
    return prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)
