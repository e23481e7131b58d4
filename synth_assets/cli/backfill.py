"""`synth backfill`: the batches nobody made, oldest first."""

import click

from synth_assets.assets.partitions import batches_of
from synth_assets.checks.calendar import refuse_moved
from synth_assets.checks.proof import stage_commits
from synth_assets.cli.batches import batch_key, run_batch
from synth_assets.cli.output import as_json, print_json, print_table
from synth_assets.cli.project import Project
from synth_assets.domain.standing import standing
from synth_assets.errors import RefusedError, SynthError, UsageError
from synth_assets.recipe import Recipe
from synth_assets.reports.unfinished import unfinished
from synth_assets.stages.generation import Wish


@click.command()
@click.argument("dataset")
@click.option("--from", "first", required=True, help="First batch.")
@click.option("--to", "last", help="Last batch; default is the current period.")
@as_json
def backfill(*, dataset: str, first: str, last: str | None, is_json: bool) -> None:
    """Run every batch of DATASET that is not green, oldest first; one somebody works on is passed over.

    A batch that stays red does not hold up the ones after it, a provider that fails does. The exit code is that of the
    first batch that is not green in the end.
    """
    project = Project(may_begin=True)
    recipe = project.recipe(dataset)
    refuse_moved(project.lake, recipe)
    states: dict[str, str] = {}
    stops: list[SynthError] = []
    for batch in missed(project, recipe, first=first, last=last):
        error = _tried(project, recipe, batch, is_quiet=is_json)
        states[batch] = error.what if error else "green"
        stops += [error] if error else []
        if error and _is_provider_failing(project, recipe, batch):
            break
    if is_json:
        print_json({"dataset": dataset, "batches": states})
    else:
        print_table(dataset, ("batch", "now"), list(states.items()) or [("", "no batch was missed")])
    if stops:
        raise stops[0]


def _tried(project: Project, recipe: Recipe, batch: str, *, is_quiet: bool) -> SynthError | None:
    try:
        return run_batch(project, recipe, batch, Wish(), is_quiet=is_quiet)
    except RefusedError as error:
        return error


def _is_provider_failing(project: Project, recipe: Recipe, batch: str) -> bool:
    cases = unfinished(project.lake, recipe, is_busy=lambda _: False)
    return any(case.batch == batch and (case.is_open or case.is_silent) for case in cases)


def missed(project: Project, recipe: Recipe, *, first: str, last: str | None) -> list[str]:
    """Return the batches of a range that are not green, oldest first.

    Raises:
        UsageError: an end of the range is no batch, or the range runs backwards.
    """
    keys = list(batches_of(recipe.model).get_partition_keys())
    ends = (("--from", first), ("--to", last))
    start, end = (keys.index(batch_key(recipe, given, option=option)) for option, given in ends)
    if start > end:
        raise UsageError(f"{keys[start]} lies after {keys[end]}", where="--from and --to", fix="swap them")
    commits = stage_commits(project.lake, recipe.dataset)
    by_batch = {key[0]: rows for key, rows in commits.partition_by("partition", as_dict=True).items()}
    nothing = commits.clear()
    return [key for key in keys[start : end + 1] if not standing(by_batch.get(key, nothing)).is_green]
