"""What a program may import: a released version as a frame, proven and written down.

`from synth_assets import load_dataset` imports this module when the name is first used.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from resources.home import is_home
from resources.lake import DuckLake, leased_lake
from resources.places import synth_home
from synth_assets.domain.flat import field_types
from synth_assets.domain.references import split_version
from synth_assets.domain.transactions import Commit
from synth_assets.domain.usage import Usage
from synth_assets.errors import RefusedError, UsageError
from synth_assets.reports.releases import version_number
from synth_assets.stages.proof import proven_release

AFTER_THE_FIELDS = {
    "label": pl.String,
    "split": pl.String,
    "language": pl.String,
    "quality_score": pl.Float64,
    "prompt_name": pl.String,
    "prompt_version": pl.String,
    "model": pl.String,
    "batch": pl.String,
    "content_sha256": pl.String,
}
"""Columns of a loaded version behind ``sample_id`` and the text fields."""


def load_dataset(
    version: str, *, split: str | None = None, purpose: str = "", run_id: str = "", home: str | Path | None = None
) -> pl.DataFrame:
    """Return a released version as a frame, after comparing every file of the release with its manifest.

    Who loaded what is written into the audit and `usage_log` before anything is returned.

    Args:
        version: ``DATASET@v1`` or ``DATASET@latest``; any alias will do.
        split: ``train``, ``validation`` or ``test``; None returns all of them.
        purpose: what it is for, in a few words; kept in the audit for ever.
        run_id: run it is for, if it has one.
        home: the folder of the data; ``SYNTH_HOME`` or the checkout's ``data/`` unless given.

    Returns:
        One row per sample in the order of ``samples.jsonl``: ``sample_id``, one column per field of the task type
        (``text``; null where a sample lacks an optional one; a dialogue as a list of role and content), then
        ``label, split, language, quality_score (0..1), prompt_name, prompt_version, model, batch, content_sha256``.

    Raises:
        UsageError: there is no such version or split.
        RefusedError: the version did not pass its gates, or a takedown touches it.
        IntegrityError: the release is not what was released.

    Example:
        >>> load_dataset("movie_sentiment@v1", split="train", purpose="sentiment model")  # doctest: +SKIP
    """
    dataset, name = split_version(version)
    with leased_lake(_existing(Path(home).expanduser().absolute() if home else synth_home())) as lake:
        number = version_number(lake, dataset, name)
        release = proven_release(lake, lake.home / "releases", dataset, number)
        row = dict(release.row)
        if row["is_marked"]:
            raise RefusedError(
                f"{dataset} v{number} holds samples that were taken down",
                where=f"{dataset}@v{number}",
                fix=f"load a later version (`synth versions {dataset}`)",
            )
        frame = _frame(release.files)
        chosen = frame if split is None else _of_split(frame, split, dataset=dataset, number=number)
        facts = {"split": split, "rows": chosen.height, "manifest_sha256": row["manifest_sha256"]}
        _write_down(lake, row, facts, purpose=purpose, run_id=run_id)
    return chosen


def _existing(home: Path) -> Path:
    """Refuse a folder that is no home: reading must not make one."""
    if not is_home(home):
        raise UsageError("there is no data here", where=str(home), fix="set SYNTH_HOME, or pass home=")
    return home


def _frame(files: Mapping[str, bytes]) -> pl.DataFrame:
    """Return the lines of a release as a frame whose columns and types follow from its task type."""
    rows = [orjson.loads(line) for line in files["samples.jsonl"].splitlines()]
    fields = field_types(orjson.loads(files["meta.json"])["task_type"])
    schema = {"sample_id": pl.String, **fields, **AFTER_THE_FIELDS}
    flat = [{**dict.fromkeys(fields), **row, **(row["fields"] or {})} for row in rows]
    return pl.DataFrame([{name: row[name] for name in schema} for row in flat], schema=schema)


def _of_split(frame: pl.DataFrame, split: str, *, dataset: str, number: int) -> pl.DataFrame:
    there = sorted(frame["split"].unique())
    if split not in there:
        raise UsageError(
            f"{dataset} v{number} has no split {str(split)[:64]!r}",
            where=f"{dataset}@v{number}",
            fix=f"splits: {', '.join(there)}",
        )
    return frame.filter(pl.col("split") == split)


def _write_down(lake: DuckLake, version: dict[str, Any], facts: dict[str, Any], *, purpose: str, run_id: str) -> None:
    used = Usage(
        dataset=version["dataset"],
        version=version["version"],
        action="load_dataset",
        actor=lake.actor,
        at=datetime.now(UTC),
        digest=version["digest"],
        run_id=run_id,
        purpose=purpose,
        destination="memory",
    )
    lake.commit(
        Commit(
            dataset=used.dataset,
            key=f"load_dataset:{used.dataset}:v{used.version}:{uuid.uuid4().hex}",
            action="load_dataset",
            run_id=run_id,
            details={**used.facts, **facts},
            changes=[used.row(**facts)],
        )
    )
