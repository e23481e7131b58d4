"""From conversations to rows: what became of every request, and the sample its answers hold.

Answers are parsed once, when they come in; an answer that cannot be parsed quarantines its request.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
import polars as pl

from synth_assets.domain import ids
from synth_assets.domain.conversations import Conversation, Turn, prompt_sha256
from synth_assets.domain.costs import at_most_usd
from synth_assets.domain.parsing import Fields
from synth_assets.domain.ports import Answer, Price
from synth_assets.domain.routing import address
from synth_assets.recipe.model import LANGUAGE, RecipeModel
from synth_assets.recipe.tasks import TASKS
from synth_assets.tables import TABLES
from synth_assets.vocabulary import MAY_BE_PAID, Outcome, QuarantineReason

ANSWERS_SCHEMA = {"generation_id": pl.String, "position": pl.Int64, "text": pl.String, "reasoning": pl.String}
"""Payload of an attempt's raw answers; ``position`` counts the calls of a request, ``reasoning`` is kept apart."""

TEXTS_SCHEMA = {"sample_id": pl.String, "field": pl.String, "text": pl.String}
"""Payload of an attempt's samples."""

MAY_HAVE_COST = (pl.col("outcome") != Outcome.NOT_SENT) | pl.col("cost_usd").is_not_null() | (pl.col("lost_calls") > 0)
"""Rows of `generations` that count where money is added up; a stop may come between two calls of a request."""

COUNTS_USD = pl.col("cost_usd").fill_null(pl.col("cost_bound_usd")).fill_null(0.0)
"""What such a row counts against a budget: its cost, or where that is unknown what it can have cost at most."""

AT_ONCE = 4096
"""Requests made into frames at once: rows take ten times the memory of a frame."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Drafts:
    """An attempt's outcome in rows.

    Attributes:
        generations: one row per planned request, shape (n, 23) by the contract.
        steps: one row per call of the requests that took several, shape (s, 22) by the contract.
        samples: one row per parsed sample, shape (m, 17) by the contract.
        answers: raw answers, shape (a, 4) as `ANSWERS_SCHEMA`.
        texts: text of the samples, shape (m x fields, 3) as `TEXTS_SCHEMA`.
    """

    generations: pl.DataFrame
    steps: pl.DataFrame
    samples: pl.DataFrame
    answers: pl.DataFrame
    texts: pl.DataFrame


def draft(requests: pl.DataFrame, conversations: Sequence[Conversation], *, model: RecipeModel) -> Drafts:
    """Turn an attempt's conversations into rows; planned = answered + quarantined + not sent.

    Args:
        requests: the attempt's requests in plan order, shape (n, 21).
        conversations: one per request, in the same order, each with at least one turn.
        model: the recipe.
    """
    parts = [
        _draft(requests[start : start + AT_ONCE], conversations[start : start + AT_ONCE], model)
        for start in range(0, max(1, requests.height, len(conversations)), AT_ONCE)
    ]
    return joined(parts)


def joined(parts: Sequence[Drafts]) -> Drafts:
    """Return the rows of several parts of an attempt, one after the other; at least one part."""
    return Drafts(**{each.name: pl.concat([getattr(part, each.name) for part in parts]) for each in fields(Drafts)})


def _draft(requests: pl.DataFrame, conversations: Sequence[Conversation], model: RecipeModel) -> Drafts:
    generations, steps, samples, answers, texts = [], [], [], [], []
    order = TASKS[model.task_type].known
    for request, conversation in zip(requests.iter_rows(named=True), conversations, strict=True):
        generation = ids.generation_id(request["request_id"], request["call_id"])
        outcome, reason = ended(conversation)
        said = [(place, turn.ending.answer) for place, turn in enumerate(conversation.turns) if turn.ending.answer]
        answers += [(generation, place, answer.text, answer.reasoning or None) for place, answer in said]
        if outcome == Outcome.ANSWERED:
            filled = conversation.fields
            known = {name: filled[name] for name in order if name in filled}
            sample = _sample(request, generation, known, model) | {"repairs": ", ".join(conversation.repairs)}
            samples.append(sample)
            texts += [(sample["sample_id"], name, text) for name, text in known.items()]
        row = {key: request[key] for key in ("dataset", "batch", "attempt", "request_id")}
        generations.append(
            {**row, "call_id": request["call_id"], "generation_id": generation, "outcome": outcome, "reason": reason}
            | _sums(conversation.turns)
        )
        if len(conversation.turns) > 1:
            steps += [row | _step(turn, place) for place, turn in enumerate(conversation.turns)]
    return Drafts(
        generations=TABLES["generations"].frame(generations),
        steps=TABLES["steps"].frame(steps),
        samples=TABLES["samples"].frame(samples),
        answers=pl.DataFrame(answers, schema=ANSWERS_SCHEMA, orient="row"),
        texts=pl.DataFrame(texts, schema=TEXTS_SCHEMA, orient="row"),
    )


def ended(conversation: Conversation) -> tuple[Outcome, QuarantineReason | None]:
    """Return how a request ended: as its last call did, unless that could not be read or nothing could follow it."""
    if conversation.stuck is not None:
        return Outcome.QUARANTINED, conversation.stuck
    return _outcome(conversation.turns[-1])


def _outcome(turn: Turn) -> tuple[Outcome, QuarantineReason | None]:
    if isinstance(turn.found, QuarantineReason):
        return Outcome.QUARANTINED, turn.found
    return turn.ending.outcome, turn.ending.reason


def _sums(turns: Sequence[Turn]) -> Row:
    """Return what a request took altogether, and what its last answer says of itself."""
    said = [(turn, turn.ending.answer) for turn in turns if turn.ending.answer is not None]
    answers = [answer for _, answer in said]
    made = sum(turn.ending.outcome != Outcome.NOT_SENT for turn in turns)
    lost = sum(turn.ending.lost for turn in turns)
    row: Row = {"tries": sum(turn.ending.tries for turn in turns) + lost, "calls": made, "object_sha256": None}
    row |= {"lost_calls": lost, "cost_bound_usd": _bound(turns)}
    if not answers:
        return row | ({"cost_usd": 0.0} if lost and not any(map(_is_lost, turns)) else {})
    last, costs = answers[-1], [_cost(turn, answer) for turn, answer in said]
    costs += [None for turn in turns if _is_unread(turn) or _is_lost(turn)]
    dates = [price.as_of for turn, _ in said if (price := _price(turn)) is not None]
    writer = said[-1][0].call
    return row | {
        "model": last.model,
        "written_by": writer.asks.model_id if writer is not None and writer.asks is not None else None,
        "finish_reason": last.finish_reason,
        "input_tokens": _sum(answer.input_tokens for answer in answers),
        "output_tokens": _sum(answer.output_tokens for answer in answers),
        "cost_usd": (cost := _sum(costs)),
        "price_as_of": min(dates) if cost is not None else None,
        "latency_s": math.fsum(answer.latency_s for answer in answers),
        "mean_logprob": last.mean_logprob,
        "generated_at": last.generated_at,
    }


def _sum(values: Iterable[Any]) -> Any:
    """Add numbers up; one that is unknown makes the sum unknown."""
    known = list(values)
    if any(value is None for value in known):
        return None
    return math.fsum(known) if isinstance(known[0], float) else sum(known)


def _price(turn: Turn) -> Price | None:
    """Return what the model that was asked costs, None where nobody knows or nobody was asked."""
    return turn.call.asks.price if turn.call is not None and turn.call.asks is not None else None


def _cost(turn: Turn, answer: Answer) -> float | None:
    price = _price(turn)
    return price.of(answer.input_tokens, answer.output_tokens) if price else None


def _is_unread(turn: Turn) -> bool:
    """Whether a call without an answer may have been paid: then nobody knows what the request cost."""
    price = _price(turn)
    is_free = price is not None and price.of(1, 1) == 0.0
    return turn.ending.answer is None and turn.ending.reason in MAY_BE_PAID and not is_free


def _is_lost(turn: Turn) -> bool:
    price = _price(turn)
    return turn.ending.lost > 0 and not (price is not None and price.of(1, 1) == 0.0)


def _bound(turns: Sequence[Turn]) -> float | None:
    """Return what the calls of a request cost at most; None where the price of one is not known."""
    costs = [
        None if (price := _price(turn)) is None else at_most_usd(turn.call, turn.ending, price)
        for turn in turns
        if turn.call is not None
    ]
    return None if None in costs or not costs else math.fsum(cost for cost in costs if cost is not None)


def _step(turn: Turn, place: int) -> Row:
    outcome, reason = _outcome(turn)
    step, call, answer = turn.step, turn.call, turn.ending.answer
    if step is None or call is None:
        raise ValueError("a row that was made elsewhere has one turn")
    row: Row = {
        "position": place,
        "kind": turn.kind,
        "call_id": call.call_id,
        "prompt_name": step.template.name,
        "prompt_version": step.template.version,
        "template_sha256": step.sha256,
        "prompt_sha256": prompt_sha256(call),
        "asked": address(call.asks) if call.asks is not None else None,
        "outcome": outcome,
        "reason": reason,
        "tries": turn.ending.tries,
    }
    if answer is None:
        return row
    told = ("model", "finish_reason", "input_tokens", "output_tokens", "latency_s", "generated_at")
    return row | {name: getattr(answer, name) for name in told} | {"cost_usd": _cost(turn, answer)}


def _language(request: Row, model: RecipeModel) -> str:
    """Return what the request asked for; requests planned before there was such an axis ask for the recipe's."""
    if LANGUAGE not in model.axes:
        return model.language
    return str(orjson.loads(request["axes"] or "{}").get(LANGUAGE, model.language))


def _sample(request: Row, generation: str, fields: Fields, model: RecipeModel) -> Row:
    kept = ("dataset", "batch", "attempt", "ordinal", "request_id", "label", "parent_id", "ancestry_depth")
    return {key: request[key] for key in kept} | {
        "position": 0,
        "sample_id": ids.sample_id(request["request_id"], 0),
        "generation_id": generation,
        "content_sha256": ids.content_sha256(fields, request["label"]),
        "task_type": model.task_type,
        "language": _language(request, model),
        "characters": sum(map(len, fields.values())),
        "object_sha256": "",
    }
