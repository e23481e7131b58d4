"""What a batch holds as numbers, and how they differ from another batch's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from synth_assets.domain.drift import distances
from synth_assets.domain.standing import standing
from synth_assets.vocabulary import Assessment, Decision, Outcome, RejectReason

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

COUNTS, REJECTED, LABELS = "counts", "rejected", "label share"
WORDS, QUALITY, TEMPLATES = "words", "quality score", "acceptance by prompt"

UNLABELLED = "no label"
"""How samples without a label are named."""

Measure = tuple[str, str]
"""Section and name of a number."""


@dataclass(frozen=True)
class BatchRows:
    """The rows of one batch, by the contract of each table."""

    requests: pl.DataFrame
    generations: pl.DataFrame
    samples: pl.DataFrame
    assessments: pl.DataFrame
    decisions: pl.DataFrame

    @property
    def accepted(self) -> pl.DataFrame:
        """The accepted samples, as `accepted_values`."""
        return accepted_values(self.samples, self.assessments, self.decisions)


@dataclass(frozen=True)
class Line:
    """One number of two batches.

    Attributes:
        section: what kind of number, e.g. `COUNTS`.
        before: of the other batch; None if there is no such number, e.g. the mean of nothing.
        now: of this batch.
    """

    section: str
    name: str
    before: float | None
    now: float | None

    @property
    def difference(self) -> float | None:
        """Now minus before; None if one of them is missing."""
        return None if self.now is None or self.before is None else self.now - self.before


@dataclass(frozen=True)
class Comparison:
    """A batch beside another one.

    Attributes:
        lines: every number of either batch, in the order of the sections.
        distances: between the accepted samples of the two, measured as the drift gate does; None to nothing.
    """

    lines: tuple[Line, ...]
    distances: Mapping[str, float | None]


def compare(now: BatchRows, before: BatchRows) -> Comparison:
    """Return the numbers of a batch beside those of another one; a count that only one has is 0 in the other.

    Args:
        now: the batch.
        before: the one it is compared with.
    """
    here, there = measures(now), measures(before)
    order = [COUNTS, REJECTED, LABELS, WORDS, QUALITY, TEMPLATES]
    names = sorted(dict.fromkeys([*here, *there]), key=lambda each: order.index(each[0]))
    absent = {COUNTS: 0.0, REJECTED: 0.0}
    lines = [
        Line(section, name, *(each.get((section, name), absent.get(section)) for each in (there, here)))
        for section, name in names
    ]
    return Comparison(tuple(lines), apart(now.accepted, before.accepted))


def apart(now: pl.DataFrame, before: pl.DataFrame) -> dict[str, float | None]:
    """Return `drift.distances` between two sets of samples; None if one of them is empty."""
    is_known = not (now.is_empty() or before.is_empty())
    return {name: value if is_known else None for name, value in distances(now, before).items()}


def measures(rows: BatchRows) -> dict[Measure, float | None]:
    """Return every number of a batch that can be compared.

    Shares, lengths and scores are those of the accepted samples; the acceptance of a template version is
    `acceptance_of`. Values are None where they would be computed from nothing.
    """
    accepted = rows.accepted
    return {
        **{(COUNTS, name): float(count) for name, count in _counts(rows).items()},
        **{(REJECTED, reason): float(count) for reason, count in _rejected(rows.decisions).items()},
        **{(LABELS, label): share for label, share in label_shares(rows).items()},
        **spread(accepted),
        **{(TEMPLATES, row[0]): _share(row[2], row[1]) for row in acceptance_of(rows).iter_rows()},
    }


def spread(values: pl.DataFrame) -> dict[Measure, float | None]:
    """Return mean and quantiles of the columns words and quality_score; None of nothing."""
    return {
        **{(WORDS, name): value for name, value in _summary(values["words"]).items()},
        **{(QUALITY, name): value for name, value in _summary(values["quality_score"]).items()},
    }


def label_shares(rows: BatchRows) -> dict[str, float | None]:
    """Return the share of every label of the batch among its accepted samples, sorted; None if none was accepted."""
    accepted = rows.accepted["label"].fill_null(UNLABELLED)
    return {
        label: _share(int((accepted == label).sum()), len(accepted))
        for label in sorted(set(rows.samples["label"].fill_null(UNLABELLED)))
    }


def accepted_values(samples: pl.DataFrame, assessments: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return sample_id, label, words and quality_score of the accepted samples, shape (accepted, 4)."""
    words = assessments.filter(pl.col("name") == Assessment.WORDS).select("sample_id", pl.col("value").alias("words"))
    return (
        decisions.filter(pl.col("decision") == Decision.ACCEPTED)
        .select("sample_id", "quality_score")
        .join(samples.select("sample_id", "label"), on="sample_id", how="left", maintain_order="left")
        .join(words, on="sample_id", how="left", maintain_order="left")
        .select("sample_id", "label", "words", "quality_score")
    )


def acceptance_of(rows: BatchRows) -> pl.DataFrame:
    """Return what became of the samples of each template version, shape (versions, 3), sorted by name.

    Columns: prompt, as name@version; judged, samples accepted or rejected for what they are, superseded ones left out;
    good, those of them that passed every rule, with the ones beyond the promise.
    """
    prompt = pl.concat_str("prompt_name", pl.lit("@"), "prompt_version").alias("prompt")
    is_good = (pl.col("decision") == Decision.ACCEPTED) | (pl.col("reason") == RejectReason.SURPLUS)
    is_judged = pl.col("decision").is_in([Decision.ACCEPTED, Decision.REJECTED]) & pl.col("reason").ne_missing(
        pl.lit(str(RejectReason.SUPERSEDED))
    )
    return (
        rows.samples.select("sample_id", "request_id")
        .join(rows.requests.select("request_id", prompt), on="request_id")
        .join(rows.decisions.select("sample_id", "decision", "reason"), on="sample_id")
        .filter(is_judged)
        .group_by("prompt")
        .agg(pl.len().alias("judged"), is_good.fill_null(value=False).sum().alias("good"))
        .sort("prompt")
    )


def previous_green(stage_commits: pl.DataFrame, batch: str) -> str | None:
    """Return the latest green batch before a batch; None if there is none.

    Args:
        stage_commits: all stage commits of the dataset's batches, shape (n, 12).
        batch: a partition key; keys sort as their periods do.
    """
    earlier = sorted({key for key in stage_commits["partition"] if key < batch}, reverse=True)
    return next((key for key in earlier if standing(stage_commits.filter(partition=key)).is_green), None)


def _counts(rows: BatchRows) -> dict[str, int]:
    outcome, decision = rows.generations["outcome"], rows.decisions["decision"]
    return {
        "planned": rows.requests.height,
        "answered": int((outcome == Outcome.ANSWERED).sum()),
        "quarantined": int((outcome == Outcome.QUARANTINED).sum()),
        "not sent": int((outcome == Outcome.NOT_SENT).sum()),
        "samples": rows.samples.height,
        "accepted": int((decision == Decision.ACCEPTED).sum()),
        "rejected": int((decision == Decision.REJECTED).sum()),
        "pending review": int((decision == Decision.PENDING_REVIEW).sum()),
    }


def _rejected(decisions: pl.DataFrame) -> dict[str, int]:
    """Count rejected samples by reason, in the order in which the rules are asked."""
    reasons = decisions["reason"].drop_nulls().to_list()
    return {str(reason): reasons.count(reason) for reason in RejectReason if reason in reasons}


def _summary(values: pl.Series) -> dict[str, float | None]:
    """Return mean and quantiles, nulls left out; None of nothing."""
    known = values.drop_nulls()
    return {"mean": _mean(known)} | {
        f"{share:.0%} quantile": known.quantile(share, interpolation="linear") for share in QUANTILES
    }


def _mean(values: pl.Series) -> float | None:
    return math.fsum(values) / len(values) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
