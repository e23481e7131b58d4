"""The two stages that may pay: opening an attempt, and working it off."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from resources.garbage import rarely_collected
from synth_assets.checks.calendar import refuse_moved
from synth_assets.checks.evidence import Evidence, read_generated
from synth_assets.checks.gates import judge
from synth_assets.checks.promises import promise_of
from synth_assets.domain import fingerprints
from synth_assets.domain.allotment import told
from synth_assets.domain.drafting import MAY_HAVE_COST, Drafts
from synth_assets.domain.planning import PROMPTS_SCHEMA, plan_attempt, requests_for
from synth_assets.domain.ports import Generator, Routing, Stop
from synth_assets.domain.transactions import Change, Commit, Payload, Swap
from synth_assets.errors import RefusedError, StoppedError, SynthError
from synth_assets.stages.asking import Questions, ask, money_left, planned_templates
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt
from synth_assets.stages.refusals import missing_price, other_model
from synth_assets.stages.work import Finished, Work, Written
from synth_assets.vocabulary import Outcome, Stage

TRIES = 20
"""Plans made anew because another batch took its numbers meanwhile."""


def plan(work: Work, routing: Routing, *, regenerate: bool, promise: int | None) -> Finished:
    """Open an attempt if the batch needs one; otherwise re-read the plan there is.

    Args:
        work: the bench.
        routing: whom the requests will be addressed to.
        regenerate: open an attempt for the whole promise, whatever there is; its `curated` supersedes the old samples.
        promise: another number of accepted samples than the batch owes; None keeps its promise.

    Raises:
        UsageError: the recipe has a budget, and a model it would ask has no price; or it names its batches otherwise.
        RefusedError: the batch holds ingested samples, or answers that are not committed yet.
    """
    refuse_moved(work.lake, work.recipe)
    _refuse_ingested(work, regenerate=regenerate, promise=promise)
    for tries in range(1, TRIES + 1):
        due = work.lake.read("label_balances", dataset=work.recipe.dataset)
        try:
            return _planned(work, routing, regenerate=regenerate, promise=promise)
        except RefusedError:  # another batch may have taken its numbers while this one was planned
            is_moved = not due.equals(work.lake.read("label_balances", dataset=work.recipe.dataset))
            if not is_moved or tries == TRIES:
                raise
    raise AssertionError("the last try returns or raises")


def _planned(work: Work, routing: Routing, *, regenerate: bool, promise: int | None) -> Finished:
    if promise is not None:
        work = _promised(work, promise)
    batch = work.row()
    requests = work.lake.read("requests", **work.here)
    prospect = next_attempt(work.lake, work.recipe, work.batch)
    missing = prospect.promise.owed if regenerate else prospect.missing
    if regenerate:
        _refuse_uncommitted(work, batch)
    elif prospect.because is not None:
        facts = {"planned": requests.height, "opened": 0, "attempts": batch["attempts"], "because": prospect.because}
        return Finished(Stage.GENERATION_PLAN, [], fingerprints.of_plan(requests), facts)
    if (unpriced := missing_price(work.recipe, routing)) is not None:
        raise unpriced
    attempt = batch["attempts"] + 1
    planned = plan_attempt(
        work.recipe,
        routing,
        batch=work.batch,
        attempt=attempt,
        wanted=requests_for(work.recipe.model, missing),
        past=past_of(work.lake, work.recipe, routing, work.batch),
    )
    stored = work.lake.put_frame(planned.prompts)
    new = planned.requests.with_columns(pl.lit(stored.sha256).alias("object_sha256")).select(requests.columns)
    opened = {"attempts": attempt, "open_attempt": attempt, "promised": work.recipe.model.batch.accept}
    opened |= {"max_attempts": work.recipe.model.batch.max_attempts} | ({"current_from": attempt} if regenerate else {})
    return work.finish(
        Stage.GENERATION_PLAN,
        [],
        Written(
            read=work.recipe.sha256,
            wrote=fingerprints.of_plan(pl.concat([requests, new])),
            facts={
                "planned": requests.height + new.height,
                "opened": new.height,
                "attempts": attempt,
                "missing": sum(missing.values()),
                "prompts": told(planned.allocations),
            },
            changes=[
                Change("requests", new),
                Change("prompt_allocations", planned.allocations),
                *prospect.promise.changes,
            ],
            swaps=[
                *prospect.promise.swaps,
                Swap(
                    "batches", work.here, {"attempts": batch["attempts"], "open_attempt": batch["open_attempt"]}, opened
                ),
            ],
            payload=[("prompts", work.batch, stored)],
        ),
    )


def _refuse_ingested(work: Work, *, regenerate: bool, promise: int | None) -> None:
    if (regenerate or promise is not None) and work.is_ingested:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch} holds ingested samples: nothing is generated for it",
            where=f"{work.recipe.dataset}/{Stage.GENERATION_PLAN}, partition {work.batch}",
            fix="run another batch",
        )


def _promised(work: Work, promise: int) -> Work:
    """Record another promise for the batch and return the bench under it."""
    if work.row()["promised"] != promise:
        there = work.lake.read("batch_labels", **work.here).height > 0
        numbers = promise_of(work.lake, work.recipe.promising(promise).model, work.batch) if there else None
        work.lake.commit(
            Commit(
                dataset=work.recipe.dataset,
                key=f"promise:{work.recipe.dataset}:{work.batch}:{work.run_id}",
                action="promise",
                run_id=work.run_id,
                details={"batch": work.batch, "promised": promise},
                changes=numbers.changes if numbers else [],
                swaps=[
                    *work.guards(),
                    Swap("batches", work.here, {}, {"promised": promise}),
                    *(numbers.swaps if numbers else []),
                ],
            )
        )
    return replace(work, recipe=work.recipe.promising(promise))


def _refuse_uncommitted(work: Work, batch: Mapping[str, Any]) -> None:
    """Refuse to leave behind an attempt whose answers may be paid but are not committed yet."""
    attempt = batch["open_attempt"]
    if attempt is None:
        return
    planned = work.lake.read("requests", **work.here, attempt=attempt).height
    if work.lake.read("generations", **work.here, attempt=attempt).height < planned:
        raise RefusedError(
            f"attempt {attempt} of {work.recipe.dataset} {work.batch} may hold paid answers that are not committed yet",
            where=f"{work.recipe.dataset}/generated, partition {work.batch}",
            fix="run once more without --regenerate, then with it",
        )


@rarely_collected()
def generate(work: Work, generator: Generator, *, progress: Callable[[int, int], None]) -> Finished:
    """Work off the open attempt; with none open, judge again what is there and pay nothing.

    Raises:
        RefusedError: nothing was planned, or the plan addresses another model.
    """
    read = work.written_by(Stage.GENERATION_PLAN)
    evidence = read_generated(work.lake, work.recipe.model, work.batch)
    batch = evidence.batch
    if batch["open_attempt"] is None:
        return finish_generated(work, evidence, read=read)
    evidence = replace(evidence, requests=evidence.requests.sort("attempt", "ordinal"))
    # The open attempt is the latest: its requests are the last ones, and a view of them takes no room.
    requests = evidence.requests.tail(int((evidence.requests["attempt"] == batch["open_attempt"]).sum()))
    prompts = work.lake.payload("prompts", PROMPTS_SCHEMA, **work.here)
    if (unknown := other_model(work.recipe, work.batch, requests, prompts, generator.routing)) is not None:
        raise unknown
    payload: list[Payload] = []

    def keep(part: Drafts) -> Drafts:
        rows, stored = stored_payload(work, part)
        payload.extend(stored)
        return rows

    asked = ask(
        work,
        Questions(requests, prompts, planned_templates(work.lake, work.recipe, evidence.templates, requests, prompts)),
        generator,
        money_usd=money_left(work, evidence, batch["open_attempt"]),
        progress=progress,
        keep=keep,
    )
    del requests, prompts  # the commit needs the room
    return commit_attempt(
        work, evidence, asked.drafts, payload=payload, stop=asked.stop, paid_now=asked.paid_now, read=read
    )


def stored_payload(work: Work, drafts: Drafts) -> tuple[Drafts, list[Payload]]:
    """Store what drafts hold of text; return their rows without it, and what a commit names."""
    answers, texts = work.lake.put_frame(drafts.answers), work.lake.put_frame(drafts.texts)
    is_answered = pl.col("generation_id").is_in(drafts.answers["generation_id"].to_list())
    answered = pl.when(is_answered).then(pl.lit(answers.sha256)).otherwise(pl.col("object_sha256"))
    rows = replace(
        drafts,
        generations=drafts.generations.with_columns(answered.alias("object_sha256")),
        samples=drafts.samples.with_columns(pl.lit(texts.sha256).alias("object_sha256")),
        answers=drafts.answers.clear(),
        texts=drafts.texts.clear(),
    )
    return rows, [("answers", work.batch, answers), ("texts", work.batch, texts)]


def commit_attempt(
    work: Work,
    evidence: Evidence,
    drafts: Drafts,
    *,
    payload: Sequence[Payload],
    stop: Stop | None,
    paid_now: int,
    read: str,
) -> Finished:
    """Commit how the requests of the open attempt ended; it stays open while one of them was not sent."""
    attempt = evidence.batch["open_attempt"]
    is_open = drafts.generations.filter(pl.col("outcome") == Outcome.NOT_SENT).height > 0
    old = pl.col("attempt") != attempt
    evidence = replace(
        evidence,
        generations=pl.concat([evidence.generations.filter(old), drafts.generations]),
        samples=pl.concat([evidence.samples.filter(old), drafts.samples]),
    )
    here = {**work.here, "attempt": attempt}
    swaps = [Swap("batches", work.here, {"open_attempt": attempt}, {} if is_open else {"open_attempt": None})]
    return finish_generated(
        work,
        evidence,
        read=read,
        changes=[
            Change("generations", drafts.generations, here),
            Change("steps", drafts.steps, here),
            Change("samples", drafts.samples, here),
        ],
        swaps=swaps,
        payload=payload,
        stop=_stopped(stop),
        paid_now=paid_now,
    )


def finish_generated(work: Work, evidence: Evidence, *, read: str, paid_now: int = 0, **written: Any) -> Finished:
    """Judge `generated` and commit it, with the numbers a person looks at."""
    generations = evidence.generations
    facts = {
        "planned": evidence.requests.height,
        **{str(each): generations.filter(pl.col("outcome") == each).height for each in Outcome},
        "samples": evidence.samples.height,
        "paid_now": paid_now,
        "input_tokens": int(generations["input_tokens"].sum() or 0),
        "output_tokens": int(generations["output_tokens"].sum() or 0),
        "calls": int(generations["calls"].sum() or 0),
        "model_s": round(float(generations["latency_s"].sum() or 0.0), 3),
    }
    paid = generations.filter(MAY_HAVE_COST)
    if paid["cost_usd"].null_count() == 0:
        facts["cost_usd"] = math.fsum(paid["cost_usd"])
    wrote = fingerprints.of_generated(generations, evidence.samples)
    return work.finish(
        Stage.GENERATED, judge(Stage.GENERATED, evidence), Written(read=read, wrote=wrote, facts=facts, **written)
    )


def _stopped(stop: Stop | None) -> SynthError | None:
    if stop is None:
        return None
    return StoppedError(
        f"generation stopped: {stop.reason}; every finished answer is kept", where=stop.where, fix=stop.fix
    )
