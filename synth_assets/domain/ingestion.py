"""Samples made elsewhere: what a row of another tool says, as planned requests that are answered already.

Nothing is guessed. What a row does not tell is `UNKNOWN`; a row that holds no usable sample is kept as a request that
ended without one.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import canonical_json, digest, sha256, stored_json
from synth_assets.domain import ids
from synth_assets.domain.conversations import Conversation, Turn
from synth_assets.domain.parsing import Fields, as_fields, filled, flaw
from synth_assets.domain.planning import PROMPTS_SCHEMA, Plan
from synth_assets.domain.ports import Answer, Ending
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.tasks import TASKS, TEXT
from synth_assets.tables import TABLES
from synth_assets.vocabulary import UNKNOWN, CallKind, Outcome, QuarantineReason

INGESTED_SCHEMA: dict[str, Any] = {
    "request_id": pl.String,
    "text": pl.String,
    "reason": pl.String,
    "finish_reason": pl.String,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "generated_at": pl.Datetime("us", "UTC"),
}
"""Payload of an ingested attempt: ``text`` as `fields_in` reads it, ``reason`` why there is none; one is null."""


NAME = re.compile(r"[\w][\w.:/@+-]{0,127}", re.ASCII)
"""What a tool, a model, a prompt or a parameter may be called."""


@dataclass(frozen=True)
class Origin:
    """Where rows come from, and which of their fields hold the sample.

    Attributes:
        generator: name of the tool.
        label_map: the recipe's label by what the tool calls it.
        prompt: what all rows were made from, if the rows do not say it themselves; text or messages.
        model: model that wrote all rows, if the rows do not say it themselves.
        params: its sampling parameters, likewise.
    """

    generator: str
    text_field: str = "text"
    label_field: str = "label"
    label_map: Mapping[str, str] = field(default_factory=dict)
    prompt: Any = None
    model: str | None = None
    params: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Drop:
    """What another tool left: its bytes, as they came, and its rows.

    Attributes:
        name: of the file or folder, for messages.
        data: all bytes of it, the files of a folder one after the other.
        rows: plain values, in the order of the files.
        origin: what the drop itself tells of where its rows come from.
    """

    name: str
    data: bytes
    rows: Sequence[Mapping[str, Any]]
    origin: Origin


@dataclass(frozen=True)
class Adopted:
    """An ingested attempt: a plan of one request per row, and ``answers`` (n, 7) as `INGESTED_SCHEMA`."""

    plan: Plan
    answers: pl.DataFrame


def names_of(model: RecipeModel, origin: Origin) -> dict[str, str]:
    """Return the sample's required fields with the names a row has them under."""
    fields = TASKS[model.task_type].fields
    return {TEXT: origin.text_field} if fields == (TEXT,) else {name: name for name in fields}


def fields_in(text: str, model: RecipeModel) -> Fields:
    """Return the fields of an ingested text: a classification's is the text itself, others are kept as JSON."""
    return {TEXT: text} if model.task_type == "classification" else dict(orjson.loads(text))


def adopt_rows(
    rows: Sequence[Mapping[str, Any]], model: RecipeModel, origin: Origin, *, batch: str, attempt: int
) -> Adopted:
    """Return rows as an attempt; the same rows give the same attempt.

    Args:
        rows: as the tool wrote them, each a mapping of plain values.
        model: the recipe, whose labels a row must carry.
        origin: where they come from.
        batch: partition key.
        attempt: number of the attempt, from 1.
    """
    requests, prompts, answers = [], [], []
    for ordinal, row in enumerate(rows):
        request = ids.request_id(model.dataset, batch, attempt, ordinal)
        text, label, reason = _sample(row, model, origin)
        prompt = _prompt(row.get("prompt") or origin.prompt)
        params = _params(row.get("generation_params") or origin.params)
        requests.append(
            {
                "dataset": model.dataset,
                "batch": batch,
                "attempt": attempt,
                "ordinal": ordinal,
                "request_id": request,
                "call_id": digest(["ingested", origin.generator, _row_sha256(row)])[: ids.ID_LENGTH],
                "seed": ids.sampling_seed(request),
                "prompt_name": _said(row, "prompt_name"),
                "prompt_version": _said(row, "prompt_version"),
                "template_sha256": UNKNOWN,
                "prompt_sha256": UNKNOWN if prompt is None else sha256(canonical_json(prompt)),
                "label": label,
                "parent_id": None,
                "ancestry_depth": 0,
                "axes": stored_json({}),
                "opening": None,
                "generator": origin.generator,
                "provider": UNKNOWN,
                "model": _said(row, "model", origin.model),
                "generation_params": stored_json(params),
            }
        )
        prompts.append({"request_id": request, "prompt": stored_json(prompt), "opening": "", "seed_ids": []})
        answers.append(
            {
                "request_id": request,
                "text": text,
                "reason": reason,
                "finish_reason": _name(row.get("finish_reason")),
                "input_tokens": _count(row.get("input_tokens")),
                "output_tokens": _count(row.get("output_tokens")),
                "generated_at": _instant(row.get("generated_at")),
            }
        )
    return Adopted(
        Plan(
            TABLES["requests"].frame(requests).drop("object_sha256"),
            pl.DataFrame(prompts, schema=PROMPTS_SCHEMA, orient="row"),
            TABLES["prompt_allocations"].frame([]),
        ),
        pl.DataFrame(answers, schema=INGESTED_SCHEMA, orient="row"),
    )


def conversations_of(requests: pl.DataFrame, answers: pl.DataFrame, model: RecipeModel) -> list[Conversation]:
    """Return the requests of an ingested attempt as conversations of one turn, in plan order.

    Args:
        requests: rows of `requests`, shape (n, 20).
        answers: their payload, shape (n, 7) as `INGESTED_SCHEMA`.
        model: the recipe.
    """
    turns = [
        Turn(CallKind.PROMPT, None, None, ending, fields_in(ending.answer.text, model) if ending.answer else None)
        for ending in endings_of(requests, answers)
    ]
    return [Conversation((), "", {}, [turn]) for turn in turns]


def endings_of(requests: pl.DataFrame, answers: pl.DataFrame) -> Iterator[Ending]:
    """Yield how the requests of an ingested attempt ended, in plan order.

    Args:
        requests: rows of `requests`, shape (n, 18).
        answers: their payload, shape (n, 7) as `INGESTED_SCHEMA`.
    """
    rows = requests.sort("ordinal").join(answers, on="request_id", how="left", maintain_order="left")
    for row in rows.iter_rows(named=True):
        if row["text"] is None:
            reason = QuarantineReason(row["reason"])
            yield Ending(row["request_id"], row["call_id"], Outcome.QUARANTINED, reason, None, 0)
            continue
        answer = Answer(
            call_id=row["call_id"],
            text=row["text"],
            refusal=False,
            finish_reason=row["finish_reason"],
            model=None if row["model"] == UNKNOWN else row["model"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            mean_logprob=None,
            latency_s=0.0,
            generated_at=row["generated_at"],
            tries=0,
        )
        yield Ending(row["request_id"], row["call_id"], Outcome.ANSWERED, None, answer, 0)


def unknown_provenance(requests: pl.DataFrame, generations: pl.DataFrame) -> pl.DataFrame:
    """Return what is not known of each request, shape (n, 5): request_id and a Boolean per prompt, model, ... ."""
    at = generations.select("request_id", "generated_at")
    return requests.join(at, on="request_id", how="left").select(
        "request_id",
        (pl.col("prompt_sha256") == UNKNOWN).alias("prompt"),
        (pl.col("model") == UNKNOWN).alias("model"),
        (pl.col("generation_params") == stored_json(None)).alias("generation_params"),
        pl.col("generated_at").is_null().alias("generated_at"),
    )


def _sample(
    row: Mapping[str, Any], model: RecipeModel, origin: Origin
) -> tuple[str | None, str | None, QuarantineReason | None]:
    """Return a row's text, as `fields_in` reads it, and its label, or why it is no sample."""
    called = called_label(row, origin)
    label = called if called in model.labels else None
    values = {name: row.get(said) for name, said in names_of(model, origin).items()}
    values |= {name: row[name] for name in TASKS[model.task_type].optional if isinstance(row.get(name), str)}
    fields = as_fields(values)
    if fields is None or (model.labels and label is None):
        return None, label, QuarantineReason.WRONG_SCHEMA
    reason = flaw(fields, TASKS[model.task_type])
    if reason is not None:
        return None, label, reason
    fields = filled(fields, TASKS[model.task_type])
    return fields[TEXT] if set(fields) == {TEXT} else stored_json(fields), label, None


def called_label(row: Mapping[str, Any], origin: Origin) -> str | None:
    """Return the label a row says, trimmed, composed and mapped, a number by its digits; None if it says none."""
    value = row.get(origin.label_field)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        return None
    called = unicodedata.normalize("NFC", str(value).strip())
    return origin.label_map.get(called, called)


def unmapped_labels(rows: Sequence[Mapping[str, Any]], model: RecipeModel, origin: Origin) -> Counter[str]:
    """Count the rows by labels that the recipe does not have, mapped or not; no label at all is not among them."""
    called = (called_label(row, origin) for row in rows)
    return Counter(label for label in called if label is not None and label not in model.labels)


def _name(value: Any) -> str | None:
    """Return a value that looks like a name; anything else may be text, which must not reach the lake."""
    return value if isinstance(value, str) and NAME.fullmatch(value) else None


def _said(row: Mapping[str, Any], field: str, otherwise: str | None = None) -> str:
    return _name(row.get(field)) or _name(otherwise) or UNKNOWN


def _params(value: Any) -> dict[str, Any] | None:
    """Return the sampling parameters that are numbers, flags or names; None if there is none."""
    if not isinstance(value, Mapping):
        return None
    plain = {
        key: item
        for key, item in value.items()
        if _name(key) and (_name(item) or (isinstance(item, int | float) and math.isfinite(item)))
    }
    return plain or None


def _prompt(value: Any) -> Any:
    """Return a prompt, text or messages; None if there is none or it cannot be written down."""
    if not isinstance(value, str | list) or not value:
        return None
    try:
        canonical_json(value)
    except TypeError:
        return None
    return value


def _row_sha256(row: Mapping[str, Any]) -> str:
    """Hash a row whatever it holds; escaping keeps what is no valid text apart from what is."""
    return sha256(json.dumps(dict(row), sort_keys=True, default=str).encode("ascii"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _instant(value: Any) -> datetime | None:
    """Return an ISO 8601 time or seconds since 1970 as UTC; None for anything else, a time without zone included."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else None
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            return None
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    return None
