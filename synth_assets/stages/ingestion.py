"""Samples made elsewhere enter a batch: planned as one answered request per row, then judged like any other."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from synth_assets.checks.calendar import refuse_moved
from synth_assets.checks.evidence import read_evidence
from synth_assets.domain import fingerprints
from synth_assets.domain.drafting import draft
from synth_assets.domain.ingestion import INGESTED_SCHEMA, Drop, adopt_rows, conversations_of, names_of
from synth_assets.domain.transactions import Change, Lake, Swap
from synth_assets.errors import RefusedError, UsageError
from synth_assets.stages.asking import Asked
from synth_assets.stages.generation import commit_attempt, finish_generated, stored_payload
from synth_assets.stages.work import Finished, Work, Written
from synth_assets.vocabulary import Stage

SOURCE_FILE = "ingested_file"
"""Kind of the payload that keeps a file as it came."""


def plan(work: Work, drop: Drop) -> Finished:
    """Open an attempt of one request per row, in a batch that holds nothing generated.

    The same bytes are planned once: in the batch that holds them the plan there is is read again.

    Raises:
        UsageError: no row has a text and a label of the recipe.
        RefusedError: the batch holds generated samples or an open attempt, or another batch holds the same bytes.
    """
    refuse_moved(work.lake, work.recipe)
    batch = work.row()
    stored = work.lake.put(drop.data, ".drop")
    known = known_drops(work.lake, work.recipe.dataset).get(stored.sha256)
    if known is not None:
        return _taken_in_before(work, known, drop.name)
    _refuse_generated(work, batch)
    attempt = batch["attempts"] + 1
    model = work.recipe.model
    adopted = adopt_rows(drop.rows, model, drop.origin, batch=work.batch, attempt=attempt)
    usable = adopted.answers["text"].count()
    if usable == 0:
        wanted = " and ".join(f"`{name}`" for name in names_of(model, drop.origin).values())
        labelled = f" and one of the labels {', '.join(model.labels)} in `{drop.origin.label_field}`"
        raise UsageError(
            f"no row has a text in {wanted}{labelled if model.labels else ''}",
            where=drop.name,
            fix="name the fields with --text-field and --label-field",
        )
    prompts, answers = work.lake.put_frame(adopted.plan.prompts), work.lake.put_frame(adopted.answers)
    new = adopted.plan.requests.with_columns(pl.lit(prompts.sha256).alias("object_sha256"))
    before = work.lake.read("requests", **work.here)
    new = new.select(before.columns)
    opened = {"attempts": attempt, "open_attempt": attempt, "promised": 0}
    return work.finish(
        Stage.GENERATION_PLAN,
        [],
        Written(
            read=work.recipe.sha256,
            wrote=fingerprints.of_plan(pl.concat([before, new])),
            facts={
                "planned": before.height + new.height,
                "opened": new.height,
                "attempts": attempt,
                "generator": drop.origin.generator,
                "without_sample": new.height - usable,
                "source_sha256": stored.sha256,
            },
            changes=[Change("requests", new)],
            swaps=[
                Swap(
                    "batches", work.here, {"attempts": batch["attempts"], "open_attempt": batch["open_attempt"]}, opened
                )
            ],
            payload=[
                ("prompts", work.batch, prompts),
                ("ingested", work.batch, answers),
                (SOURCE_FILE, work.batch, stored),
            ],
        ),
    )


def adopt(work: Work) -> Finished:
    """Turn the rows of the open attempt into samples; with none open, judge again what is there."""
    read = work.written_by(Stage.GENERATION_PLAN)
    evidence = read_evidence(work.lake, work.recipe.model, work.batch, protected=())
    attempt = evidence.batch["open_attempt"]
    if attempt is None:
        return finish_generated(work, evidence, read=read)
    requests = evidence.requests.filter(pl.col("attempt") == attempt).sort("ordinal")
    ingested = work.lake.payload("ingested", INGESTED_SCHEMA, **work.here)
    conversations = conversations_of(requests, ingested, work.recipe.model)
    drafts, payload = stored_payload(work, draft(requests, conversations, model=work.recipe.model))
    return commit_attempt(work, evidence, Asked(drafts, stop=None, paid_now=0, trip=None), payload=payload, read=read)


def batch_for(keys: Sequence[str], batches: pl.DataFrame) -> str | None:
    """Return the batch that takes in samples when nobody names one; None if none can.

    The latest past period in which nothing was generated; the current one only if there is no other, because its
    schedule may still come.

    Args:
        keys: all partition keys, oldest first.
        batches: rows of `batches`.
    """
    taken = set(batches.filter((pl.col("attempts") > 0) & (pl.col("promised") > 0))["batch"])
    free = [key for key in keys if key not in taken]
    past = [key for key in free if key != keys[-1]]
    return past[-1] if past else next(iter(free), None)


def known_drops(lake: Lake, dataset: str) -> dict[str, str]:
    """Return the batch that took in a file, by the hash of the file's bytes."""
    found = lake.read("objects", dataset=dataset, kind=SOURCE_FILE)
    return dict(zip(found["object_sha256"], found["batch"], strict=True))


def _taken_in_before(work: Work, batch: str, name: str) -> Finished:
    """Return the plan there is, where this batch holds the same bytes; a worker that died after it is tried again.

    Raises:
        RefusedError: another batch holds them.
    """
    if batch != work.batch:
        raise RefusedError(
            f"the same rows were taken in before, as batch {batch}; nothing was changed",
            where=name,
            fix=f"`synth status {work.recipe.dataset}` shows that batch",
        )
    requests = work.lake.read("requests", **work.here)
    because = "the same rows were taken in before"
    facts = {"planned": requests.height, "opened": 0, "attempts": work.row()["attempts"], "because": because}
    return Finished(Stage.GENERATION_PLAN, [], fingerprints.of_plan(requests), facts)


def _refuse_generated(work: Work, batch: Mapping[str, Any]) -> None:
    if batch["attempts"] > 0 and batch["promised"] > 0:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch} holds generated samples; ingested ones need a batch of their own",
            where=f"{work.recipe.dataset}, partition {work.batch}",
            fix="name another batch with --batch",
        )
    if batch["open_attempt"] is not None:
        raise RefusedError(
            f"attempt {batch['open_attempt']} of {work.recipe.dataset} {work.batch} is not finished yet",
            where=f"{work.recipe.dataset}, partition {work.batch}",
            fix=f"`synth run {work.recipe.dataset} --batch {work.batch}` first",
        )
