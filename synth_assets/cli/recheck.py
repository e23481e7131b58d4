"""`synth recheck`: what today's gates would say of what is stored."""

from dataclasses import asdict
from typing import Any

import click

from synth_assets.cli.output import as_json, counted, print_json, print_table, say
from synth_assets.cli.project import Project
from synth_assets.errors import UsageError


@click.command()
@click.argument("dataset")
@click.option("--batch", help="Only this batch; without it, every batch that was planned.")
@as_json
def recheck(*, dataset: str, batch: str | None, is_json: bool) -> None:
    """Judge what is stored of DATASET by today's gates and recipe, and say what would come out otherwise.

    Nothing is changed: a batch is judged anew by materializing its stages, and a released version never is.
    """
    from resources.wiring import RealDataReader
    from synth_assets.domain.greenness import opened
    from synth_assets.reports.recheck import recheck as recheck_of

    project = Project(is_reading=True)
    recipe = project.recipe(dataset)
    known = opened(project.lake.chain(dataset))
    if batch is not None and batch not in known:
        raise UsageError(
            f"{dataset} has no batch {batch[:40]!r}", where="--batch", fix=f"`synth status {dataset}` lists them"
        )
    protected = tuple(RealDataReader().protected(recipe).rows["text"])
    found = recheck_of(project.lake, recipe, None if batch is None else [batch], protected=protected)
    if is_json:
        print_json(asdict(found))
        return
    say(f"{dataset}: {counted(len(found.batches), 'batch', 'batches')}, {counted(found.gates, 'verdict')} looked at")
    if found.differing:
        rows = [
            (each["batch"], f"{each['stage']}.{each['gate']}", _said(each["then"]), _said(each["now"]))
            for each in found.differing
        ]
        print_table("would come out otherwise", ("batch", "gate", "then", "now"), rows)
    else:
        say("every verdict would come out the same")


def _said(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "not asked"
    value = "" if verdict["value"] is None else f" ({verdict['value']:.4g})"
    return f"{'passed' if verdict['passed'] else 'failed'}{value}"
