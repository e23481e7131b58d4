"""The files of a release: a pure function of what the version holds, so equal versions give equal bytes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import sha256
from synth_assets.domain.cards import dataset_card, writer
from synth_assets.domain.flat import disagreements, flat_file, flat_name
from synth_assets.domain.ids import content_sha256
from synth_assets.domain.parsing import Fields
from synth_assets.errors import IntegrityError
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.tasks import MESSAGES

Tag = tuple[str, str]
"""A value and the source that gave it."""

DRAWN = "drawn"
"""Source of a control value: it was dealt when the request was planned."""

INDENTED = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True)
class Parts:
    """What the lines of a batch are made of.

    Attributes:
        members: of the batch, columns of `versioning.MEMBER`.
        samples, requests, generations, decisions, assessments, tags: rows of those tables; of the last three and the
            texts only the members' are looked at.
        texts: fields, columns sample_id, field, text.
    """

    members: pl.DataFrame
    samples: pl.DataFrame
    requests: pl.DataFrame
    generations: pl.DataFrame
    decisions: pl.DataFrame
    assessments: pl.DataFrame
    tags: pl.DataFrame
    texts: pl.DataFrame


@dataclass(frozen=True)
class Contents:
    """Everything a release is made of.

    Attributes:
        lines: of `samples.jsonl`, in its order: by batch, and inside one by attempt and ordinal.
        batches: of every batch inside, by name: ``requested, answered, parsed, accepted`` and ``cost_usd``, which is
            None if any price is unknown, with the recipe it was judged by.
        verdicts: of every batch inside: batch, stage, gate and passed.
        batches_left_out: batches that were never green, with the stage that holds each back.
        batches_behind: batches inside whose newer revision is red, with that stage.
        as_judged: batches that go in by the rules of their time, with what today's would say.
        diff: difference from the version before; None for the first.
    """

    model: RecipeModel
    version: int
    parent_version: int | None
    digest: str
    lines: Sequence[bytes]
    batches: Mapping[str, Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    batches_left_out: Mapping[str, str]
    batches_behind: Mapping[str, str] = field(default_factory=dict)
    as_judged: Mapping[str, str] = field(default_factory=dict)
    diff: Mapping[str, Any] | None = None


def release_files(contents: Contents) -> dict[str, bytes]:
    """Return every file of the release folder by its path inside, the manifest last.

    `manifest.json` holds sha256 and size of every other file; its own hash goes into the audit.

    Raises:
        IntegrityError: a flat file says something else than the lines it was made from.
    """
    rows = [orjson.loads(line) for line in contents.lines]
    meta = _meta(contents, rows)
    splits = sorted({row["split"] for row in rows})
    files = {
        "samples.jsonl": b"".join(contents.lines),
        "meta.json": orjson.dumps(meta, option=INDENTED),
        "README.md": dataset_card(
            contents.model,
            meta,
            _funnel(contents),
            left_out=contents.batches_left_out,
            behind=contents.batches_behind,
            as_judged=contents.as_judged,
            splits=splits,
        ).encode(),
    }
    if contents.diff is not None:
        files["diff.json"] = orjson.dumps(contents.diff, option=INDENTED)
    for split in splits:
        mine = [row for row in rows if row["split"] == split]
        files[flat_name(split)] = flat_file(mine, task_type=contents.model.task_type, tags=sorted(meta["tag_counts"]))
    if wrong := disagreements(files["samples.jsonl"], files):
        raise IntegrityError(
            f"the flat files say something else than samples.jsonl: {'; '.join(wrong)}",
            where=f"{contents.model.dataset} v{contents.version}",
            fix="nothing was released; this is a fault of the program: report it",
        )
    files["manifest.json"] = orjson.dumps(_manifest(contents, meta, files), option=INDENTED)
    return files


def sample_lines(parts: Parts) -> list[bytes]:
    """Return one line of `samples.jsonl` per member, by batch, attempt, ordinal and position."""
    return [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in sample_rows(parts)]


def told_content(line: Mapping[str, Any]) -> str:
    """Return what the `content_sha256` of a line must be: computed anew from its fields and label."""
    return content_sha256(told_fields(line), line["label"])


def told_fields(line: Mapping[str, Any]) -> Fields:
    """Return the fields of a line as texts, as samples have them."""
    return {
        name: orjson.dumps(value).decode() if name == MESSAGES else str(value) for name, value in line["fields"].items()
    }


def sample_rows(parts: Parts) -> list[dict[str, Any]]:
    """Return one mapping per member in the order of `samples.jsonl`: by batch, attempt, ordinal."""
    requested = parts.requests.select(
        "request_id",
        "prompt_name",
        "prompt_version",
        "template_sha256",
        "prompt_sha256",
        "generator",
        "model",
        "generation_params",
        "axes",
    )
    answered = parts.generations.select("request_id", "generated_at", "written_by")
    joined = (
        parts.members.select("sample_id", "split")
        .join(parts.samples, on="sample_id")
        .join(requested, on="request_id")
        .join(answered, on="request_id")
        .join(parts.decisions.select("sample_id", "quality_score"), on="sample_id")
        .sort("batch", "attempt", "ordinal", "position")
    )
    values, tags, fields = _assessments(parts.assessments), _tags(parts.tags), _fields(parts.texts)
    return [
        _row(
            row,
            fields=fields.get(row["sample_id"], {}),
            assessments=values.get(row["sample_id"], {}),
            tags=_drawn(row["axes"]) | tags.get(row["sample_id"], {}),
        )
        for row in joined.iter_rows(named=True)
    ]


def _fields(texts: pl.DataFrame) -> dict[str, Fields]:
    found: dict[str, Fields] = {}
    for sample, name, text in texts.select("sample_id", "field", "text").iter_rows():
        found.setdefault(sample, {})[name] = text
    return found


def _structured(field: str, text: str) -> Any:
    """Return what a line of `samples.jsonl` shows of a field: a dialogue as messages, everything else as its text."""
    return orjson.loads(text) if field == MESSAGES else text


def _assessments(assessments: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for row in assessments.sort("sample_id", "name").iter_rows(named=True):
        found.setdefault(row["sample_id"], {})[row["name"]] = row["value"]
    return found


def _tags(tags: pl.DataFrame) -> dict[str, dict[str, Tag]]:
    found: dict[str, dict[str, Tag]] = {}
    for row in tags.sort("sample_id", "name").iter_rows(named=True):
        found.setdefault(row["sample_id"], {})[row["name"]] = row["value"], row["source_id"]
    return found


def _drawn(axes: str) -> dict[str, Tag]:
    """Every control value that a sample was asked for is a tag of it too."""
    return {name: (str(value), DRAWN) for name, value in orjson.loads(axes).items()}


def _row(
    row: Mapping[str, Any], *, fields: Fields, assessments: Mapping[str, float | None], tags: Mapping[str, Tag]
) -> dict[str, Any]:
    return {
        "sample_id": row["sample_id"],
        "content_sha256": row["content_sha256"],
        "split": row["split"],
        "task_type": row["task_type"],
        "language": row["language"],
        "label": row["label"],
        "fields": {name: _structured(name, text) for name, text in fields.items()},
        "tags": {name: value for name, (value, _) in tags.items()},
        "tag_sources": {name: source for name, (_, source) in tags.items()},
        "prompt_name": row["prompt_name"],
        "prompt_version": row["prompt_version"],
        "template_sha256": row["template_sha256"],
        "prompt_sha256": row["prompt_sha256"],
        "model": row["written_by"] or row["model"],
        "generation_params": orjson.loads(row["generation_params"]),
        "generated_at": row["generated_at"].isoformat() if row["generated_at"] else None,
        "batch": row["batch"],
        "generation_id": row["generation_id"],
        "assessments": dict(assessments),
        "quality_score": row["quality_score"],
        "generator": row["generator"],
    }


def _meta(contents: Contents, rows: list[dict[str, Any]]) -> dict[str, Any]:
    scores = [row["quality_score"] for row in rows if row["quality_score"] is not None]
    labels = [row["label"] for row in rows]
    former = sorted({label for label in labels if label is not None} - set(contents.model.labels))
    return {
        "dataset": contents.model.dataset,
        "version": f"v{contents.version}",
        "date": max((row["batch"] for row in rows), default=contents.model.start),
        "generator": sorted({writer(row) for row in rows}),
        "task_type": contents.model.task_type,
        "prompt_template": sorted({f"{row['prompt_name']}@{row['prompt_version']}" for row in rows}),
        "quality_score_avg": round(sum(scores) / len(scores), 6) if scores else None,
        "num_samples": len(rows),
        "digest": contents.digest,
        "parent_version": None if contents.parent_version is None else f"v{contents.parent_version}",
        "label_counts": {label: labels.count(label) for label in [*contents.model.labels, *former]},
        "tag_counts": _tag_counts(rows),
        "cost_usd": _cost(contents.batches),
    }


def _cost(batches: Mapping[str, Mapping[str, Any]]) -> float | None:
    costs = [facts["cost_usd"] for facts in batches.values()]
    return None if None in costs else math.fsum(costs)


def _tag_counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row["tags"].items():
            counts.setdefault(name, Counter())[value] += 1
    return {name: dict(sorted(counted.items())) for name, counted in sorted(counts.items())}


def _funnel(contents: Contents) -> dict[str, int]:
    steps = ("requested", "answered", "parsed")
    return {step: sum(facts[step] for facts in contents.batches.values()) for step in steps} | {
        "accepted": len(contents.lines)
    }


def _manifest(contents: Contents, meta: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "dataset": contents.model.dataset,
        "version": meta["version"],
        "digest": contents.digest,
        "counts": {"samples": meta["num_samples"], "labels": meta["label_counts"]},
        "files": {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in sorted(files.items())},
        "verdicts": sorted(contents.verdicts, key=lambda row: (row["batch"], row["stage"], row["gate"])),
        "batches": {name: dict(facts) for name, facts in sorted(contents.batches.items())},
        "batches_left_out": dict(sorted(contents.batches_left_out.items())),
        "batches_behind": dict(sorted(contents.batches_behind.items())),
        "as_judged": dict(sorted(contents.as_judged.items())),
    }
