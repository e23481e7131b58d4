"""`synth accept-short`: a person takes a batch that keeps less than it promised."""

import click

from resources.claims import Claims
from synth_assets.checks.promises import short
from synth_assets.checks.proof import proven, proven_state
from synth_assets.cli.batches import MINIMUM_COUNT, run_batch
from synth_assets.cli.output import say
from synth_assets.cli.project import Project
from synth_assets.domain.standing import accepted_by_label
from synth_assets.domain.transactions import Commit, Swap
from synth_assets.errors import RefusedError, UsageError
from synth_assets.reports.funnel import funnel
from synth_assets.stages.generation import Wish


@click.command("accept-short")
@click.argument("dataset")
@click.argument("batch")
@click.option("--reason", required=True, help="Why fewer samples will do. It stays in the audit for ever.")
def accept_short(*, dataset: str, batch: str, reason: str) -> None:
    """Accept a batch of DATASET that is out of attempts with fewer samples than it promised."""
    project = Project()
    recipe = project.recipe(dataset)
    row = proven_state(project.lake, "batches", dataset=dataset, batch=batch)
    if row is None:
        raise UsageError(
            f"{dataset} has no batch '{batch}'", where="the command line", fix=f"`synth status {dataset}` lists them"
        )
    _refuse_what_cannot_be_lifted(project, dataset, batch)
    if row["open_attempt"] is not None or row["attempts"] < recipe.model.batch.max_attempts:
        raise RefusedError(
            f"{dataset} {batch} may still try: {row['attempts']} of {recipe.model.batch.max_attempts} attempts used",
            where=f"{dataset}, partition {batch}",
            fix=f"`synth run {dataset} --batch {batch}` first",
        )
    claims = Claims(project.lake, project.home)
    claim = claims.hold(recipe.model, batch)
    try:
        here = {"dataset": dataset, "batch": batch}
        delivered = accepted_by_label(
            proven(project.lake, "samples", **here), proven(project.lake, "decisions", **here)
        )
        project.lake.commit(
            Commit(
                dataset=dataset,
                key=f"accept-short:{dataset}:{batch}:{claim.fence}",
                action="accept_short",
                run_id="",
                details={"batch": batch, "reason": reason},
                swaps=[
                    claim.guard(),
                    Swap("batches", here, {"fence": claim.fence}, {"short_accepted_by": project.lake.actor}),
                    *short(project.lake, recipe.model, batch, delivered),
                ],
            )
        )
        outcome = run_batch(project, recipe, batch, Wish(), is_quiet=True)
    finally:
        claims.release()
    if outcome is not None:
        raise outcome
    say(f"{dataset} {batch} is accepted short and green")


def _refuse_what_cannot_be_lifted(project: Project, dataset: str, batch: str) -> None:
    """Refuse before anything is recorded: once a batch is accepted short, it opens no attempt any more."""
    held = funnel(project.lake, dataset, batch)["held_by"]
    gates = {gate["gate"] for gate in held["failed_gates"]} if held else set()
    if gates == {MINIMUM_COUNT}:
        return
    state = f"held back by {', '.join(sorted(gates)) or held['stage']}" if held else "green"
    raise RefusedError(
        f"{dataset} {batch} is {state}; accepting it short lifts {MINIMUM_COUNT} and nothing else",
        where=f"{dataset}, partition {batch}",
        fix=f"see `synth status {dataset}`",
    )
