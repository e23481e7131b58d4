"""The most that planned requests can ask and cost, whatever is answered.

A request is worked off as `domain.conversations` does it: one call for each of its prompts, one second chance for each
whose shape is repaired, and one call for each model that fails it before the next one stands in. An answer has at most
`max_tokens`; a token of a prompt has at least the bytes that the budget counts for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from synth_assets.canonical import stored_json
from synth_assets.domain.conversations import AGAIN, Step
from synth_assets.domain.costs import BYTES_PER_TOKEN
from synth_assets.domain.parsing import schema_of
from synth_assets.domain.planning import Plan, render_prompt
from synth_assets.domain.ports import Price, Routing
from synth_assets.domain.routing import ASKED, asked_by
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.tasks import TASKS
from synth_assets.recipe.template import Template

Model = tuple[str, str]
"""Provider and model id."""


@dataclass
class Ceiling:
    """What one model is asked at most: in calls, in tokens of prompts and in tokens of answers.

    Attributes:
        requests: planned requests addressed to it first.
        steps: their prompts: the calls they take if nothing is repaired and nobody stands in.
    """

    requests: int = 0
    steps: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, input_tokens: int, output_tokens: int) -> None:
        """Count one more call."""
        self.calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


def ceilings(
    plan: Plan, templates: Mapping[tuple[str, str], Step], model: RecipeModel, routing: Routing
) -> dict[Model, Ceiling]:
    """Return the dearest case by model: every call that can be answered by several goes to the dearest of them.

    What a later prompt takes is rendered with a mark for each answer and counted with the longest answer in its place.

    Args:
        plan: the requests with their payload.
        templates: every template version they were planned with.
        model: the recipe.
        routing: knows what the models cost.
    """
    found: dict[Model, Ceiling] = {}
    columns = ["request_id", "prompt_name", "prompt_version", "generation_params", *ASKED[:2]]
    rows = plan.requests.select(columns).join(plan.prompts, on="request_id", maintain_order="left")
    for row in rows.iter_rows(named=True):
        asked = asked_by(row)
        prices = {each: known.price if (known := routing.find(*each)) else None for each in asked}
        steps = _steps(row, templates)
        most = orjson.loads(row["generation_params"])["max_tokens"]  # as planned, whatever the recipe says now
        inputs = list(_inputs(row, steps, model.task_type, most=most))
        first = found.setdefault(asked[0], Ceiling())
        first.requests += 1
        first.steps += len(steps)
        for tokens in inputs:
            dearest = max(asked, key=lambda each: _cost(prices[each], tokens, most))
            found.setdefault(dearest, Ceiling()).add(tokens, most)
        for failing in asked[:-1]:
            found.setdefault(failing, Ceiling()).add(max(inputs), most)
    return found


def _cost(price: Price | None, input_tokens: int, output_tokens: int) -> float:
    return (price.of(input_tokens, output_tokens) if price else None) or 0.0


def _steps(row: Mapping[str, Any], templates: Mapping[tuple[str, str], Step]) -> list[tuple[Template, bool]]:
    """Return the templates of a request, and whether each continues the chat so far."""
    later = orjson.loads(row["then"] or "[]")
    first = templates[row["prompt_name"], row["prompt_version"]].template
    return [(first, False), *((templates[name, version].template, continues) for name, version, continues in later)]


def _inputs(
    row: Mapping[str, Any], steps: Sequence[tuple[Template, bool]], task_type: str, *, most: int
) -> Iterator[int]:
    """Yield the most tokens of the prompt of each call that a request may take, second chances included."""
    values = orjson.loads(row["values"]) if row["values"] else {}
    sizes: dict[str, int] = {}
    answers: dict[str, dict[str, str]] = {}
    history = 0
    for place, (template, continues) in enumerate(steps):
        prompt = stored_json(render_prompt(template, {**values, "steps": answers})) if place else row["prompt"]
        given = _tokens(prompt) + sum(prompt.lower().count(mark) * size for mark, size in sizes.items())
        given += history if continues else 0
        schema = schema_of(template.reply, task_type=task_type)
        framed = _tokens(stored_json(schema)) if schema else 0
        yield given + framed
        if template.mode == "chat" and template.reply.is_repaired:
            given += most + _tokens(AGAIN)
            yield given + framed
        history = given + most
        mark = f"qzx{place}xzq"
        answers[template.name] = dict.fromkeys(template.reply.outputs(TASKS[task_type]), mark)
        # A whole conversation is its own answer; a line begins with the opening it was given.
        is_whole = template.reply.format == "conversation"
        sizes[mark] = history if is_whole else most + _tokens(row["opening"] or "")


def _tokens(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1
