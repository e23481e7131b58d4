"""`synth ingest`: samples made elsewhere enter as a batch."""

from pathlib import Path

import click

from resources.claims import Claims
from resources.drops import read_drop
from synth_assets.assets.partitions import batch_job, batches_of
from synth_assets.canonical import sha256
from synth_assets.checks.calendar import refuse_moved
from synth_assets.cli.batches import batch_key, print_funnel
from synth_assets.cli.execution import run_job
from synth_assets.cli.output import as_json, print_json
from synth_assets.cli.project import Project
from synth_assets.domain.ingestion import NAME, Origin
from synth_assets.domain.standing import standing
from synth_assets.errors import RefusedError, StoppedError, UsageError
from synth_assets.recipe import Recipe
from synth_assets.reports.funnel import funnel
from synth_assets.stages.ingestion import batch_for, refuse_known
from synth_assets.vocabulary import Stage


@click.command()
@click.argument("dataset")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--generator", required=True, help="Tool that made the samples; it stays with every one of them.")
@click.option("--batch", help="Partition key; default is the latest past period in which nothing was generated.")
@click.option("--text-field", default="text", show_default=True, help="Field of a row that holds the text.")
@click.option("--label-field", default="label", show_default=True, help="Field of a row that holds the label.")
@as_json
def ingest(
    *,
    dataset: str,
    file: Path,
    generator: str,
    batch: str | None,
    text_field: str,
    label_field: str,
    is_json: bool,
) -> None:
    """Take samples from FILE into a batch of DATASET and judge them like any others.

    FILE is JSONL, JSON or Parquet, or the output folder of DataDesigner or Curator. A row may say prompt, prompt_name,
    prompt_version, model, generation_params and generated_at; what it does not say is recorded as unknown.
    """
    if not NAME.fullmatch(generator):
        raise UsageError(f"{generator!r} is no name", where="--generator", fix="use letters, digits and . : / @ + - _")
    drop = read_drop(file, Origin(generator))  # what cannot be taken in is refused before any batch is opened
    project = Project()
    recipe = project.recipe(dataset)
    refuse_moved(project.lake, recipe)
    refuse_known(project.lake, dataset, sha256(drop.data), drop.name)
    key = batch_key(recipe, batch) if batch else _free(project, recipe)
    asked = {"file": str(file.absolute()), "generator": generator, "text_field": text_field, "label_field": label_field}
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
        print_json(facts)
    else:
        print_funnel(facts)
    if not standing(project.lake.read("stage_commits", dataset=dataset, partition=key)).is_green:
        red = ", ".join(f"{stage}.{gate}" for stage, gate, _ in ran.failed_checks)
        raise StoppedError(
            f"{dataset} {key} is red at {red}",
            where=f"{dataset}, partition {key}",
            fix=f"see `synth status {dataset}`; `synth run {dataset} --batch {key}` judges the rows again",
        )


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
