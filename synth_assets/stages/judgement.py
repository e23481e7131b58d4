"""The stages that judge: measuring every sample, deciding on it, and making examples of the accepted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from synth_assets.canonical import digest
from synth_assets.checks.evidence import Evidence, read_evidence, texts_of
from synth_assets.checks.gates import judge
from synth_assets.domain import fingerprints
from synth_assets.domain.curation import decide, training_examples
from synth_assets.domain.ports import Embedder, LabelledTexts
from synth_assets.domain.scoring import SCORERS, Context, assess, source_id
from synth_assets.domain.tagging import Tagged, tag
from synth_assets.domain.transactions import Change, StoredObject
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.tags import CentroidsTag
from synth_assets.stages.revisions import ended_red, kept_revision
from synth_assets.stages.work import Finished, Work, Written
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Assessment, Decision, Source, Stage

EMBEDDINGS_SCHEMA = {"sample_id": pl.String, "embedder": pl.String, "vector": pl.List(pl.Float32)}
"""Payload of embeddings: they are made of text, so they live where text lives."""

NO_VECTORS = np.zeros((0, 0), dtype=np.float32)

Stored = tuple[str, str | None, StoredObject]
"""A payload object with its kind and batch, as a commit names it."""


@dataclass(frozen=True)
class Measured:
    """What was found out about the samples of a batch.

    Attributes:
        assessments: all of them, shape (samples x scorers, 9) by the contract.
        new: samples that were measured now.
        tags: rows of `tags`.
        payload: embeddings that were made.
    """

    assessments: pl.DataFrame
    new: int
    tags: pl.DataFrame
    payload: Sequence[Stored] = ()


def measure(
    work: Work, evidence: Evidence, embedder: Embedder, protected: LabelledTexts, *, may_store: bool = True
) -> Measured:
    """Give every sample its missing or outdated assessments, and its tags; nothing is committed.

    Args:
        work: the bench.
        evidence: what there is of the batch; its samples need not be in the lake.
        embedder: makes the vectors some scorers compare.
        protected: rows no sample may resemble.
        may_store: whether embeddings are written as payload.
    """
    context = _context(work.recipe, embedder, protected)
    kept, outdated = _present(evidence, {name.value: source_id(SCORERS[name], context) for name in Assessment})
    rules = work.recipe.model.tags
    samples, vectors, stored = _samples(evidence, outdated), NO_VECTORS, []
    if outdated or any(isinstance(rule, CentroidsTag) for rule in rules.values()):
        vectors, stored = _embeddings(work, embedder, samples, may_store=may_store)
    context = replace(context, embeddings=vectors)
    measured = _measured(work, evidence, samples, context, embedder) if outdated else kept.clear()
    assessments = pl.concat([kept, measured])
    found = tag(Tagged(samples, assessments, vectors, embedder), rules)
    tags = _rows("tags", found.with_columns(pl.lit(work.now()).alias("tagged_at")), work)
    return Measured(assessments, len(outdated), tags, stored)


def score(work: Work, embedder: Embedder, protected: LabelledTexts) -> Finished:
    """Give every sample its missing or outdated assessments; those it has stand. Tags are found anew each time."""
    read = work.written_by(Stage.GENERATED)
    evidence = read_evidence(work.lake, work.recipe.model, work.batch, protected=())
    measured = measure(work, evidence, embedder, protected)
    assessments, tags = measured.assessments, measured.tags
    evidence = replace(evidence, assessments=assessments, tags=tags)
    return work.finish(
        Stage.SCORED,
        judge(Stage.SCORED, evidence),
        Written(
            read=read,
            wrote=fingerprints.of_scored(assessments),
            facts={
                "samples": evidence.samples.height,
                "measured": measured.new,
                "assessments": assessments.height,
                **_means(assessments),
                **_tag_counts(tags, work.recipe.model.tags),
            },
            changes=[Change("assessments", assessments, work.here), Change("tags", tags, work.here)],
            payload=measured.payload,
            end=partial(ended_red, work, evidence),
        ),
    )


def _context(recipe: Recipe, embedder: Embedder, protected: LabelledTexts) -> Context:
    """Return what samples are measured against, as far as it decides whether an assessment is outdated."""
    return Context(
        language=recipe.model.language,
        pii_regions=tuple(recipe.model.pii_regions),
        shots=[row.fields["text"] for row in recipe.shots],
        protected=protected,
        earlier=pl.DataFrame(schema={"sample_id": pl.String, "text": pl.String}),
        embeddings=NO_VECTORS,
        earlier_embeddings=NO_VECTORS,
        embedder=embedder.name,
    )


def _samples(evidence: Evidence, outdated: list[str]) -> pl.DataFrame:
    """Return the batch's samples in plan order with text and what their request says; `is_new` marks the outdated."""
    logprobs = evidence.generations.select("request_id", "mean_logprob")
    return (
        evidence.samples.sort("attempt", "ordinal", "position")
        .join(evidence.texts, on="sample_id", how="left", maintain_order="left")
        .join(logprobs, on="request_id", how="left", maintain_order="left")
        .join(evidence.requests.select("request_id", "axes"), on="request_id", how="left", maintain_order="left")
        .with_columns(pl.col("sample_id").is_in(outdated).alias("is_new"))
    )


def _measured(
    work: Work, evidence: Evidence, samples: pl.DataFrame, context: Context, embedder: Embedder
) -> pl.DataFrame:
    """Measure the outdated samples, in the company of all others of the batch and of what other batches accepted."""
    accepted_texts = texts_of(work.lake, dataset=work.recipe.dataset)
    earlier = evidence.earlier.select("sample_id").join(accepted_texts, on="sample_id", maintain_order="left")
    earlier_vectors, _ = _embeddings(work, embedder, earlier, may_store=False)
    context = replace(context, earlier=earlier, earlier_embeddings=earlier_vectors)
    frame = samples.select("sample_id", "text", "label", "language", "mean_logprob", "is_new")
    measured = assess(frame, context, names=[name.value for name in Assessment])
    by_code = pl.lit(str(Source.CODE)).alias("source_type")
    return _rows("assessments", measured.with_columns(by_code, pl.lit(work.now()).alias("assessed_at")), work)


def _present(evidence: Evidence, sources: dict[str, str]) -> tuple[pl.DataFrame, list[str]]:
    """Return the assessments that stand, and the samples that lack one or have it from an outdated source."""
    wanted = pl.DataFrame({"name": list(sources), "source_id": list(sources.values())})
    current = evidence.assessments.join(wanted, on=["name", "source_id"], how="semi")
    whole = current.group_by("sample_id").len().filter(pl.col("len") == len(sources))["sample_id"].to_list()
    outdated = evidence.samples.filter(~pl.col("sample_id").is_in(whole))["sample_id"].to_list()
    return evidence.assessments.filter(pl.col("sample_id").is_in(whole)).select(evidence.assessments.columns), outdated


def _rows(table: str, found: pl.DataFrame, work: Work) -> pl.DataFrame:
    dtypes = TABLES[table].dtypes
    here = [pl.lit(value).alias(name) for name, value in work.here.items()]
    return found.with_columns(here).select(list(dtypes)).cast(dtypes)


def _tag_counts(tags: pl.DataFrame, rules: Iterable[str]) -> dict[str, dict[str, int]]:
    counts = tags.group_by("name", "value").len().sort("name", "value")
    return {f"tag_{each}": dict(counts.filter(pl.col("name") == each)["value", "len"].iter_rows()) for each in rules}


def _means(assessments: pl.DataFrame) -> dict[str, float]:
    means = assessments.group_by("name").agg(pl.col("value").mean()).drop_nulls().sort("name")
    return {f"mean_{name}": round(value, 4) for name, value in means.iter_rows()}


def _embeddings(
    work: Work, embedder: Embedder, texts: pl.DataFrame, *, may_store: bool = True
) -> tuple[np.ndarray, list[Stored]]:
    """Return the vectors of texts in order, embedding only what is not stored yet, and the new payload."""
    known = work.lake.payload("embeddings", EMBEDDINGS_SCHEMA, dataset=work.recipe.dataset)
    known = known.filter(pl.col("embedder") == embedder.name).unique("sample_id", keep="last")
    vectors = dict(zip(known["sample_id"], known["vector"], strict=True))
    new = texts.filter(~pl.col("sample_id").is_in(list(vectors)))
    stored: list[Stored] = []
    if new.height:
        fresh = embedder.embed(new["text"].to_list())
        frame = pl.DataFrame(
            {
                "sample_id": new["sample_id"],
                "embedder": [embedder.name] * new.height,
                "vector": fresh.astype(np.float32).tolist(),
            },
            schema=EMBEDDINGS_SCHEMA,
        )
        vectors |= dict(zip(frame["sample_id"], frame["vector"], strict=True))
        if may_store:
            stored = [("embeddings", work.batch, work.lake.put_frame(frame))]
    if texts.is_empty():
        return np.zeros((0, embedder.embed(["."]).shape[1]), dtype=np.float32), stored
    return np.array([vectors[each] for each in texts["sample_id"]], dtype=np.float32), stored


def curate(work: Work) -> Finished:
    """Decide on every sample of the batch by the present recipe; what people decided stands."""
    read = work.written_by(Stage.SCORED)
    evidence = read_evidence(work.lake, work.recipe.model, work.batch, protected=())
    decisions = decide(
        evidence.samples,
        evidence.assessments,
        model=work.recipe.model,
        superseded_before=evidence.batch["current_from"],
        human=evidence.decisions.filter(pl.col("source_type") == Source.HUMAN),
        at=work.now(),
        owed=None if evidence.is_ingested else evidence.owed,
    )
    evidence = replace(evidence, decisions=decisions)
    counts = {str(each): decisions.filter(pl.col("decision") == each).height for each in Decision}
    reasons = decisions.drop_nulls("reason").group_by("reason").len().sort("reason")
    facts = {
        "samples": evidence.samples.height,
        **counts,
        "promised": evidence.batch["promised"],
        "acceptance": round(counts["accepted"] / max(1, evidence.samples.height), 4),
        **{f"rejected_{reason}": count for reason, count in reasons.iter_rows()},
    }
    mean = decisions.filter(pl.col("decision") == Decision.ACCEPTED)["quality_score"].mean()
    if mean is not None:
        facts["quality_score"] = round(float(str(mean)), 4)
    return work.finish(
        Stage.CURATED,
        judge(Stage.CURATED, evidence),
        Written(
            read=read,
            wrote=fingerprints.of_curated(decisions),
            facts=facts,
            changes=[Change("decisions", decisions, work.here)],
            end=partial(ended_red, work, evidence),
        ),
    )


def make_ready(work: Work, protected: LabelledTexts) -> Finished:
    """Make training examples of what was accepted, and look at their texts once more."""
    read = work.written_by(Stage.CURATED)
    evidence = read_evidence(work.lake, work.recipe.model, work.batch, protected=tuple(protected.rows["text"]))
    examples = training_examples(evidence.samples, evidence.decisions, shares=work.recipe.model.splits)
    evidence = replace(evidence, examples=examples)
    splits = examples.group_by("split").len().sort("split")
    return work.finish(
        Stage.TRAINING_READY,
        judge(Stage.TRAINING_READY, evidence),
        Written(
            read=read,
            wrote=fingerprints.of_training_ready(examples),
            facts={
                "examples": examples.height,
                **dict(splits.iter_rows()),
                "digest": digest(sorted(examples["content_sha256"])),
            },
            changes=[Change("training_examples", examples, work.here)],
            audit={"protected": len(evidence.protected)},
            keep=partial(kept_revision, work, evidence),
            end=partial(ended_red, work, evidence),
        ),
    )
