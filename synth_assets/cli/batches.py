"""`synth run`: one batch up to `training_ready`, attempt after attempt."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
import dagster as dg

from resources.claims import Claims
from resources.journal import prefixes
from resources.llm.provider import is_replay
from synth_assets.assets.partitions import batch_job, batches_of, current_batch
from synth_assets.checks.calendar import gap_before, refuse_moved, said_of
from synth_assets.checks.proof import standing_of
from synth_assets.cli.execution import run_job
from synth_assets.cli.output import as_json, counted, note, print_json, print_table
from synth_assets.cli.preview import show_preview
from synth_assets.cli.progress import ProgressBar
from synth_assets.cli.project import Project
from synth_assets.domain.breaker import USELESS
from synth_assets.domain.standing import PROMISE_KEPT
from synth_assets.errors import StoppedError, SynthError, UsageError
from synth_assets.recipe import Recipe
from synth_assets.recipe.model import MOST_ACCEPTED
from synth_assets.reports.funnel import funnel
from synth_assets.reports.personal import PII, rejected_kinds
from synth_assets.stages.breaking import broken, still_broken
from synth_assets.stages.generation import Wish
from synth_assets.stages.prospects import next_attempt
from synth_assets.vocabulary import Outcome, Stage

DRIFT, MINIMUM_COUNT = "drift", "minimum_count"
"""The gate that a changed source meets first, and the one that a person may lift for a batch."""


def batch_key(recipe: Recipe, given: str | None, *, option: str = "--batch") -> str:
    """Return the partition key: the one given, or the current period in the recipe's time zone.

    Args:
        recipe: whose batch.
        given: what a person wrote, if anything.
        option: where they wrote it; an error names it.

    Raises:
        UsageError: it is no key of the recipe's cadence, lies before its start or in the future.
    """
    partitions = batches_of(recipe.model)
    last = partitions.get_last_partition_key()
    if last is None or current_batch(recipe.model, datetime.now(UTC)) is None:
        raise UsageError(
            f"{recipe.dataset} starts at {recipe.model.start}, which is in the future",
            where=str(recipe.folder / "recipe.yaml"),
            fix="set an earlier `start`",
        )
    if given is None:
        return last
    if not partitions.has_partition_key(given):
        raise UsageError(
            f"'{given}' is no batch of {recipe.dataset}",
            where=option,
            fix=f"batches are {recipe.model.cadence}, from {recipe.model.start} to {last}",
        )
    return given


def note_replay(project: Project, dataset: str, batch: str) -> None:
    """Say of a replay how much of the journal it reads some entry of this home vouches for."""
    if not is_replay(os.environ):
        return
    bound = project.lake.chain(dataset).journal
    found = [(batch, name, size) for _, name, size, _ in prefixes(project.home, dataset, batch)]
    unproven = sum(bound.get((batch, name), (0, ""))[0] < size for batch, name, size in found)
    if unproven:
        note(
            f"replay: no audit entry of this home vouches for {unproven} of {counted(len(found), 'segment')} of the "
            f"journal of {dataset} {batch}; verify it where it was recorded"
        )


def warn_of_gap(project: Project, recipe: Recipe, batch: str) -> None:
    """Say on stderr that a batch lies far after all that was written down: what else shows a clock that runs ahead?"""
    gap = gap_before(project.lake.chain(recipe.dataset), recipe.model, batch)
    if gap is not None:
        note(said_of(gap, recipe.dataset, batch))


@click.command()
@click.argument("dataset")
@click.option("--batch", help="Partition key; default is the current period.")
@click.option(
    "--accept",
    type=click.IntRange(1, MOST_ACCEPTED),
    help="Promise this many accepted samples instead of the recipe's number.",
)
@click.option("--regenerate", is_flag=True, help="Generate anew; the old samples are superseded.")
@click.option(
    "--preview",
    type=click.IntRange(1, MOST_ACCEPTED),
    help="Only show what the first N requests of the next attempt would bring.",
)
@click.option(
    "--anyway", is_flag=True, help="Go on with an attempt that stopped because its first answers cannot be used."
)
@as_json
def run(
    *,
    dataset: str,
    batch: str | None,
    accept: int | None,
    regenerate: bool,
    preview: int | None,
    anyway: bool,
    is_json: bool,
) -> None:
    """Bring a batch of DATASET up to training_ready, with as many attempts as it may have.

    Running it again goes on where it stopped; on a finished batch it judges again and pays nothing. A preview asks,
    scores and decides, and stores nothing but the answers, which a later run does not pay for again.
    """
    if preview is not None and (accept is not None or regenerate or anyway):
        raise UsageError(
            "--preview shows what the next attempt would bring; it takes no --accept, --regenerate or --anyway",
            where="the command line",
            fix="leave them out",
        )
    project = Project(may_begin=True)
    recipe = project.recipe(dataset)
    refuse_moved(project.lake, recipe)
    key = batch_key(recipe, batch)
    warn_of_gap(project, recipe, key)
    if preview is not None:
        show_preview(project, recipe, key, count=preview, is_json=is_json)
        return
    note_replay(project, dataset, key)
    outcome = run_batch(project, recipe, key, Wish(regenerate, accept, anyway), is_quiet=is_json)

    facts = funnel(project.lake, dataset, key)
    if PII in facts["rejected"]:
        facts["pii_kinds"] = rejected_kinds(project.lake, dataset, key)
    if is_json:
        print_json(facts)
    else:
        print_funnel(facts)
    if outcome is not None:
        raise outcome


def run_batch(project: Project, recipe: Recipe, batch: str, wish: Wish, *, is_quiet: bool) -> SynthError | None:
    """Run the batch job until the promise is kept or nothing more may be tried.

    Returns:
        None if the batch is green, else the error that says why it is not.

    Raises:
        RefusedError: another process works on the batch; nothing was sent.
        StoppedError: this is a replay, and the journal knows nothing of a call; nothing was changed.
    """
    project.rehearse(recipe.promising(wish.promise) if wish.promise else recipe, batch, regenerate=wish.regenerate)
    claims = Claims(project.lake, project.home)
    claims.hold(recipe.model, batch)
    try:
        with project.instance() as instance, ProgressBar(is_quiet=is_quiet):
            config = _plan_config(recipe, wish)
            return _until_kept(project, instance, recipe, batch, config)
    finally:
        claims.release()


def _until_kept(
    project: Project, instance: dg.DagsterInstance, recipe: Recipe, batch: str, config: dict[str, Any]
) -> SynthError | None:
    """Run the batch job again and again until the batch is green, or an attempt may not or did not open."""
    number = 0
    while True:
        ran = run_job(project, instance, batch_job(recipe.dataset), recipe=recipe, partition=batch, config=config)
        if ran.error is not None:
            return ran.error
        where = standing_of(project.lake, recipe.dataset, batch)
        if where.is_green:
            return None
        prospect = next_attempt(project.lake, recipe, batch)
        if prospect.is_tripped:
            return still_broken(project.lake, recipe, batch, prospect.number - 1)
        because = "the last run opened none" if prospect.number == number else prospect.because
        if because is not None:
            return _red(recipe.dataset, batch, ran.failed_checks, because)
        unanswered = _unanswered(project, recipe.dataset, batch, attempt=prospect.number - 1)
        if unanswered is not None:
            return unanswered
        project.rehearse(recipe, batch, regenerate=False)
        number = prospect.number
        config = _plan_config(recipe, Wish())


def _unanswered(project: Project, dataset: str, batch: str, *, attempt: int) -> SynthError | None:
    """Return why to stop if the latest attempt brought not one answer: another one now would be paid for nothing."""
    endings = project.lake.read("generations", dataset=dataset, batch=batch, attempt=attempt)
    if endings.is_empty() or (endings["outcome"] == Outcome.ANSWERED).any():
        return None
    reasons = dict(endings.group_by("reason").len().sort("reason").iter_rows())
    if USELESS.issuperset(reasons):
        return broken(dataset, batch, f"no answer of attempt {attempt} can be used: {_reasons(reasons)}")
    return StoppedError(
        f"no request of attempt {attempt} was answered: {_reasons(reasons)}",
        where=f"{dataset}/{Stage.GENERATED}, partition {batch}",
        fix="check the provider and the prompts, then run the same command again: it opens the next attempt",
    )


def _plan_config(recipe: Recipe, wish: Wish) -> dict[str, Any]:
    asked = {"regenerate": wish.regenerate, "accept": wish.promise or 0, "anyway": wish.anyway}
    return {f"{recipe.dataset}__{Stage.GENERATION_PLAN}": {"config": asked}}


def _red(dataset: str, batch: str, failed: list[tuple[str, str, dict[str, Any]]], because: str) -> SynthError:
    gates = ", ".join(f"{stage}.{gate}" for stage, gate, _ in failed) or "a gate"
    cure = _cure(dataset, batch, {gate: facts for _, gate, facts in failed}, because)
    because = "there are enough samples, judged or not" if because == PROMISE_KEPT else because
    return StoppedError(
        f"{dataset} {batch} is red at {gates} and no attempt may be opened: {because}",
        where=f"{dataset}, partition {batch}",
        fix=f"see `synth status {dataset}`; {cure}",
    )


def _cure(dataset: str, batch: str, gates: Mapping[str, Mapping[str, Any]], because: str) -> str:
    """Return what helps a red batch; `accept-short` lifts one gate and is named where no other holds."""
    if set(gates) == {DRIFT} and gates[DRIFT].get("is_same_models") is False:
        models = ", ".join(gates[DRIFT]["models"])
        return (
            f"it is the first batch of {models}, compared with those of other models: if that was on purpose, raise "
            "`gates.drift.max`, say why in its `because`, and run the same command again; later batches are compared "
            "with this one"
        )
    if because == PROMISE_KEPT:
        return "more samples would not help: mend the prompts and --regenerate, or give the gate another threshold"
    if set(gates) == {MINIMUM_COUNT}:
        return f"raise `max_attempts`, mend the prompts, or `synth accept-short {dataset} {batch} --reason TEXT`"
    return "mend the prompts, rules or gates of the recipe, then run the same command again"


def print_funnel(facts: dict[str, Any]) -> None:
    """Print a batch's funnel for a person."""
    rows = [
        ("requested", facts["requested"], ""),
        ("answered", facts["answered"], _reasons(facts["quarantined"])),
        ("parsed", facts["samples"], ""),
        ("accepted", facts["accepted"], f"of {facts['promised']} promised" if facts["promised"] else "made elsewhere"),
        ("rejected", sum(facts["rejected"].values()), _reasons(facts["rejected"])),
        *([("  pii", facts["rejected"][PII], _reasons(facts["pii_kinds"]))] if "pii_kinds" in facts else []),
    ]
    print_table(f"{facts['dataset']} {facts['batch']}", ("", "count", ""), rows, numbers=("count",))


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
