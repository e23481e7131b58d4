"""`diff.json`: what a version changed against the one before, told by the lines of both."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson
import polars as pl

from synth_assets.domain.release import Contents
from synth_assets.domain.version_diff import version_diff
from synth_assets.stages.proof import ProvenRelease, members_in
from synth_assets.vocabulary import Assessment

ABOUT = {
    "sample_id": pl.String,
    "label": pl.String,
    "prompt": pl.String,
    "words": pl.Float64,
    "quality_score": pl.Float64,
}


def change_of(contents: Contents, parent: ProvenRelease | None) -> Contents:
    """Return the contents of a version with its difference from the version before; the first has none.

    The difference names samples by id and counts them by label and prompt; no sample text is in it.
    """
    if parent is None:
        return contents
    before, now = parent.rows, [orjson.loads(line) for line in contents.lines]
    about = pl.concat([_about(before), _about(now)]).unique("sample_id", keep="last", maintain_order=True)
    found = version_diff(parent.members, members_in(now), about)
    touched = {name: set(ids) for name, ids in found.samples.items()}
    batches: dict[str, dict[str, int]] = {}
    for row in [*now, *(each for each in before if each["sample_id"] in touched["removed"])]:
        for name, ids in touched.items():
            if row["sample_id"] in ids:
                counts = batches.setdefault(row["batch"], dict.fromkeys(touched, 0))
                counts[name] += 1
    diff = {
        "dataset": contents.model.dataset,
        "from": f"v{contents.parent_version}",
        "to": f"v{contents.version}",
        "counts": {name: len(ids) for name, ids in found.samples.items()},
        "batches": dict(sorted(batches.items())),
        "labels": found.labels,
        "prompts": found.prompts,
        "measures": [vars(line) | {"difference": line.difference} for line in found.comparison.lines],
        "distances": dict(found.comparison.distances),
        "samples": found.samples,
    }
    return replace(contents, diff=diff)


def _about(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    told = [
        {
            "sample_id": row["sample_id"],
            "label": row["label"],
            "prompt": f"{row['prompt_name']}@{row['prompt_version']}",
            "words": row["assessments"].get(str(Assessment.WORDS)),
            "quality_score": row["quality_score"],
        }
        for row in rows
    ]
    return pl.DataFrame(told, schema=ABOUT)
