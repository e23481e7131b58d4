"""The flat files of a release: one table per split, for readers that know nothing of nested lines.

Columns and types come from the task type, never from the rows, so that every split of every version has the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import orjson
import polars as pl

from synth_assets.recipe.tasks import MESSAGES, TASKS

Line = Mapping[str, Any]
"""A line of `samples.jsonl`."""

TAG = "tag_"
"""Begins the column of a tag; no field does."""

AS_IN_THE_LINE = ("label", "sample_id", "content_sha256", "language", "batch", "model", "quality_score")
PROMPT_TEMPLATE = "prompt_template"
"""The template as name@version, called as in `meta.json`: a field may be called ``prompt``."""

METADATA: dict[str, Any] = dict.fromkeys((*AS_IN_THE_LINE, PROMPT_TEMPLATE), pl.String) | {"quality_score": pl.Float64}
"""Columns beside fields and tags; none bears the name of a field of any task type."""

FOLDER, SUFFIX = "data/", ".parquet"

MOST_SHOWN = 20
"""Disagreements that are told one by one."""


def field_types(task_type: str) -> dict[str, Any]:
    """Return every field a sample of a task type may have, in reading order, with its type in a frame.

    Example:
        >>> field_types("summary")
        {'document': String, 'summary': String}
    """
    turns = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    return {name: turns if name == MESSAGES else pl.String() for name in TASKS[task_type].known}


def flat_name(split: str) -> str:
    """Return the path of a split's flat file inside the release."""
    return f"{FOLDER}{split}{SUFFIX}"


def flat_file(lines: Sequence[Line], *, task_type: str, tags: Sequence[str]) -> bytes:
    """Return lines of one split as Parquet.

    Args:
        lines: as in `samples.jsonl`, in its order; ``fields`` is null where a text was erased.
        task_type: a key of `TASKS`.
        tags: of the whole version, sorted; a sample without one has null.
    """
    types = field_types(task_type) | METADATA | {f"{TAG}{name}": pl.String for name in tags}
    rows = [
        {name: (line["fields"] or {}).get(name) for name in TASKS[task_type].known}
        | {name: line[name] for name in AS_IN_THE_LINE}
        | {PROMPT_TEMPLATE: f"{line['prompt_name']}@{line['prompt_version']}"}
        | {f"{TAG}{name}": line["tags"].get(name) for name in tags}
        for line in lines
    ]
    buffer = BytesIO()
    pl.DataFrame(rows, schema=types, orient="row").write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def disagreements(lines: bytes, files: Mapping[str, bytes]) -> list[str]:
    """Return where flat files say something else than the lines they were made from; empty if nowhere.

    Read back from the bytes and looked up line by line, so that nothing the writing relied on is relied on again.

    Args:
        lines: `samples.jsonl`.
        files: files of the release by path inside; those under `FOLDER` are compared.

    Returns:
        Where they differ, by file, sample id and column, never a value; at most `MOST_SHOWN`.
    """
    by_split: dict[str, list[Line]] = {}
    for line in lines.splitlines():
        row = orjson.loads(line)
        by_split.setdefault(flat_name(row["split"]), []).append(row)
    flat = {name: data for name, data in files.items() if name.startswith(FOLDER)}
    found = [f"{name}: only in the lines" for name in sorted(by_split.keys() - flat.keys())]
    found += [f"{name}: no line is of its split" for name in sorted(flat.keys() - by_split.keys())]
    for name in sorted(by_split.keys() & flat.keys()):
        found += _differing(name, by_split[name], flat[name])
    return found[:MOST_SHOWN]


def _differing(name: str, lines: Sequence[Line], data: bytes) -> Iterator[str]:
    frame = pl.read_parquet(BytesIO(data))
    if frame.height != len(lines):
        yield f"{name}: {frame.height} rows for {len(lines)} lines"
        return
    known = {*(field for task in TASKS.values() for field in task.known), *METADATA}
    yield from (f"{name}: column {each} is of no line" for each in frame.columns if not _is_known(each, known))
    for line, row in zip(lines, frame.iter_rows(named=True), strict=True):
        said = _said(line)
        columns = [each for each in frame.columns if row[each] is not None and each not in said]
        columns += [each for each, value in said.items() if each not in row or row[each] != value]
        yield from (f"{name}: {line['sample_id']}: {each}" for each in columns)


def _is_known(column: str, known: set[str]) -> bool:
    return column in known or column.startswith(TAG)


def _said(line: Line) -> dict[str, Any]:
    """Return what a line says that a flat row must say too, by column."""
    said = {name: line[name] for name in ("label", "sample_id", "content_sha256", "language", "batch", "model")}
    said |= {"quality_score": line["quality_score"]}
    said |= {PROMPT_TEMPLATE: "@".join((line["prompt_name"], line["prompt_version"]))}
    said |= {f"{TAG}{name}": value for name, value in line["tags"].items()}
    return said | (line["fields"] or {})
