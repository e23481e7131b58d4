"""What `synth doctor` looks at in a home: what is stored, what runs, and what waits for a person."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from synth_assets.cli.findings import Environ, Finding
from synth_assets.cli.output import counted
from synth_assets.cli.project import Project
from synth_assets.recipe import BrokenRecipe


def _catalog(project: Project, environ: Environ) -> Iterator[Finding]:
    from resources.lake import catalog_place

    datasets = project.lake.read("heads")["dataset"].to_list()
    names = ", ".join(sorted(datasets)) or "none yet"
    yield Finding("catalog", True, f"{catalog_place(project.home, environ)} opens; datasets: {names}")


def _dagster_instance(project: Project, _: Environ) -> Iterator[Finding]:
    from resources.instance import storage_place

    with project.instance() as instance:
        yield Finding("dagster instance", True, f"{storage_place()} opens; {counted(instance.get_runs_count(), 'run')}")


def _verified(project: Project, _: Environ) -> Iterator[Finding]:
    """Say when each chain was last verified, and how much was written since."""
    from resources.verified import last_verified

    known = last_verified(project.home)
    for dataset in sorted(project.lake.read("heads")["dataset"]):
        length = project.lake.chain(dataset).length
        last = known.get(dataset)
        says = f"entry {last.seq:,} at {last.at}, {length - last.seq:,} written since" if last else "never"
        yield Finding(f"verified {dataset}", True, says)


def _budgets(project: Project, _: Environ) -> Iterator[Finding]:
    """Say what the latest batch of each dataset used of its budget; an unknown cost counts at the most it can be."""
    from synth_assets.domain.drafting import COUNTS_USD

    for recipe in project.datasets():
        budget = None if isinstance(recipe, BrokenRecipe) else recipe.model.batch.budget_usd
        batches = project.lake.read("batches", dataset=recipe.dataset)["batch"]
        if budget is None or batches.is_empty():
            continue
        latest = str(batches.max())
        used = math.fsum(
            project.lake.read("generations", dataset=recipe.dataset, batch=latest).select(COUNTS_USD).to_series()
        )
        yield Finding(f"budget {recipe.dataset}", True, f"{latest} used {used:.4f} of {budget:.4f} USD")


def _waiting(project: Project, _: Environ) -> Iterator[Finding]:
    """List what waits for a person."""
    from sensors.troubles import troubles

    recipes = [each for each in project.datasets() if not isinstance(each, BrokenRecipe)]
    with project.instance() as instance:
        found = troubles(project.lake, instance, recipes, now=datetime.now(UTC))
    for each in found:
        yield Finding(each.key, False, each.what, each.fix)
    if not found:
        yield Finding("waiting", True, "nothing waits for a person")


def _claims(project: Project, _: Environ) -> Iterator[Finding]:
    """List the batches that somebody works on, and open attempts of datasets whose recipe cannot be read."""
    from resources.claims import is_free

    readable = {each.dataset for each in project.datasets() if not isinstance(each, BrokenRecipe)}
    batches = project.lake.read("batches").sort("dataset", "batch")
    for dataset, batch, attempt in batches.select("dataset", "batch", "open_attempt").iter_rows():
        if not is_free(project.home, dataset, batch):
            yield Finding(f"claim {dataset} {batch}", True, "held: a process works on it")
        elif attempt is not None and dataset not in readable:
            says = f"attempt {attempt} is open and nobody works on it; `synth run {dataset} --batch {batch}` goes on"
            yield Finding(f"claim {dataset} {batch}", True, f"{says} once its recipe can be read")
    planned = batches.filter(batches["attempts"] > 0).height
    yield Finding("batches", True, f"{counted(planned, 'batch', 'batches')} planned so far")


OF_A_HOME = (_catalog, _dagster_instance, _claims, _verified, _budgets, _waiting)
"""Checks of what only a home has."""
