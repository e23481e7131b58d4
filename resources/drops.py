"""Reading what other tools left: plain JSONL, JSON and Parquet, and the folders of DataDesigner and Curator.

Untrusted and possibly half written: every line is parsed strictly, and a file with one bad line is refused as a whole,
so that mending it and trying again loses nothing and doubles nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from synth_assets.domain.ingestion import Drop, Origin
from synth_assets.errors import UsageError
from synth_assets.recipe.strict_json import NoJsonError, strict_json

MAX_BYTES = 2 * 1024**3
"""Largest drop; it is read into memory as a whole."""

CHUNK_BYTES = 1024**2

DATA_DESIGNER_ROWS = "parquet-files"
DATA_DESIGNER_CONFIG = "builder_config.json"
CURATOR_ROWS = "responses_*.jsonl"

Row = dict[str, Any]


def read_drop(path: Path, origin: Origin) -> Drop:
    """Return the rows of a file or folder, with what it tells of their origin.

    Args:
        path: `.jsonl`, `.json` (an array), `.parquet`, or a folder of DataDesigner (`parquet-files/`, with the prompt
            and the model from `builder_config.json`), of Curator (`responses_*.jsonl`), or of such files.
        origin: what the person said; the drop fills in what it knows.

    Raises:
        UsageError: there is no such file, it is no known format, it is empty, or a line of it cannot be read.
    """
    files = _files(path)
    size = sum(file.stat().st_size for file in files)
    if size > MAX_BYTES:
        raise UsageError(f"{size / 1e9:.1f} GB are too much for one batch", where=str(path), fix="cut it in parts")
    if path.is_dir() and (path / DATA_DESIGNER_CONFIG).is_file():
        origin = _designed(path / DATA_DESIGNER_CONFIG, origin)
    contents = {file: file.read_bytes() for file in files}
    rows = [_flat(row, origin) for file, data in contents.items() for row in READERS[file.suffix](file, data)]
    if not rows:
        raise UsageError("there is not one row in it", where=str(path), fix="look whether it was written to its end")
    return Drop(path.name, b"".join(contents.values()), rows, origin)


def content_sha256(path: Path) -> str:
    """Return the hash of what a drop's rows are read from, that of `Drop.data`, without holding its bytes.

    Of a file or folder that is no known format it is the hash of all its bytes: there is no other that it could be.
    """
    try:
        files = _files(path)
    except UsageError:
        files = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as data:
            while chunk := data.read(CHUNK_BYTES):
                found.update(chunk)
    return found.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = path / DATA_DESIGNER_ROWS if (path / DATA_DESIGNER_ROWS).is_dir() else path
        found = sorted(inside.glob(CURATOR_ROWS)) or [
            file for file in sorted(inside.iterdir()) if file.suffix in (".jsonl", ".parquet")
        ]
    else:
        found = [path] if path.is_file() and path.suffix in READERS else []
    if not found:
        raise UsageError(
            "there is nothing to take in" if path.exists() else "there is no such file",
            where=str(path),
            fix=f"name a file that ends in {', '.join(READERS)}, or the output folder of DataDesigner or Curator",
        )
    return found


def _json_lines(file: Path, data: bytes) -> Iterator[Row]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield _object(line, f"{file}:{number}")


def _json_array(file: Path, data: bytes) -> Iterator[Row]:
    value = _parsed(data, str(file))
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UsageError("a .json file holds one array of objects", where=str(file), fix="or write one object per line")
    yield from value


def _parquet(file: Path, data: bytes) -> Iterator[Row]:
    try:
        yield from pl.read_parquet(BytesIO(data)).iter_rows(named=True)
    except (pl.exceptions.PolarsError, OSError):
        raise UsageError("the Parquet file cannot be read", where=str(file), fix="write it anew") from None


READERS: Mapping[str, Callable[[Path, bytes], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json_array,
    ".parquet": _parquet,
}
"""How a file is read, by its suffix."""


def _object(line: bytes, where: str) -> Row:
    value = _parsed(line, where)
    if not isinstance(value, dict):
        raise UsageError("a line holds one JSON object", where=where, fix="mend the line; nothing was taken in")
    return value


def _parsed(data: bytes, where: str) -> Any:
    try:
        return strict_json(data)
    except NoJsonError as error:
        fix = "mend the line, in UTF-8, each key once; nothing was taken in"
        raise UsageError(str(error), where=where, fix=fix) from None


def _flat(row: Row, origin: Origin) -> Row:
    """Return a row of Curator's response files as a plain row; any other as it is."""
    asked = row.get("generic_request")
    if not isinstance(asked, dict):
        return row
    parsed, message = row.get("parsed_response_message"), row.get("response_message")
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    said = parsed if isinstance(parsed, dict) else {origin.text_field: message}
    usage = row.get("token_usage") if isinstance(row.get("token_usage"), dict) else {}
    given = asked.get("original_row") if isinstance(asked.get("original_row"), dict) else {}
    return {
        **given,
        **said,
        "prompt": asked.get("messages"),
        "model": asked.get("model"),
        "generation_params": asked.get("generation_params"),
        "finish_reason": row.get("finish_reason"),
        "generated_at": _in_utc(row.get("finished_at")),
        "input_tokens": usage.get("input"),
        "output_tokens": usage.get("output"),
    }


def _in_utc(value: Any) -> Any:
    """Curator writes its times in UTC, some versions of it without saying so."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _designed(file: Path, origin: Origin) -> Origin:
    """Fill in prompt, model and parameters of the text column from DataDesigner's configuration."""
    config = _parsed(file.read_bytes(), str(file))
    config = config.get("data_designer", config) if isinstance(config, dict) else {}
    columns = [each for each in config.get("columns") or [] if isinstance(each, dict)]
    models = [each for each in config.get("model_configs") or [] if isinstance(each, dict)]
    column = next((each for each in columns if each.get("name") == origin.text_field), {})
    used = next((each for each in models if each.get("alias") == column.get("model_alias")), {})
    return replace(
        origin,
        prompt=origin.prompt or column.get("prompt"),
        model=origin.model or used.get("model"),
        params=origin.params or used.get("inference_parameters"),
    )
