"""The two stages that may pay: opening an attempt, and working it off."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl

from resources.garbage import rarely_collected
from resources.journal import prefixes
from synth_assets.checks.calendar import gap_before, refuse_moved
from synth_assets.checks.evidence import Evidence, models_of, read_generated
from synth_assets.checks.gates import judge
from synth_assets.checks.promises import Promise
from synth_assets.checks.proof import proven
from synth_assets.domain import fingerprints
from synth_assets.domain.allotment import told
from synth_assets.domain.drafting import MAY_HAVE_COST, Drafts
from synth_assets.domain.planning import PROMPTS_SCHEMA, plan_attempt, requests_for
from synth_assets.domain.ports import Generator, Routing, Stop
from synth_assets.domain.transactions import Change, Commit, Payload, Swap
from synth_assets.errors import RefusedError, StoppedError, SynthError
from synth_assets.stages.asking import Asked, Questions, ask, money_left, planned_templates
from synth_assets.stages.breaking import asked_with, breaker_of, still_broken, stop_of
from synth_assets.stages.journaled import prove_journal
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import Asking, next_attempt
from synth_assets.stages.refusals import missing_price, other_model
from synth_assets.stages.revisions import ended_red
from synth_assets.stages.work import Finished, Work, Written
from synth_assets.vocabulary import Outcome, QuarantineReason, Stage

TRIES = 20
"""Plans made anew because another batch took its numbers meanwhile."""


@dataclass(frozen=True)
class Wish:
    """What a person asks of a plan.

    Attributes:
        regenerate: open an attempt for the whole promise, whatever there is; its `curated` supersedes the old samples.
        promise: another number of accepted samples than the batch owes; None keeps its promise.
        anyway: go on with an attempt that the breaker stopped, or open one like it.
    """

    regenerate: bool = False
    promise: int | None = None
    anyway: bool = False


def plan(work: Work, routing: Routing, wish: Wish) -> Finished:
    """Open an attempt if the batch needs one; otherwise re-read the plan there is.

    An attempt that the breaker stopped is closed if templates, models or the reader of answers have changed since.
    Whatever can be refused is refused before anything is recorded.

    Args:
        work: the bench.
        routing: whom the requests will be addressed to.
        wish: what the person asks for.

    Raises:
        UsageError: the recipe has a budget, and a model it would ask has no price; or it names its batches otherwise.
        RefusedError: the batch holds ingested samples, or answers that are not committed yet.
        StoppedError: it is to be made anew, but the breaker stopped it, and nothing has changed since.
    """
    refuse_moved(work.lake, work.recipe)
    _refuse_ingested(work, wish)
    for tries in range(1, TRIES + 1):
        due = work.lake.read("label_balances", dataset=work.recipe.dataset)
        try:
            return _planned(work, routing, wish)
        except RefusedError:  # another batch may have taken its numbers while this one was planned
            is_moved = not due.equals(work.lake.read("label_balances", dataset=work.recipe.dataset))
            if not is_moved or tries == TRIES:
                raise
    raise AssertionError("the last try returns or raises")


def _planned(work: Work, routing: Routing, wish: Wish) -> Finished:
    batch = work.row()
    if wish.promise is not None:
        work = replace(work, recipe=work.recipe.promising(wish.promise))
    requests = work.lake.read("requests", **work.here)
    prospect = next_attempt(work.lake, work.recipe, work.batch, wish_of(work, routing, wish))
    missing = prospect.promise.owed if wish.regenerate else prospect.missing
    if wish.regenerate:
        if prospect.is_tripped and not wish.anyway:
            raise still_broken(work.lake, work.recipe, work.batch, batch["tripped_attempt"])
        _refuse_uncommitted(work, batch)
    elif prospect.because is not None:
        _keep_wish(work, batch, wish, prospect.promise)
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
    was_broken = batch["tripped_attempt"] is not None
    opened = {
        "attempts": attempt,
        "open_attempt": attempt,
        "promised": work.recipe.model.batch.accept,
        "max_attempts": work.recipe.model.batch.max_attempts,
        "asked_with": asked_with(work.recipe, routing),
        "tripped_attempt": None,
        "anyway_attempt": attempt if wish.anyway else None,
        "broken_attempts": batch["broken_attempts"] + was_broken,
    }
    opened |= {"current_from": attempt} if wish.regenerate else {}
    gap = gap_before(work.lake.chain(work.recipe.dataset), work.recipe.model, work.batch)
    ahead = {"days_after_the_audit": gap.days} if gap else {}
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
                **ahead,
            },
            audit=ahead,
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


def wish_of(work: Work, routing: Routing, wish: Wish) -> Asking:
    """Return what decides whether an attempt may be opened besides what is stored."""
    return Asking(asked_with=asked_with(work.recipe, routing), promise=wish.promise, anyway=wish.anyway)


def _keep_wish(work: Work, batch: Mapping[str, Any], wish: Wish, promise: Promise) -> None:
    """Record, where no attempt is opened, another promise, and that a stopped attempt goes on."""
    goes_on = wish.anyway and batch["tripped_attempt"] is not None
    changed = {"promised": wish.promise} if wish.promise not in (None, batch["promised"]) else {}
    if goes_on:
        changed |= {"tripped_attempt": None, "anyway_attempt": batch["tripped_attempt"]}
    if not changed:
        return
    action = "anyway" if goes_on else "promise"
    numbers = promise if "promised" in changed else Promise(promise.owed)
    work.lake.commit(
        Commit(
            dataset=work.recipe.dataset,
            key=f"{action}:{work.recipe.dataset}:{work.batch}:{work.run_id}",
            action=action,
            run_id=work.run_id,
            details={"batch": work.batch, **changed},
            changes=numbers.changes,
            swaps=[*work.guards(), Swap("batches", work.here, {}, changed), *numbers.swaps],
        )
    )


def _refuse_ingested(work: Work, wish: Wish) -> None:
    if (wish.regenerate or wish.promise is not None) and work.is_ingested:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch} holds ingested samples: nothing is generated for it",
            where=f"{work.recipe.dataset}/{Stage.GENERATION_PLAN}, partition {work.batch}",
            fix="run another batch",
        )


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
        RefusedError: nothing was planned, the plan addresses another model, or another process took the batch over.
        StoppedError: the breaker stopped the attempt before; nobody was asked.
    """
    read = work.written_by(Stage.GENERATION_PLAN)
    evidence = read_generated(work.lake, work.recipe.model, work.batch)
    batch = evidence.batch
    if batch["open_attempt"] is None:
        return finish_generated(work, evidence, read=read)
    prove_journal(work.lake, work.recipe.dataset, work.batch)
    if batch["asked_with"] is None:  # the attempt was opened before this was recorded
        evidence = replace(evidence, batch={**batch, "asked_with": asked_with(work.recipe, generator.routing)})
    if batch["tripped_attempt"] is not None:
        raise still_broken(work.lake, work.recipe, work.batch, batch["tripped_attempt"])
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
        Questions(
            requests,
            prompts,
            planned_templates(work.lake, work.recipe, evidence.templates, requests, prompts),
            breaker_of(work.lake, work.recipe, batch, requests, prompts),
            _quarantined(evidence.generations, batch["open_attempt"]),
        ),
        generator,
        money_usd=money_left(work, evidence, batch["open_attempt"]),
        progress=progress,
        keep=keep,
    )
    del requests, prompts  # the commit needs the room
    return commit_attempt(work, evidence, asked, payload=payload, read=read)


def _quarantined(generations: pl.DataFrame, attempt: int) -> dict[str, int]:
    """Return what is quarantined of an attempt, for good, with the calls that took."""
    rows = generations.filter(pl.col("attempt") == attempt, pl.col("outcome") == Outcome.QUARANTINED)
    return dict(rows.select("request_id", "calls").iter_rows())


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


def commit_attempt(work: Work, evidence: Evidence, asked: Asked, *, payload: Sequence[Payload], read: str) -> Finished:
    """Commit how the requests of the open attempt ended; it stays open while one of them was not sent."""
    attempt, drafts, stop = evidence.batch["open_attempt"], asked.drafts, _stopped(asked.stop)
    is_unsent = pl.col("outcome") == Outcome.NOT_SENT
    unsent = drafts.generations.filter(is_unsent).height
    after: dict[str, Any] = {} if unsent else {"open_attempt": None}
    if asked.trip is not None:
        # Whatever else stopped it: nothing of it is sent before a person has looked.
        reason = pl.when(is_unsent).then(pl.lit(str(QuarantineReason.BROKEN_PROMPT))).otherwise(pl.col("reason"))
        drafts = replace(drafts, generations=drafts.generations.with_columns(reason.alias("reason")))
        stop = stop_of(asked.trip, work.recipe, work.batch, attempt=attempt, unsent=unsent)
        after |= {"tripped_attempt": attempt, "asked_with": evidence.batch["asked_with"]}
    old = pl.col("attempt") != attempt
    evidence = replace(
        evidence,
        generations=pl.concat([evidence.generations.filter(old), drafts.generations]),
        samples=pl.concat([evidence.samples.filter(old), drafts.samples]),
    )
    here = {**work.here, "attempt": attempt}
    return finish_generated(
        work,
        evidence,
        read=read,
        changes=[
            Change("generations", drafts.generations, here),
            Change("steps", drafts.steps, here),
            Change("samples", drafts.samples, here),
        ],
        swaps=[Swap("batches", work.here, {"open_attempt": attempt}, after)],
        payload=payload,
        stop=stop,
        paid_now=asked.paid_now,
        audit={"journal": [list(each) for each in prefixes(work.lake.home, work.recipe.dataset, work.batch)]},
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
    whole = partial(_whole, work, evidence)
    written["end"] = lambda commit, verdicts: ended_red(work, whole(), commit, verdicts)
    written["audit"] = {"models": models_of(evidence.requests, evidence.samples), **written.get("audit", {})}
    return work.finish(
        Stage.GENERATED, judge(Stage.GENERATED, evidence), Written(read=read, wrote=wrote, facts=facts, **written)
    )


def _whole(work: Work, evidence: Evidence) -> Evidence:
    """Return the evidence with what later stages said of the batch before."""
    assessments, decisions = (proven(work.lake, name, **work.here) for name in ("assessments", "decisions"))
    return replace(evidence, assessments=assessments, decisions=decisions)


def _stopped(stop: Stop | None) -> SynthError | None:
    if stop is None:
        return None
    return StoppedError(
        f"generation stopped: {stop.reason}; every finished answer is kept", where=stop.where, fix=stop.fix
    )
