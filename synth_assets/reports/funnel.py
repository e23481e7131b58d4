"""The funnel of a batch, from planned requests to accepted samples, and what a dataset is waiting for."""

from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

from synth_assets.checks.proof import proven, proven_state, proven_states, stage_commits, verdicts_of_all
from synth_assets.domain.drafting import MAY_HAVE_COST
from synth_assets.domain.history import revisions
from synth_assets.domain.standing import accepted_by_label, latest, standing
from synth_assets.domain.transactions import Lake
from synth_assets.errors import UsageError
from synth_assets.reports.batches import as_facts
from synth_assets.stages.pending import pending
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Decision, Outcome, QuarantineReason, Stage

Facts = dict[str, Any]
Rows = Mapping[str, pl.DataFrame]
"""Rows of a batch by table name."""

INTERRUPTED = "interrupted"
"""State of an attempt that ended without a reason of its own: by Ctrl-C, a signal, or the death of its process."""

COUNTED = ("requests", "generations", "samples", "decisions")


def funnel(lake: Lake, dataset: str, batch: str) -> Facts:
    """Return the funnel of a batch.

    Returns:
        Counts of requests and samples; ``quarantined``, ``not_sent_because`` and ``rejected`` by reason; ``sums`` with
        both sums and whether they hold; ``stages`` with the state of each; ``held_by`` the first stage that did not
        pass, with its failed gates, None if the batch is green. ``unended`` requests were planned and have no outcome
        yet, ``undecided`` samples no decision. ``history`` holds the batch's revisions, ``revision`` the number of the
        last one; 0 before the first stage.
        ``stop`` says why the open attempt stopped, None if none is open. ``cost_usd`` is None when any part is unknown.

    Raises:
        UsageError: there is no such batch.
    """
    found = proven_state(lake, "batches", dataset=dataset, batch=batch)
    if found is None:
        raise UsageError(
            f"{dataset!r} has no batch {batch!r}", where="the command line", fix=f"`synth status {dataset}` lists them"
        )
    rows = {name: proven(lake, name, dataset=dataset, batch=batch) for name in COUNTED}
    commits = stage_commits(lake, dataset, batch)
    rows["stage_commits"] = commits
    rows["verdicts"] = verdicts_of_all(lake, dataset, commits["commit_key"])
    return _funnel(found, rows)


def status(lake: Lake, dataset: str) -> Facts:
    """Return what a dataset holds and waits for: its versions, what the next one would change, and every planned batch.

    A dataset the lake does not know yet has no batches and no version.
    """
    next_up = pending(lake, dataset)
    aliases = proven_states(lake, "dataset_aliases", dataset)
    return {
        "dataset": dataset,
        "head_version": next_up.head,
        "next_version": next_up.head + 1,
        "is_release_due": not next_up.change.is_empty,
        "pending": {"added": next_up.change.added.height, "removed": next_up.change.removed.height},
        "batches_left_out": next_up.left_out,
        "aliases": dict(zip(aliases["alias"], aliases["version"], strict=True)),
        "batches": _all_funnels(lake, dataset),
    }


def known_datasets(lake: Lake) -> list[str]:
    """Return the names of all datasets in the lake, sorted."""
    return sorted(lake.read("heads")["dataset"])


def _all_funnels(lake: Lake, dataset: str) -> list[Facts]:
    """Read every table once and share it out among the planned batches, oldest first.

    A claim writes a batch's row before anything is planned: a preview, or a run that was refused, leaves it at that.
    """
    batches = proven_states(lake, "batches", dataset).filter(pl.col("attempts") > 0).sort("batch")
    parts = {name: _by(proven(lake, name, dataset=dataset), "batch") for name in COUNTED}
    parts["stage_commits"] = _by(stage_commits(lake, dataset), "partition")
    parts["verdicts"] = _by(proven(lake, "verdicts", dataset=dataset), "partition")
    return [
        _funnel(row, {name: part.get(row["batch"], TABLES[name].frame([])) for name, part in parts.items()})
        for row in batches.iter_rows(named=True)
    ]


def _by(rows: pl.DataFrame, column: str) -> dict[str, pl.DataFrame]:
    return {str(key[0]): part for key, part in rows.partition_by(column, as_dict=True).items()}


def _funnel(batch: Mapping[str, Any], rows: Rows) -> Facts:
    generations, samples, decisions = rows["generations"], rows["samples"], rows["decisions"]
    ended = generations.group_by("outcome").len()
    outcomes = dict(zip(ended["outcome"], ended["len"], strict=True))
    decided = decisions.group_by("decision").len()
    verdicts = dict(zip(decided["decision"], decided["len"], strict=True))
    stages = _stages(rows)
    history = revisions(rows["stage_commits"], rows["verdicts"], is_ingested=batch["promised"] == 0)
    accepted = verdicts.get(Decision.ACCEPTED, 0)
    return {
        "dataset": batch["dataset"],
        "batch": batch["batch"],
        "revision": len(history),
        "history": [as_facts(each) for each in history],
        "promised": batch["promised"],
        "short_by": max(0, batch["promised"] - accepted),
        "short_accepted_by": batch["short_accepted_by"],
        "attempts": batch["attempts"],
        "max_attempts": batch["max_attempts"],
        "open_attempt": batch["open_attempt"],
        "requested": rows["requests"].height,
        "answered": outcomes.get(Outcome.ANSWERED, 0),
        "quarantined": _reasons(generations.filter(pl.col("outcome") == Outcome.QUARANTINED)),
        "not_sent": outcomes.get(Outcome.NOT_SENT, 0),
        "not_sent_because": _reasons(generations.filter(pl.col("outcome") == Outcome.NOT_SENT)),
        "unended": rows["requests"].height - generations.height,
        "samples": samples.height,
        "accepted": accepted,
        "accepted_by_label": dict(
            sorted((str(label), n) for label, n in accepted_by_label(samples, decisions).items())
        ),
        "rejected": _reasons(decisions.filter(pl.col("decision") == Decision.REJECTED)),
        "pending_review": verdicts.get(Decision.PENDING_REVIEW, 0),
        "undecided": samples.height - decisions.height,
        **_spent(generations),
        "sums": _sums(rows["requests"].height, outcomes, samples.height, verdicts),
        "stages": stages,
        "stop": _stop(batch, generations),
        "held_by": next((each for each in stages if each["stage"] in BATCH_STAGES and each["state"] != "passed"), None),
    }


def _stop(batch: Mapping[str, Any], generations: pl.DataFrame) -> str | None:
    """Return why the open attempt is not worked off; None if none is open.

    ``interrupted`` is a person who stopped it, and a process that died or is still at work: neither left a word.
    """
    attempt = batch["open_attempt"]
    if attempt is None:
        return None
    if batch["tripped_attempt"] == attempt:
        return str(QuarantineReason.BROKEN_PROMPT)
    unsent = generations.filter(pl.col("attempt") == attempt, pl.col("outcome") == Outcome.NOT_SENT)
    reasons = [reason for reason in _reasons(unsent) if reason != QuarantineReason.STOPPED]
    return next(iter(reasons), INTERRUPTED)


def _sums(planned: int, outcomes: Mapping[str, int], samples: int, decided: Mapping[str, int]) -> Facts:
    """Nothing vanishes: both sums, part by part."""
    ends = {str(each): outcomes.get(each, 0) for each in Outcome}
    ways = {str(each): decided.get(each, 0) for each in Decision}
    return {
        "requests": {"planned": planned, **ends, "holds": planned == sum(ends.values())},
        "samples": {"samples": samples, **ways, "holds": samples == sum(ways.values())},
    }


def _reasons(rows: pl.DataFrame) -> dict[str, int]:
    """Count rows by reason, most frequent first."""
    counts = (
        rows.group_by(pl.col("reason").fill_null("unknown")).len().sort(["len", "reason"], descending=[True, False])
    )
    return dict(counts.iter_rows())


def _spent(generations: pl.DataFrame) -> Facts:
    """Calls, the HTTP tries they took, tokens and cost of all that was sent; a cost with an unknown part is unknown."""
    sent = generations.filter(MAY_HAVE_COST)
    return {
        "calls": int(generations["calls"].sum() + generations["lost_calls"].sum()),
        "lost_calls": int(generations["lost_calls"].sum()),
        "tries": int(generations["tries"].sum()),
        "input_tokens": int(sent["input_tokens"].sum()),
        "output_tokens": int(sent["output_tokens"].sum()),
        "cost_usd": None if sent["cost_usd"].null_count() else round(float(sent["cost_usd"].sum()), 9),
    }


def _stages(rows: Rows) -> list[Facts]:
    """State of every stage in the order data flows, with the gates that failed when it finished last."""
    commits = latest(rows["stage_commits"])
    states = standing(rows["stage_commits"]).states
    stages = []
    for stage in (Stage.GENERATION_PLAN, *BATCH_STAGES):
        commit = commits.get(stage)
        planned = "missing" if commit is None else "passed"
        failed = rows["verdicts"].filter(
            pl.col("commit_key") == (commit["commit_key"] if commit else ""), ~pl.col("passed")
        )
        stages.append(
            {
                "stage": str(stage),
                "state": str(states.get(stage, planned)),
                "run_id": commit["run_id"] if commit else None,
                "committed_at": commit["committed_at"] if commit else None,
                "failed_gates": [
                    {"gate": row["gate"], "is_blocking": row["is_blocking"], "facts": orjson.loads(row["facts"])}
                    for row in failed.sort("gate").iter_rows(named=True)
                ],
            }
        )
    return stages
