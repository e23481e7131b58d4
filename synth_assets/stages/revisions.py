"""What a batch held when it was green, kept: releases are cut from this, whatever becomes of the batch afterwards."""

import math
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import stored_json
from synth_assets.checks.evidence import Evidence, fields_of
from synth_assets.checks.proof import stage_commits
from synth_assets.domain.batch_card import BatchCard, batch_card
from synth_assets.domain.comparison import BatchRows, compare, previous_green
from synth_assets.domain.drafting import MAY_HAVE_COST
from synth_assets.domain.history import Revision, revisions
from synth_assets.domain.release import Parts, sample_lines
from synth_assets.domain.transactions import Change, Lake, Payload
from synth_assets.domain.versioning import MEMBER
from synth_assets.stages.work import Work
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Outcome, Stage

LINES = "revision"
"""Kind of the payload that holds the lines of a green revision."""

OF_A_BATCH = [str(stage) for stage in (Stage.GENERATION_PLAN, *BATCH_STAGES)]

LINES_SCHEMA = {**dict.fromkeys(MEMBER, pl.String), "line": pl.Binary}


@dataclass(frozen=True)
class Kept:
    """A revision on its way into the store.

    Attributes:
        facts: what the audit entry says of it: number, lines and figures.
        changes: its row; empty where the revision was kept before.
        payload: lines, card and difference.
    """

    facts: dict[str, Any]
    changes: tuple[Change, ...]
    payload: tuple[Payload, ...]


def kept_revision(work: Work, evidence: Evidence, commit: pl.DataFrame, verdicts: pl.DataFrame) -> Kept:
    """Keep what a batch holds, now that every stage passed.

    Args:
        work: the bench.
        evidence: the batch, its examples as they will be committed.
        commit: the row of `stage_commits` that makes it green, on its way into the store.
        verdicts: its rows of `verdicts`.
    """
    lake, here = work.lake, work.here
    lines = lake.put_frame(lines_of(evidence, fields_of(lake, **here)))
    past = stage_commits(lake, work.recipe.dataset)
    mine = pl.concat([past.filter(partition=work.batch), commit])
    judged = lake.read("verdicts", dataset=work.recipe.dataset, partition=work.batch)
    history = revisions(mine, pl.concat([judged, verdicts]), is_ingested=evidence.is_ingested)
    number, figures = history[-1].number, figures_of(evidence, work.recipe.sha256)
    facts = {"revision": number, "lines": lines.sha256, "figures": figures}
    payload: list[Payload] = [(LINES, work.batch, lines)]
    known = lake.read("batch_revisions", **here, revision=number)
    if known["lines_sha256"].to_list() == [lines.sha256]:
        return Kept(facts, (), tuple(payload))
    card, diff, previous = _described(work, evidence, history, past)
    payload += [("revision_card", work.batch, card)]
    payload += [("revision_diff", work.batch, diff)] if diff else []
    row = {
        **here,
        "revision": number,
        "causes": stored_json(list(history[-1].causes)),
        "commit_key": commit["commit_key"][0],
        "accepted": evidence.examples.height,
        "cost_usd": figures["cost_usd"],
        "lines_sha256": lines.sha256,
        "card_sha256": card.sha256,
        "compared_with": previous,
        "diff_sha256": diff.sha256 if diff else None,
        "made_at": work.now(),
    }
    change = Change("batch_revisions", TABLES["batch_revisions"].frame([row]), {**here, "revision": number})
    return Kept(facts, (change,), tuple(payload))


def ended_red(work: Work, evidence: Evidence, commit: pl.DataFrame, verdicts: pl.DataFrame) -> Kept:
    """Keep the card and the difference of a revision that ends red: other batches may change, it does not.

    Args:
        work: the bench.
        evidence: the batch, its rows as they will be committed.
        commit: the row of `stage_commits` that makes it red, on its way into the store.
        verdicts: its rows of `verdicts`.
    """
    past = stage_commits(work.lake, work.recipe.dataset)
    judged = work.lake.read("verdicts", dataset=work.recipe.dataset, partition=work.batch)
    mine, judgements = pl.concat([past.filter(partition=work.batch), commit]), pl.concat([judged, verdicts])
    history = revisions(mine, judgements, is_ingested=evidence.is_ingested)
    card, diff, previous = _described(work, evidence, history, past)
    facts = {"revision": history[-1].number, "card": card.sha256, "compared_with": previous}
    payload: list[Payload] = [("revision_card", work.batch, card)]
    if diff is not None:
        facts["diff"] = diff.sha256
        payload.append(("revision_diff", work.batch, diff))
    return Kept(facts, (), tuple(payload))


def figures_of(evidence: Evidence, recipe_sha256: str) -> dict[str, Any]:
    """Return what a release says of a batch: requests, answers, samples, cost, and the recipe it was judged by."""
    paid = evidence.generations.filter(MAY_HAVE_COST)["cost_usd"]
    return {
        "requested": evidence.requests.height,
        "answered": evidence.generations.filter(pl.col("outcome") == Outcome.ANSWERED).height,
        "parsed": evidence.samples.height,
        "accepted": evidence.examples.height,
        "cost_usd": None if paid.null_count() else math.fsum(paid),
        "recipe_sha256": recipe_sha256,
    }


def kept_lines(lake: Lake, sha256: str) -> pl.DataFrame:
    """Return the lines of a kept revision as `LINES_SCHEMA`, in the order of `samples.jsonl`."""
    return pl.read_parquet(lake.get(sha256, ".parquet")).cast(LINES_SCHEMA)


def lines_of(evidence: Evidence, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the lines a batch gives a release as it is now, as `LINES_SCHEMA`.

    Args:
        evidence: the batch with its examples.
        texts: fields of its samples as `drafting.TEXTS_SCHEMA`.
    """
    members = evidence.examples.select(MEMBER)
    inside = {"on": "sample_id", "how": "semi"}
    made = sample_lines(
        Parts(
            members=members,
            samples=evidence.samples,
            requests=evidence.requests,
            generations=evidence.generations,
            decisions=evidence.decisions,
            assessments=evidence.assessments.join(members, **inside),
            tags=evidence.tags.join(members, **inside),
            texts=texts.join(members, **inside, maintain_order="left"),
        )
    )
    rows = [{**{name: row[name] for name in MEMBER}, "line": line} for line in made for row in [orjson.loads(line)]]
    return pl.DataFrame(rows, schema=LINES_SCHEMA)


def _described(
    work: Work, evidence: Evidence, history: list[Revision], commits: pl.DataFrame
) -> tuple[Any, Any, str | None]:
    """Store card and difference of a revision; return both, and the batch it was compared with."""
    previous = previous_green(commits.filter(pl.col("stage").is_in(OF_A_BATCH)), work.batch)
    rows = _rows(evidence)
    other = None if previous is None else rows_of(work.lake, work.recipe.dataset, previous)
    card = batch_card(
        BatchCard(
            model=evidence.model,
            batch=evidence.batch,
            history=history,
            rows=rows,
            previous=None if previous is None or other is None else (previous, other),
        )
    )
    diff = None
    if other is not None:
        found = compare(rows, other)
        told = {"before": previous, "now": work.batch, "distances": dict(found.distances)}
        lines = [vars(line) | {"difference": line.difference} for line in found.lines]
        diff = work.lake.put(stored_json({**told, "measures": lines}).encode(), ".json")
    return work.lake.put(card.encode(), ".md"), diff, previous


def _rows(evidence: Evidence) -> BatchRows:
    return BatchRows(
        requests=evidence.requests,
        generations=evidence.generations,
        samples=evidence.samples,
        assessments=evidence.assessments,
        decisions=evidence.decisions,
    )


def rows_of(lake: Lake, dataset: str, batch: str) -> BatchRows:
    """Return what the lake holds about a batch."""

    def read(table: str) -> pl.DataFrame:
        return lake.read(table, dataset=dataset, batch=batch)

    return BatchRows(
        requests=read("requests"),
        generations=read("generations"),
        samples=read("samples"),
        assessments=read("assessments"),
        decisions=read("decisions"),
    )
