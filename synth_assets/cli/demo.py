"""`synth demo`: from nothing to a trained model, and the lineage of one sample."""

import time
from typing import Any

import click

from synth_assets.cli.batches import print_funnel, run_batch
from synth_assets.cli.output import console, counted, print_table, say, visible
from synth_assets.cli.project import Project
from synth_assets.cli.versions import cut_version, print_evaluation, train_version
from synth_assets.recipe import Recipe
from synth_assets.reports.funnel import funnel
from synth_assets.reports.lineage import of_sample
from synth_assets.stages.generation import Wish

DATASET = "movie_sentiment"
LONGEST_FACT = 32


@click.command()
def demo() -> None:
    """Make a batch of film reviews with the embedded model, release it, train on it and measure on real reviews.

    The batch is the recipe's first one, so a second demo finds everything done and pays nothing.
    """
    started = time.monotonic()
    project = Project(may_begin=True)
    recipe = project.recipe(DATASET)
    batch = recipe.model.start
    _step(1, f"generate, score and curate batch {batch} with {_models(project, recipe)}")
    red = run_batch(project, recipe, batch, Wish(), is_quiet=False)
    facts = funnel(project.lake, DATASET, batch)
    print_funnel(facts)
    if red is not None:
        raise red
    _step(2, "release the accepted samples")
    version = cut_version(project, recipe, reason="demo", as_judged=False)
    say(f"{DATASET} {version['version']}: {counted(version['num_samples'], 'sample')}, digest {version['digest'][:16]}")
    _step(3, "train a classifier on them, and measure it on real reviews")
    run = train_version(project, recipe, version["version"])
    print_evaluation(run)
    _step(4, "one sample, from its template to the model that consumed it")
    _lineage(project, recipe.dataset, batch)
    _closing(project, version, run, time.monotonic() - started)


def _models(project: Project, recipe: Recipe) -> str:
    return ", ".join(each.model_id.split("@")[0] for each in project.routing(recipe).providers)


def _step(number: int, what: str) -> None:
    console.print(f"\n[bold]{number}  {what}[/bold]")


LINKS = {
    "prompt": ("template_sha256", "mode"),
    "request": ("batch", "seed"),
    "generation": ("model", "output_tokens"),
    "sample": ("label", "content_sha256"),
    "decision": ("quality_score",),
    "version": ("num_samples", "digest"),
    "model_run": ("accuracy", "num_samples"),
}
"""The links of the chain in the order data flows, and the facts the demo shows of each; `synth lineage` shows all."""


def _lineage(project: Project, dataset: str, batch: str) -> None:
    examples = project.lake.read("training_examples", dataset=dataset, batch=batch)
    best = examples.sort("quality_score", "sample_id", descending=[True, False], nulls_last=True)["sample_id"][0]
    found = of_sample(project.lake, best)
    nodes = {node["kind"]: node for node in _walk([found["subject"], *found["up"], *found["down"]])}
    rows = [
        (kind.replace("_", " "), nodes[kind]["id"], _facts_of(nodes[kind]["facts"], names))
        for kind, names in LINKS.items()
        if kind in nodes
    ]
    print_table("", ("", "id", ""), rows)
    say(f"the whole chain: synth lineage --sample {best}")


def _walk(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for node in nodes for each in (node, *_walk(node["children"]))]


def _facts_of(facts: dict[str, Any], names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {visible(facts[name])[:LONGEST_FACT]}" for name in names if facts.get(name) is not None)


def _closing(project: Project, version: dict[str, Any], run: dict[str, Any], seconds: float) -> None:
    folder = project.home / "releases" / version["dataset"] / version["version"]
    console.print()
    print_table(
        "where things are",
        ("", ""),
        [
            ("release", folder),
            ("dataset card", folder / "README.md"),
            ("metadata", 'synth query "select * from samples limit 5"'),
            ("lineage", f"synth lineage --model-run {run['model_run_id']}"),
            ("web UI", "make ui"),
            ("took", f"{seconds:.0f} s"),
        ],
    )
