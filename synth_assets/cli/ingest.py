"""`synth ingest`: samples made elsewhere enter as a batch."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import click

from resources.claims import Claims
from resources.drops import read_drop
from synth_assets.assets.partitions import batch_job, batches_of
from synth_assets.canonical import sha256
from synth_assets.checks.calendar import refuse_moved
from synth_assets.checks.proof import standing_of
from synth_assets.cli.batches import batch_key, print_funnel
from synth_assets.cli.execution import run_job
from synth_assets.cli.output import as_json, print_json, say
from synth_assets.cli.project import Project
from synth_assets.domain.ingestion import NAME, Drop, Origin, unmapped_labels
from synth_assets.errors import RefusedError, StoppedError, UsageError
from synth_assets.recipe import Recipe
from synth_assets.reports.funnel import funnel
from synth_assets.stages.ingestion import batch_for, known_drops
from synth_assets.vocabulary import Stage

MOST_LABELS, LONGEST_SHOWN = 8, 40
"""Unknown labels that are named, and characters of one; longer ones are texts."""


@click.command()
@click.argument("dataset")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--generator", required=True, help="Tool that made the samples; it stays with every one of them.")
@click.option("--batch", help="Partition key; default is the latest past period in which nothing was generated.")
@click.option("--text-field", default="text", show_default=True, help="Field of a row that holds the text.")
@click.option("--label-field", default="label", show_default=True, help="Field of a row that holds the label.")
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="THEIRS=OURS",
    help="What the rows call a label; repeatable.",
)
@as_json
def ingest(  # noqa: PLR0913 - one argument for each option
    *,
    dataset: str,
    file: Path,
    generator: str,
    batch: str | None,
    text_field: str,
    label_field: str,
    mapped: tuple[str, ...],
    is_json: bool,
) -> None:
    """Take samples from FILE into a batch of DATASET and judge them like any others.

    FILE is JSONL, JSON or Parquet, or the output folder of DataDesigner or Curator. A row may say prompt, prompt_name,
    prompt_version, model, generation_params and generated_at; what it does not say is recorded as unknown.

    The same bytes are taken in once, whatever their name: where a batch holds them, that is said and nothing is done.
    """
    if not NAME.fullmatch(generator):
        raise UsageError(f"{generator!r} is no name", where="--generator", fix="use letters, digits and . : / @ + - _")
    project = Project(may_begin=True)
    recipe = project.recipe(dataset)
    label_map = _label_map(mapped, recipe)
    origin = Origin(generator, text_field=text_field, label_field=label_field, label_map=label_map)
    drop = read_drop(file, origin)  # what cannot be taken in is refused before any batch is opened
    known = known_drops(project.lake, dataset).get(sha256(drop.data))
    if known is not None:
        _tell_known(project, dataset, known, is_json=is_json)
        return
    _tell_unmapped(drop, recipe, is_quiet=is_json)
    refuse_moved(project.lake, recipe)
    key = batch_key(recipe, batch) if batch else _free(project, recipe)
    asked = {"file": str(file.absolute()), "generator": generator, "text_field": text_field, "label_field": label_field}
    asked |= {"label_map": label_map} if label_map else {}
    config = {f"{dataset}__{Stage.GENERATION_PLAN}": {"config": {"ingest": asked}}}
    claims = Claims(project.lake, project.home)
    claims.hold(recipe.model, key)
    try:
        with project.instance() as instance:
            ran = run_job(project, instance, batch_job(dataset), recipe=recipe, partition=key, config=config)
    finally:
        claims.release()
    if ran.error is not None:
        raise ran.error
    facts = funnel(project.lake, dataset, key)
    if is_json:
        print_json({**facts, "is_new": True})
    else:
        print_funnel(facts)
    if not standing_of(project.lake, dataset, key).is_green:
        red = ", ".join(f"{stage}.{gate}" for stage, gate, _ in ran.failed_checks)
        raise StoppedError(
            f"{dataset} {key} is red at {red}",
            where=f"{dataset}, partition {key}",
            fix=f"see `synth status {dataset}`; `synth run {dataset} --batch {key}` judges the rows again",
        )


def _tell_known(project: Project, dataset: str, batch: str, *, is_json: bool) -> None:
    """Say which batch holds the rows, and what finishes it if it is not done."""
    is_green = standing_of(project.lake, dataset, batch).is_green
    if is_json:
        print_json({**funnel(project.lake, dataset, batch), "is_new": False})
        return
    say(f"nothing new: {dataset} {batch} holds these rows already")
    if not is_green:
        say(f"it is not green: see `synth status {dataset}`; `synth run {dataset} --batch {batch}` judges it again")


def _label_map(mapped: Sequence[str], recipe: Recipe) -> dict[str, str]:
    """Return what `--map` says, by the rows' word for a label."""
    found = {}
    for each in mapped:
        theirs, mark, ours = (part.strip() for part in each.rpartition("="))
        if not mark or not theirs or ours not in recipe.model.labels:
            raise UsageError(
                f"--map takes what the rows say, `=`, and a label of {recipe.dataset}",
                where="--map",
                fix=f"labels: {', '.join(recipe.model.labels) or 'none, so there is nothing to map'}",
            )
        found[unicodedata.normalize("NFC", theirs)] = ours
    return found


def _tell_unmapped(drop: Drop, recipe: Recipe, *, is_quiet: bool) -> None:
    """Name the labels of the rows that the recipe does not have; refuse rows of which none has one it has.

    Said on the terminal alone: what another tool called a label may be anything, and the run's log is kept for ever.
    """
    unknown = unmapped_labels(drop.rows, recipe.model, drop.origin)
    if not recipe.model.labels or not unknown:
        return
    shown = [f"{name!r} ({count})" for name, count in unknown.most_common(MOST_LABELS) if len(name) <= LONGEST_SHOWN]
    more = f" and {len(unknown) - len(shown)} more" if len(unknown) > len(shown) else ""
    named = f"{', '.join(shown) or 'long texts'}{more}"
    cure = f"map each with --map THEIRS=OURS; labels: {', '.join(recipe.model.labels)}"
    if sum(unknown.values()) == len(drop.rows):
        raise UsageError(f"no row has a label of the recipe; they say {named}", where=drop.name, fix=cure)
    if not is_quiet:
        say(f"{sum(unknown.values())} rows have a label the recipe does not have, {named}: {cure}")


def _free(project: Project, recipe: Recipe) -> str:
    keys = list(batches_of(recipe.model).get_partition_keys())
    found = batch_for(keys, project.lake.read("batches", dataset=recipe.dataset))
    if found is None:
        raise RefusedError(
            f"every batch of {recipe.dataset} holds generated samples",
            where=f"{recipe.dataset}, from {recipe.model.start}",
            fix="wait for the next period; ingested samples need a batch of their own",
        )
    return found
