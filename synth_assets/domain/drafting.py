"""From endings to rows: what became of every request, and the samples its answer holds.

Answers are parsed once, when they are committed; an answer that cannot be parsed quarantines its request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from synth_assets.domain import ids
from synth_assets.domain.ports import Answer, Ending, Price
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.template import Reply
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Outcome, QuarantineReason

ANSWERS_SCHEMA = {"generation_id": pl.String, "text": pl.String}
"""Payload of an attempt's raw answers."""

TEXTS_SCHEMA = {"sample_id": pl.String, "field": pl.String, "text": pl.String}
"""Payload of an attempt's samples."""

SENTENCE_ENDS = (".", "!", "?")
FEWEST_WORDS = 4
"""Words that must remain when an unfinished sentence is cut off."""

TEXT = "text"
"""The field that every text dataset has."""


@dataclass(frozen=True)
class Drafts:
    """An attempt's outcome in rows.

    Attributes:
        generations: one row per planned request, shape (n, 18) by the contract.
        samples: one row per parsed sample, shape (m, 14) by the contract.
        answers: raw answers, shape (a, 2) as `ANSWERS_SCHEMA`.
        texts: text of the samples, shape (m x fields, 3) as `TEXTS_SCHEMA`.
    """

    generations: pl.DataFrame
    samples: pl.DataFrame
    answers: pl.DataFrame
    texts: pl.DataFrame


def parse_answer(text: str, reply: Reply, opening: str) -> str | QuarantineReason:
    r"""Return the sample's text, or why there is none.

    Args:
        text: the raw answer.
        reply: the template's word on how to read it.
        opening: the seeded opening a ``line`` answer continues.

    Example:
        >>> parse_answer(" acting is superb.\n- Next", Reply(format="line"), "The")
        'The acting is superb.'
    """
    if reply.format == "json":
        return _json_text(text, reply.field)
    if reply.format == "line":
        continued = text.split("\n", 1)[0]
        line = _whole_sentences(_unquoted(opening + continued))
        adds_nothing = _unquoted(opening).startswith(line)
        return QuarantineReason.EMPTY_ANSWER if adds_nothing else line
    return _unquoted(text) or QuarantineReason.EMPTY_ANSWER


def _unquoted(text: str) -> str:
    """Fold white space and take off what a list or a quotation left at both ends."""
    return " ".join(text.split()).strip(' "*-\u201c\u201d')


def _whole_sentences(text: str) -> str:
    """Cut an unfinished end back to the last full stop if enough words remain; a line may stop in mid-sentence."""
    head, mark, tail = text.rpartition("(")
    if mark and ")" not in tail:
        text = head.strip()
    if text.endswith(SENTENCE_ENDS):
        return text
    end = max(text.rfind(mark) for mark in SENTENCE_ENDS) + 1
    return text[:end] if len(text[:end].split()) >= FEWEST_WORDS else text


def _json_text(text: str, field: str) -> str | QuarantineReason:
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return QuarantineReason.WRONG_SCHEMA
    if not isinstance(value, dict) or not isinstance(value.get(field), str):
        return QuarantineReason.WRONG_SCHEMA
    return " ".join(value[field].split()) or QuarantineReason.EMPTY_ANSWER


def draft(
    requests: pl.DataFrame,
    endings: Sequence[Ending],
    *,
    model: RecipeModel,
    read: Callable[[Mapping[str, Any], str], str | QuarantineReason],
    price: Price | None,
) -> Drafts:
    """Turn the endings of an attempt into rows; planned = answered + quarantined + not sent.

    Args:
        requests: the attempt's requests in plan order, shape (n, 17).
        endings: one per request, in the same order.
        model: the recipe.
        read: returns the sample's text for a request's row and its answer, or why there is none.
        price: of the model asked; None makes every cost null.
    """
    generations, samples, answers, texts = [], [], [], []
    for request, ending in zip(requests.iter_rows(named=True), endings, strict=True):
        outcome, reason = ending.outcome, ending.reason
        generation = ids.generation_id(request["request_id"], ending.call_id)
        if ending.answer is not None:
            answers.append({"generation_id": generation, "text": ending.answer.text})
        if ending.answer is not None and outcome == Outcome.ANSWERED:
            parsed = read(request, ending.answer.text)
            if isinstance(parsed, QuarantineReason):
                outcome, reason = Outcome.QUARANTINED, parsed
            else:
                sample, text = _sample(request, generation, parsed, model)
                samples.append(sample)
                texts.append(text)
        generations.append(_generation(request, ending, generation, outcome, reason, price))
    return Drafts(
        generations=TABLES["generations"].frame(generations),
        samples=TABLES["samples"].frame(samples),
        answers=pl.DataFrame(answers, schema=ANSWERS_SCHEMA, orient="row"),
        texts=pl.DataFrame(texts, schema=TEXTS_SCHEMA, orient="row"),
    )


def _generation(
    request: Mapping[str, Any],
    ending: Ending,
    generation: str,
    outcome: Outcome,
    reason: QuarantineReason | None,
    price: Price | None,
) -> dict[str, Any]:
    row = {key: request[key] for key in ("dataset", "batch", "attempt", "request_id", "call_id")}
    row |= {
        "generation_id": generation,
        "outcome": outcome,
        "reason": reason,
        "tries": ending.tries,
        "object_sha256": None,
    }
    return row | (_paid(ending.answer, price) if ending.answer is not None else {})


def _paid(answer: Answer, price: Price | None) -> dict[str, Any]:
    return {
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_usd": price.of(answer.input_tokens, answer.output_tokens) if price else None,
        "latency_s": answer.latency_s,
        "mean_logprob": answer.mean_logprob,
        "generated_at": answer.generated_at,
    }


def _sample(
    request: Mapping[str, Any], generation: str, text: str, model: RecipeModel
) -> tuple[dict[str, Any], dict[str, Any]]:
    fields = {TEXT: text}
    sample = ids.sample_id(request["request_id"], 0)
    row = {key: request[key] for key in ("dataset", "batch", "attempt", "ordinal", "request_id", "label")}
    row |= {
        "position": 0,
        "sample_id": sample,
        "generation_id": generation,
        "content_sha256": ids.content_sha256(fields, request["label"]),
        "task_type": model.task_type,
        "language": model.language,
        "characters": len(text),
        "object_sha256": "",
    }
    return row, {"sample_id": sample, "field": TEXT, "text": text}
