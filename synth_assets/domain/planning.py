"""Turning a recipe and a deficit into planned requests: computed once, stored, and from then on read."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import canonical_json, sha256, stored_json
from synth_assets.domain import ids
from synth_assets.domain.allotment import allot
from synth_assets.domain.apportion import apportion, shuffled
from synth_assets.domain.axes import Value, deal, table_rows
from synth_assets.domain.past import NOTHING, Past
from synth_assets.domain.ports import Call, Provider
from synth_assets.domain.rendering import render
from synth_assets.domain.seeding import SeedDealer
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe, template_sha256
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.template import Template
from synth_assets.tables import TABLES
from synth_assets.vocabulary import OURS

PROMPTS_SCHEMA: dict[str, Any] = {
    "request_id": pl.String,
    "prompt": pl.String,
    "opening": pl.String,
    "seed_ids": pl.List(pl.String),
}
"""Payload of a plan: ``prompt`` is canonical JSON of the text or the messages, ``opening`` the seeded opening."""


@dataclass(frozen=True)
class Plan:
    """One attempt: ``requests`` (n, 17) by the contract, ``prompts`` (n, 4) as `PROMPTS_SCHEMA`.

    ``allocations`` says how they were divided among the prompts, one row of `prompt_allocations` for each.

    ``requests`` lacks `object_sha256`, the last column, until the prompts are stored.
    """

    requests: pl.DataFrame
    prompts: pl.DataFrame
    allocations: pl.DataFrame


def owed(model: RecipeModel) -> dict[str, int]:
    """Return how many accepted samples of each label a batch owes; they add up to the promise."""
    return apportion(model.batch.accept, {name: label.share for name, label in model.labels.items()})


def deficit(model: RecipeModel, accepted: Mapping[str, int]) -> dict[str, int]:
    """Return how many accepted samples of each label are missing, 0 or more each."""
    return {label: max(0, due - accepted.get(label, 0)) for label, due in owed(model).items()}


def requests_for(model: RecipeModel, missing: Mapping[str, int]) -> dict[str, int]:
    """Return how many requests of each label to plan for a deficit: the deficit times `overdraw`, rounded up."""
    return {label: math.ceil(count * model.batch.overdraw) for label, count in missing.items() if count > 0}


def plan_attempt(
    recipe: Recipe, provider: Provider, *, batch: str, attempt: int, wanted: Mapping[str, int], past: Past = NOTHING
) -> Plan:
    """Plan one attempt; the same arguments give the same plan, to the bit.

    Args:
        recipe: the dataset.
        provider: whose mode decides which templates are used.
        batch: partition key.
        attempt: number of the attempt, from 1.
        wanted: requests of each label.
        past: what was planned before.

    Raises:
        UsageError: no template speaks the provider's mode, or a template does not render.
    """
    templates = templates_for(recipe, provider)
    dice = ids.seeded(recipe.dataset, batch, attempt)
    allotment = allot(recipe, templates, wanted, past.records, batch=batch, attempt=attempt)
    draws = _draws(recipe, allotment.parts, dice, past, batch=batch)
    seeds = SeedDealer(recipe, past)
    rows = [
        _request(recipe, provider, batch=batch, attempt=attempt, ordinal=ordinal, draw=draw, seeds=seeds)
        for ordinal, draw in enumerate(draws)
    ]
    requests = TABLES["requests"].frame([row for row, _ in rows]).drop("object_sha256")
    prompts = pl.DataFrame([payload for _, payload in rows], schema=PROMPTS_SCHEMA)
    return Plan(requests=requests, prompts=prompts, allocations=allotment.rows)


def templates_for(recipe: Recipe, provider: Provider) -> list[Template]:
    """Return the recipe's templates that speak the provider's mode.

    Raises:
        UsageError: there is none.
    """
    templates = [template for template in recipe.templates if template.mode == provider.mode]
    if not templates:
        raise UsageError(
            f"no prompt of '{recipe.dataset}' has mode {provider.mode}, which {provider.name} speaks",
            where=str(recipe.folder / "recipe.yaml"),
            fix=f"add a prompt whose front matter says `mode: {provider.mode}`",
        )
    return templates


@dataclass(frozen=True)
class Draw:
    """The control values one request was dealt: label, axis values by name, template."""

    label: str
    axes: dict[str, Value]
    template: Template

    @property
    def stored(self) -> dict[str, Any]:
        """The axis values as `requests` keeps them."""
        return {axis: value.stored for axis, value in self.axes.items()}

    @property
    def asked(self) -> dict[str, Any]:
        """Label and stored axis values."""
        return {"label": self.label, **self.stored}

    def shown(self, model: RecipeModel) -> dict[str, Any]:
        """What a template sees: each axis by name."""
        values = {axis: value.shown for axis, value in self.axes.items()}
        return {**values, "label": model.labels[self.label].words or self.label, "language": model.language}


def _draws(
    recipe: Recipe, parts: Mapping[str, Mapping[str, int]], dice: random.Random, past: Past, *, batch: str
) -> list[Draw]:
    earlier = past.of_batch(batch)
    draws: list[Draw] = []
    for label, part in parts.items():
        values = deal(recipe.model, label, sum(part.values()), dice, earlier)
        used = shuffled(part, dice)
        draws += [Draw(label, axes, recipe.template(name)) for axes, name in zip(values, used, strict=True)]
    dice.shuffle(draws)
    rows = table_rows(recipe, len(draws), past)
    return [replace(draw, axes=draw.axes | more) for draw, more in zip(draws, rows, strict=True)]


def _request(
    recipe: Recipe, provider: Provider, *, batch: str, attempt: int, ordinal: int, draw: Draw, seeds: SeedDealer
) -> tuple[dict[str, Any], dict[str, Any]]:
    request = ids.request_id(recipe.dataset, batch, attempt, ordinal)
    dice = ids.seeded("request", request)
    values = draw.shown(recipe.model)
    values["rows"], seed_ids = seeds.deal(draw.asked, dice)
    opening = _opening(recipe, draw, values, dice)
    prompt = render_prompt(draw.template, {**values, "opening": opening})
    params = sampling_params(recipe.model, provider)
    seed = ids.sampling_seed(request)
    row = {
        "dataset": recipe.dataset,
        "batch": batch,
        "attempt": attempt,
        "ordinal": ordinal,
        "request_id": request,
        "call_id": ids.call_id(
            provider=provider.name, model=provider.model_id, params=params, prompt=prompt, schema=None, seed=seed
        ),
        "seed": seed,
        "prompt_name": draw.template.name,
        "prompt_version": draw.template.version,
        "template_sha256": template_sha256(draw.template),
        "prompt_sha256": sha256(canonical_json(prompt)),
        "label": draw.label,
        "axes": stored_json(draw.stored),
        "opening": sha256(opening.encode()) if opening else None,
        "model": provider.model_id,
        "generator": OURS,
        "generation_params": stored_json(params),
    }
    payload = {"request_id": request, "prompt": stored_json(prompt), "opening": opening, "seed_ids": seed_ids}
    return row, payload


def _opening(recipe: Recipe, draw: Draw, values: Mapping[str, Any], dice: random.Random) -> str:
    drawn = draw.asked
    fitting = [
        opening
        for opening in recipe.model.openings
        if all(drawn[axis] in allowed for axis, allowed in opening.when.items())
    ]
    if not fitting or draw.template.reply.format != "line":
        return ""
    chosen = dice.choices(fitting, weights=[opening.weight for opening in fitting])[0]
    return render(chosen.text, values, where=f"{recipe.folder / 'recipe.yaml'}, openings")


def render_prompt(template: Template, values: Mapping[str, Any]) -> str | list[dict[str, str]]:
    """Return the text of a completion prompt, or the messages of a chat prompt."""
    where = str(template.file)
    if template.mode == "completion":
        return render(template.body, values, where=where)
    return [{"role": role, "content": render(source, values, where=where)} for role, source in template.messages]


def sampling_params(model: RecipeModel, provider: Provider) -> dict[str, Any]:
    """Return the parameters this provider understands, as sent."""
    chosen = model.generator
    params: dict[str, Any] = {
        "temperature": chosen.temperature,
        "top_p": chosen.top_p,
        "max_tokens": chosen.max_tokens,
    }
    if provider.mode == "completion" and chosen.stop:
        params["stop"] = list(chosen.stop)
    if provider.takes_llama_params and chosen.min_p is not None:
        params["min_p"] = chosen.min_p
    return params


def calls_of(requests: pl.DataFrame, prompts: pl.DataFrame) -> list[Call]:
    """Return the stored plan as calls, in plan order.

    Args:
        requests: rows of `requests`, shape (n, 17).
        prompts: their payload, shape (n, 4).
    """
    rows = requests.sort("attempt", "ordinal").join(prompts, on="request_id", how="left", maintain_order="left")
    return [
        Call(
            call_id=row["call_id"],
            request_id=row["request_id"],
            prompt=orjson.loads(row["prompt"]),
            params=orjson.loads(row["generation_params"]),
            seed=row["seed"],
        )
        for row in rows.iter_rows(named=True)
    ]
