"""Which samples are accepted, and why the others are not: rules in a fixed order, then the promise."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from synth_assets.canonical import digest
from synth_assets.domain.ids import ID_LENGTH
from synth_assets.recipe.model import RecipeModel, Weight
from synth_assets.tables import TABLES
from synth_assets.vocabulary import UNLABELLED, Assessment, Decision, RejectReason, Source

REASON_OF: dict[Assessment, RejectReason] = {
    Assessment.WORDS: RejectReason.LENGTH,
    Assessment.REFUSAL: RejectReason.REFUSAL,
    Assessment.REPETITION: RejectReason.REPETITION,
    Assessment.LANGUAGE: RejectReason.LANGUAGE,
    Assessment.PII: RejectReason.PII,
    Assessment.COPIED_SHOT: RejectReason.COPIED_SHOT,
    Assessment.CONTAMINATION: RejectReason.CONTAMINATION,
    Assessment.EXACT_DUPLICATE: RejectReason.EXACT_DUPLICATE,
    Assessment.NEAR_DUPLICATE: RejectReason.NEAR_DUPLICATE,
    Assessment.NEAREST_NEIGHBOUR: RejectReason.NEAREST_NEIGHBOUR,
    Assessment.MEAN_LOGPROB: RejectReason.LOW_LOGPROB,
    Assessment.LABEL_CONSISTENCY: RejectReason.LABEL_MISMATCH,
}
"""Reason of a rejection by the assessment whose rule was broken; asked in this order, the first one counts."""


SPLITS = ("train", "validation", "test")
"""The parts of a dataset, in the order in which they share the content hashes."""


def rules_id(model: RecipeModel) -> str:
    """Name the rules a machine decision was made by."""
    kept = {"rules", "quality_score", "labels", "batch"}
    return "rules:" + digest(model.model_dump(mode="json", include=kept))[:12]


def quality_score(values: pl.DataFrame, weights: Mapping[Assessment, Weight]) -> pl.Series:
    """Return the weighted mean of normalised assessments, 0..1, shape (n,); null where none was computable.

    An assessment counts 0 at `worst`, 1 at `best`, linear and clipped between; missing ones leave the mean.

    Args:
        values: one column per assessment name, shape (n, names).
        weights: by assessment name.
    """
    parts = [
        ((pl.col(name) - weight.worst) / (weight.best - weight.worst)).clip(0.0, 1.0).alias(name)
        for name, weight in weights.items()
    ]
    normal = values.select(parts)
    weighted = normal.select(
        pl.sum_horizontal(pl.col(name) * weight.weight for name, weight in weights.items()).alias("sum")
    )
    present = normal.select(
        pl.sum_horizontal(pl.col(name).is_not_null() * weight.weight for name, weight in weights.items()).alias("sum")
    )
    score = weighted["sum"] / present["sum"]
    return score.fill_nan(None).rename("quality_score")


def decide(
    samples: pl.DataFrame,
    assessments: pl.DataFrame,
    *,
    model: RecipeModel,
    superseded_before: int,
    human: pl.DataFrame,
    at: datetime,
    owed: Mapping[str, int] | None,
) -> pl.DataFrame:
    """Return one decision per sample, shape (n, 9) by the contract, in plan order.

    Rules are asked in the order of `REASON_OF`. What passes is accepted up to what each label owes, in plan order;
    the rest is surplus and is promoted before anything new is generated. Human decisions stand, and what a person
    accepted is counted first.

    Args:
        samples: all samples of the batch, shape (n, 14).
        assessments: long, shape (n x names, 9).
        model: the recipe.
        superseded_before: samples of earlier attempts than this are superseded; 0 supersedes none.
        human: decisions of people that stand, shape (h, 9).
        at: time of the decision.
        owed: what is owed by label, more than which is surplus; None where nobody promised anything.
    """
    ordered = samples.sort("attempt", "ordinal", "position")
    values = _wide(ordered, assessments)
    scores = quality_score(values, model.quality_score)
    reasons = _machine_reasons(ordered, values, model, superseded_before)
    by_hand = {row["sample_id"]: row for row in human.iter_rows(named=True)}
    room = dict(owed or {})
    for label in _accepted_by_hand(ordered, human):
        room[label] = room.get(label, 0) - 1
    rules = rules_id(model)
    rows = []
    for row, broken, score in zip(ordered.iter_rows(named=True), reasons, scores, strict=True):
        person = by_hand.get(row["sample_id"])
        if person is not None:
            rows.append(person)
            continue
        reason = broken
        if broken is None:
            label = row["label"] or UNLABELLED
            room[label] = room.get(label, 0) - 1
            reason = RejectReason.SURPLUS if owed is not None and room[label] < 0 else None
        rows.append(
            {
                "dataset": row["dataset"],
                "batch": row["batch"],
                "sample_id": row["sample_id"],
                "decision": Decision.REJECTED if reason else Decision.ACCEPTED,
                "reason": reason,
                "quality_score": score,
                "source_type": Source.CODE,
                "source_id": rules,
                "decided_at": at,
            }
        )
    return TABLES["decisions"].frame(rows)


def _accepted_by_hand(samples: pl.DataFrame, human: pl.DataFrame) -> list[str]:
    """Labels of the samples a person accepted: they count before what a machine would accept."""
    accepted = human.filter(pl.col("decision") == Decision.ACCEPTED)
    return samples.join(accepted, on="sample_id", how="semi")["label"].fill_null(UNLABELLED).to_list()


def _wide(ordered: pl.DataFrame, assessments: pl.DataFrame) -> pl.DataFrame:
    """One row per sample in order, one Float64 column per assessment name, null where there is none."""
    wide = ordered.select("sample_id")
    for name in REASON_OF:
        column = assessments.filter(pl.col("name") == name).select("sample_id", pl.col("value").alias(name))
        wide = wide.join(column, on="sample_id", how="left", maintain_order="left")
    return wide


def _machine_reasons(
    ordered: pl.DataFrame, values: pl.DataFrame, model: RecipeModel, superseded_before: int
) -> list[RejectReason | None]:
    reasons: list[RejectReason | None] = []
    for attempt, row in zip(ordered["attempt"], values.iter_rows(named=True), strict=True):
        broken = (
            REASON_OF[name] for name in REASON_OF if name in model.rules and not model.rules[name].admits(row[name])
        )
        reasons.append(RejectReason.SUPERSEDED if attempt < superseded_before else next(broken, None))
    return reasons


def split_of(content_sha256: str, shares: Mapping[str, float]) -> str:
    """Return the split a sample belongs to: a pure function of its content hash and the recipe's shares.

    Example:
        >>> split_of("00" * 32, {"train": 0.9, "test": 0.1})
        'train'
    """
    point = int(content_sha256[:ID_LENGTH], 16) / 16**ID_LENGTH
    edge = 0.0
    for name in SPLITS:  # not in the order of the keys: equal shares make equal splits
        edge += shares.get(name, 0.0)
        if point < edge:
            return name
    return next(name for name in reversed(SPLITS) if shares.get(name))  # rounding may leave a crumb at the very end


def training_examples(samples: pl.DataFrame, decisions: pl.DataFrame, *, shares: Mapping[str, float]) -> pl.DataFrame:
    """Return the accepted samples with their split, shape (k, 7) by the contract, in plan order."""
    accepted = decisions.filter(pl.col("decision") == Decision.ACCEPTED).select("sample_id", "quality_score")
    rows = samples.sort("attempt", "ordinal", "position").join(
        accepted, on="sample_id", how="inner", maintain_order="left"
    )
    split = pl.Series("split", [split_of(sha, shares) for sha in rows["content_sha256"]], dtype=pl.String)
    return rows.with_columns(split).select(list(TABLES["training_examples"].dtypes))
