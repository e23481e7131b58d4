"""Two batches or two versions of a dataset beside each other."""

from typing import Any

import polars as pl

from synth_assets.checks.proof import proven, proven_states
from synth_assets.domain.comparison import Comparison, compare
from synth_assets.domain.transactions import Lake
from synth_assets.domain.version_diff import VersionDiff, version_diff
from synth_assets.domain.versioning import members_of
from synth_assets.errors import UsageError
from synth_assets.reports.releases import version_number
from synth_assets.stages.revisions import rows_of
from synth_assets.vocabulary import Assessment

Facts = dict[str, Any]


def difference(lake: Lake, dataset: str, before: str, now: str) -> Facts:
    """Return how one batch or version differs from another.

    Returns:
        ``kind`` batches or versions, ``before`` and ``now`` by name; ``measures``, each with section, name, before,
        now and difference; ``distances`` as the drift gate measures them. Of versions also ``counts``, ``labels`` and
        ``prompts`` with what was added, removed and changed, and ``rows``, the ids of those samples.

    Raises:
        UsageError: one is a batch and the other is not, or there is no such version.
    """
    batches = set(lake.read("batches", dataset=dataset)["batch"])
    are_batches = {before in batches, now in batches}
    if are_batches == {True, False}:
        raise UsageError(
            f"{before[:64]!r} and {now[:64]!r} are not two batches and not two versions",
            where="the command line",
            fix=f"name two batches of `synth status {dataset}`, or two versions of `synth versions {dataset}`",
        )
    if True in are_batches:
        found = compare(rows_of(lake, dataset, now), rows_of(lake, dataset, before))
        return {"dataset": dataset, "kind": "batches", "before": before, "now": now, **_compared(found)}
    numbers = [version_number(lake, dataset, name) for name in (before, now)]
    names = {"before": f"v{numbers[0]}", "now": f"v{numbers[1]}"}
    rows = proven_states(lake, "dataset_versions", dataset).filter(
        pl.col("version").is_between(min(numbers) + 1, max(numbers))
    )
    said = rows.drop_nulls("reason").filter(pl.col("reason") != "").sort("version")
    reasons = {f"v{version}": reason for version, reason in said.select("version", "reason").iter_rows()}
    facts = _versions(_diff(lake, dataset, *numbers))
    return {"dataset": dataset, "kind": "versions", **names, "reasons": reasons, **facts}


def _diff(lake: Lake, dataset: str, before: int, now: int) -> VersionDiff:
    intervals = proven(lake, "version_members", dataset=dataset)
    there, here = members_of(intervals, before), members_of(intervals, now)
    return version_diff(there, here, _about(lake, dataset, sorted({*there["sample_id"], *here["sample_id"]})))


def _about(lake: Lake, dataset: str, samples: list[str]) -> pl.DataFrame:
    """Return label, prompt, words and quality_score of some samples."""
    here = {"dataset": dataset, "sample_id": samples}
    made = lake.read("samples", **here).select("sample_id", "request_id", "label")
    prompt = pl.concat_str("prompt_name", pl.lit("@"), "prompt_version").alias("prompt")
    asked = lake.read("requests", dataset=dataset, request_id=made["request_id"].to_list()).select("request_id", prompt)
    words = lake.read("assessments", **here, name=str(Assessment.WORDS)).select("sample_id", words="value")
    scores = lake.read("decisions", **here).select("sample_id", "quality_score")
    return (
        made.join(asked, on="request_id", how="left")
        .join(words, on="sample_id", how="left")
        .join(scores, on="sample_id", how="left")
    )


def _versions(diff: VersionDiff) -> Facts:
    return {
        "counts": {name: len(ids) for name, ids in diff.samples.items()},
        "labels": diff.labels,
        "prompts": diff.prompts,
        **_compared(diff.comparison),
        "rows": diff.samples,
    }


def _compared(found: Comparison) -> Facts:
    return {
        "measures": [
            {
                "section": line.section,
                "name": line.name,
                "before": line.before,
                "now": line.now,
                "difference": line.difference,
            }
            for line in found.lines
        ],
        "distances": dict(found.distances),
    }
