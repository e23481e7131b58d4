"""What a stage wrote, as one hash: the next stage records it as its input, and so knows when it is out of date."""

import polars as pl

from synth_assets.canonical import digest


def _of(frame: pl.DataFrame, columns: list[str]) -> str:
    return digest([list(row) for row in frame.select(columns).sort(columns, nulls_last=True).iter_rows()])


def of_plan(requests: pl.DataFrame) -> str:
    """Hash the planned requests of a batch."""
    return _of(requests, ["request_id", "call_id"])


def of_generated(generations: pl.DataFrame, samples: pl.DataFrame) -> str:
    """Hash how the requests ended and what was parsed."""
    return digest(
        [_of(generations, ["generation_id", "outcome", "reason"]), _of(samples, ["sample_id", "content_sha256"])]
    )


def of_scored(assessments: pl.DataFrame) -> str:
    """Hash what was measured."""
    return _of(assessments, ["sample_id", "name", "source_id", "value"])


def of_curated(decisions: pl.DataFrame) -> str:
    """Hash what was decided."""
    return _of(decisions, ["sample_id", "decision", "reason", "quality_score"])


def of_training_ready(examples: pl.DataFrame) -> str:
    """Hash what may be trained on."""
    return _of(examples, ["sample_id", "content_sha256", "split"])
