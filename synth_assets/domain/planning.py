"""Turning a recipe and a deficit into planned requests: computed once, stored, and from then on read."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import canonical_json, sha256, stored_json
from synth_assets.domain import ids
from synth_assets.domain.allotment import allot
from synth_assets.domain.apportion import apportion, shuffled
from synth_assets.domain.axes import Value, deal, table_rows
from synth_assets.domain.parsing import schema_of
from synth_assets.domain.past import NOTHING, Parent, Past
from synth_assets.domain.ports import Call, Provider, Route, Routing
from synth_assets.domain.quotas import Quotas
from synth_assets.domain.rendering import render
from synth_assets.domain.routing import routes_for, stored_fallback
from synth_assets.domain.seeding import SeedDealer
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe, template_sha256
from synth_assets.recipe.model import LANGUAGE, PromptUse, RecipeModel
from synth_assets.recipe.tasks import TASKS
from synth_assets.recipe.template import Template
from synth_assets.tables import TABLES
from synth_assets.vocabulary import OURS, UNLABELLED

PROMPTS_SCHEMA: dict[str, Any] = {
    "request_id": pl.String,
    "prompt": pl.String,
    "opening": pl.String,
    "seed_ids": pl.List(pl.String),
    "schema": pl.String,
    "then": pl.String,
    "values": pl.String,
    "fallback": pl.String,
}
"""Payload of a plan: ``prompt`` is JSON of the text or the messages, ``opening`` the seeded opening, ``seed_ids`` the
rows of seed tables its templates read, ``schema`` the JSON schema demanded of the answer. A prompt that others follow
has ``then``, JSON of (name, version, continues) for each, and ``values``, JSON of what they see besides the answers;
null otherwise. ``fallback`` is JSON of the (provider, model) that are asked if the first does not answer; null if
nobody is."""


@dataclass(frozen=True)
class Plan:
    """One attempt: ``requests`` (n, 20) by the contract, ``prompts`` (n, 8) as `PROMPTS_SCHEMA`.

    ``allocations`` says how they were divided among the prompts, one row of `prompt_allocations` for each.

    ``requests`` lacks `object_sha256`, the last column, until the prompts are stored.
    """

    requests: pl.DataFrame
    prompts: pl.DataFrame
    allocations: pl.DataFrame


def owed(model: RecipeModel) -> dict[str, int]:
    """Return how many accepted samples of each label a batch owes by the shares alone; they add up to the promise.

    What a batch owes beside others is `owing.next_owed`.

    A dataset without labels owes them all to `UNLABELLED`.
    """
    shares = {name: label.share for name, label in model.labels.items()}
    return apportion(model.batch.accept, shares or {UNLABELLED: 1.0})


def deficit(owing: Mapping[str, int], accepted: Mapping[str, int]) -> dict[str, int]:
    """Return how many accepted samples of each label a batch lacks, 0 or more each.

    Args:
        owing: what it owes by label.
        accepted: what it has.
    """
    return {label: max(0, due - accepted.get(label, 0)) for label, due in owing.items()}


def requests_for(model: RecipeModel, missing: Mapping[str, int]) -> dict[str, int]:
    """Return how many requests of each label to plan for a deficit: the deficit times `overdraw`, rounded up."""
    return {label: math.ceil(count * model.batch.overdraw) for label, count in missing.items() if count > 0}


def plan_attempt(
    recipe: Recipe,
    asked: Provider | Routing,
    *,
    batch: str,
    attempt: int,
    wanted: Mapping[str, int],
    past: Past = NOTHING,
) -> Plan:
    """Plan one attempt; the same arguments give the same plan, to the bit.

    Args:
        recipe: the dataset.
        asked: the models, or the only one; a template is dealt to models of its mode alone.
        batch: partition key.
        attempt: number of the attempt, from 1.
        wanted: requests of each label.
        past: what was planned before; templates that evolve are used once every label has a parent.

    Raises:
        UsageError: no template speaks the mode of a model, or a template does not render.
    """
    routing = Routing.to(asked) if isinstance(asked, Provider) else asked
    templates = templates_for(recipe, routing, may_evolve=past.has_parents(wanted))
    dice = ids.seeded(recipe.dataset, batch, attempt)
    allotment = allot(recipe, templates, wanted, past.records, routing, batch=batch, attempt=attempt)
    counts = {label: sum(part.values()) for label, part in allotment.parts.items()}
    quotas = Quotas(recipe.model, counts, past.of_batch(batch), ids.seeded("quotas", recipe.dataset, batch, attempt))
    draws = _draws(recipe, allotment.parts, dice, past, quotas, batch=batch)
    routes = routes_for(
        [draw.template.mode for draw in draws], routing, ids.seeded("routes", recipe.dataset, batch, attempt)
    )
    seeds = SeedDealer(recipe, past)
    rows = [
        _request(recipe, route, batch=batch, attempt=attempt, ordinal=ordinal, draw=draw, seeds=seeds)
        for ordinal, (draw, route) in enumerate(zip(draws, routes, strict=True))
    ]
    requests = TABLES["requests"].frame([row for row, _ in rows]).drop("object_sha256")
    prompts = pl.DataFrame([payload for _, payload in rows], schema=PROMPTS_SCHEMA)
    return Plan(requests=requests, prompts=prompts, allocations=allotment.rows)


def templates_for(recipe: Recipe, routing: Routing, *, may_evolve: bool = False) -> list[Template]:
    """Return the templates that begin a request and speak the mode of one of the models.

    Args:
        recipe: the dataset.
        routing: who is asked.
        may_evolve: whether there are samples for templates that evolve one.

    Raises:
        UsageError: there is none for one of the models, which would get no request.
    """
    first = {use.name for use in recipe.model.prompts if may_evolve or use.evolves is None}
    templates = [each for each in recipe.templates if each.name in first]
    for provider in (route.provider for route in routing.routes):
        if not any(each.mode == provider.mode for each in templates):
            raise UsageError(
                f"no prompt of '{recipe.dataset}' has mode {provider.mode}, which {provider.name} speaks",
                where=str(recipe.folder / "recipe.yaml"),
                fix=f"add a prompt whose front matter says `mode: {provider.mode}`",
            )
    modes = {route.provider.mode for route in routing.routes}
    return [each for each in templates if each.mode in modes]


@dataclass(frozen=True)
class Draw:
    """What one request was dealt: label, axis values by name, template, and the sample it evolves if it does."""

    label: str
    axes: dict[str, Value]
    template: Template
    parent: Parent | None = None

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
        values = {LANGUAGE: model.language} | {axis: value.shown for axis, value in self.axes.items()}
        label = {"label": model.labels[self.label].words or self.label} if model.labels else {}
        return {**values, **label}


def _draws(
    recipe: Recipe,
    parts: Mapping[str, Mapping[str, int]],
    dice: random.Random,
    past: Past,
    quotas: Quotas,
    *,
    batch: str,
) -> list[Draw]:
    earlier = past.of_batch(batch)
    parents_by_label = past.parents_by_label()
    draws: list[Draw] = []
    for label, part in parts.items():
        values = deal(recipe.model, label, sum(part.values()), dice, earlier, quotas)
        used = shuffled(part, dice)
        evolving = {name for name in part if recipe.model.prompt(name).evolves}
        parents = [dice.choice(parents_by_label[label]) if name in evolving else None for name in used]
        draws += [Draw(label, *each) for each in zip(values, map(recipe.template, used), parents, strict=True)]
    dice.shuffle(draws)
    rows = table_rows(recipe, len(draws), past)
    return [replace(draw, axes=draw.axes | more) for draw, more in zip(draws, rows, strict=True)]


def _request(
    recipe: Recipe, route: Route, *, batch: str, attempt: int, ordinal: int, draw: Draw, seeds: SeedDealer
) -> tuple[dict[str, Any], dict[str, Any]]:
    provider = route.provider
    request = ids.request_id(recipe.dataset, batch, attempt, ordinal)
    dice = ids.seeded("request", request)
    values = draw.shown(recipe.model)
    seen, dealt = seeds.deal(draw.asked, values, dice)
    values |= seen
    opening = values["opening"] = _opening(recipe, draw, values, dice)
    use, parent = recipe.model.prompt(draw.template.name), draw.parent
    if parent is not None:
        values |= {"parent": dict(parent.fields), "operation": use.evolves}
    prompt = render_prompt(draw.template, values)
    then = _followers(recipe, use, values)
    schema = schema_of(draw.template.reply, task_type=recipe.model.task_type) if provider.takes_schema else None
    params = sampling_params(recipe.model, provider)
    seed = ids.sampling_seed(request)
    row = {
        "dataset": recipe.dataset,
        "batch": batch,
        "attempt": attempt,
        "ordinal": ordinal,
        "request_id": request,
        "call_id": ids.call_id(
            provider=provider.name, model=provider.model_id, params=params, prompt=prompt, schema=schema, seed=seed
        ),
        "seed": seed,
        "prompt_name": draw.template.name,
        "prompt_version": draw.template.version,
        "template_sha256": template_sha256(draw.template),
        "prompt_sha256": sha256(canonical_json(prompt)),
        "label": draw.label or None,
        "parent_id": parent.sample_id if parent else None,
        "ancestry_depth": parent.depth + 1 if parent else 0,
        "axes": stored_json(draw.stored),
        "opening": sha256(opening.encode()) if opening else None,
        "provider": provider.name,
        "model": provider.model_id,
        "generator": OURS,
        "generation_params": stored_json(params),
    }
    payload: dict[str, Any] = {"request_id": request, "prompt": stored_json(prompt), "opening": opening}
    payload |= {"seed_ids": [each.seed_id for each in dealt if each.is_shown]}
    payload |= {"schema": None if schema is None else stored_json(schema)}
    payload |= {"then": stored_json(then), "values": stored_json(values)} if then else {}
    payload["fallback"] = stored_fallback(route)
    return row, payload


def _followers(recipe: Recipe, use: PromptUse, values: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Return name, version and `continues` of the templates that follow; each is rendered once to see that it can be.

    Raises:
        UsageError: one uses a variable that no template sees, or an answer that no earlier step gives.
    """
    task, chain = TASKS[recipe.model.task_type], [recipe.template(name) for name in use.chain]
    answers: dict[str, dict[str, str]] = {}
    for before, template in pairwise(chain):
        answers[before.name] = dict.fromkeys(before.reply.outputs(task), "-")
        render_prompt(template, {**values, "steps": answers})
    return [(each.name, template.version, each.continues) for each, template in zip(use.then, chain[1:], strict=True)]


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
    return {name: value for name, value in params.items() if name not in provider.omits}


def in_plan_order(requests: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Return requests with their payload, shape (n, 28), by attempt and ordinal."""
    return requests.sort("attempt", "ordinal").join(prompts, on="request_id", how="left", maintain_order="left")


def calls_of(requests: pl.DataFrame, prompts: pl.DataFrame) -> list[Call]:
    """Return the first call of every planned request, in plan order.

    Args:
        requests: rows of `requests`, shape (n, 21).
        prompts: their payload, shape (n, 8) as `PROMPTS_SCHEMA`.
    """
    params = {text: orjson.loads(text) for text in requests["generation_params"].unique()}
    return [
        Call(
            call_id=row["call_id"],
            request_id=row["request_id"],
            prompt=orjson.loads(row["prompt"]),
            params=params[row["generation_params"]],
            seed=row["seed"],
            schema=orjson.loads(row["schema"]) if row["schema"] else None,
        )
        for row in in_plan_order(requests, prompts).iter_rows(named=True)
    ]
