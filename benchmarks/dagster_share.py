"""What Dagster itself costs a batch: an empty batch through all stages, beside a bare chain of four assets.

``python -m benchmarks.dagster_share [--runs N] [--postgres URL]`` runs both in this process, in turn, on the same
instance, and prints medians and their ratio. The bare chain is four assets that return nothing. The batch is the
project's own job - its assets, its checks, its resources - with stages that pass every gate without doing anything, so
what is timed is Dagster's: planning, steps, checks, events, storage.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import dagster as dg

from resources.claims import Claims
from resources.instance import instance_for
from synth_assets.assets import batch
from synth_assets.assets.factory import dataset_assets
from synth_assets.assets.partitions import batch_job
from synth_assets.checks.gates import GATES
from synth_assets.checks.verdict import Verdict
from synth_assets.jobs import dataset_jobs
from synth_assets.recipe import Recipe, load_recipe
from synth_assets.stages.work import Finished
from synth_assets.vocabulary import Stage
from tests.fakes.embedder import HashedWords
from tests.fakes.generator import FakeGenerator, FakeGenerators
from tests.fakes.lake import MemoryLake
from tests.fakes.real_data import FakeRealData
from tests.fakes.recipes import write_recipe
from tests.fakes.world import DAY, QUIET

LIMIT = 1.5
"""Most that Dagster may cost a batch, in bare chains."""

INPUTS = {"digest": "0" * 64, "rows": 0}
FACTS = {"planned": 12, "answered": 12, "samples": 12, "accepted": 12, "cost_usd": 0.1}


def empty(stage: Stage) -> Callable[..., Finished]:
    """Return a stage that passes every gate and does nothing."""
    verdicts = [Verdict(gate.name, passed=True, facts={"checked": 12}) for gate in GATES.get(stage, ())]
    return lambda *_, **__: Finished(stage, verdicts, "0" * 64, FACTS)


def without_work(stack: ExitStack) -> None:
    """Let every stage of the project end at once."""
    stages = {
        (batch.generation, "plan"): empty(Stage.GENERATION_PLAN),
        (batch.generation, "generate"): empty(Stage.GENERATED),
        (batch.judgement, "score"): empty(Stage.SCORED),
        (batch.judgement, "curate"): empty(Stage.CURATED),
        (batch.judgement, "make_ready"): empty(Stage.TRAINING_READY),
        (batch, "register_templates"): lambda *_, **__: INPUTS,
        (batch, "register_seeds"): lambda *_, **__: INPUTS,
    }
    for (module, name), stage in stages.items():
        stack.enter_context(mock.patch.object(module, name, stage))


def bare_chain() -> dg.JobDefinition:
    """Return four assets that return nothing, one after the other."""
    assets: list[dg.AssetsDefinition] = []
    for number in range(4):
        deps = [assets[-1]] if assets else []

        @dg.asset(name=f"bare_{number}", deps=deps, partitions_def=dg.StaticPartitionsDefinition([DAY]))
        def nothing() -> None:
            """Do nothing."""

        assets.append(nothing)
    defs = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("bare", assets)], executor=dg.in_process_executor)
    return defs.resolve_job_def("bare")


def own_batch(recipe: Recipe, home: Path) -> dg.JobDefinition:
    """Return the project's batch job on fakes, with a lake in memory."""
    lake = MemoryLake(home)
    defs = dg.Definitions(
        assets=dataset_assets(recipe),
        jobs=dataset_jobs(recipe),
        resources={
            "lake": lake,
            "claims": Claims(lake, home),
            "generators": FakeGenerators(FakeGenerator()),
            "embedder": HashedWords(),
            "real_data": FakeRealData(),
        },
        executor=dg.in_process_executor,
    )
    return defs.resolve_job_def(batch_job(recipe.dataset))


def timed(job: dg.JobDefinition, instance: dg.DagsterInstance) -> float:
    """Return the seconds of one run."""
    started = time.perf_counter()
    result = job.execute_in_process(instance=instance, partition_key=DAY, run_config={"loggers": QUIET})
    assert result.success
    return time.perf_counter() - started


def measured(kind: str, folder: Path, runs: int) -> float:
    """Time both jobs in turn on one instance, print the medians, and return their ratio, pair by pair."""
    recipe = load_recipe(write_recipe(folder))
    bare, own = bare_chain(), own_batch(recipe, folder / "home")
    with instance_for(folder / "dagster") as instance:
        timed(bare, instance), timed(own, instance)  # tables, caches
        pairs = [(timed(bare, instance), timed(own, instance)) for _ in range(runs)]
    chain, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for theirs, mine in pairs)
    print(
        f"| {kind} | {chain:.3f} | {whole:.3f} | {ratio:.2f} | {min(m / t for t, m in pairs):.2f} to "
        f"{max(m / t for t, m in pairs):.2f} |"
    )
    return ratio


def main() -> int:
    """Measure and print; return 1 if Dagster's share is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--postgres", default="", help="postgresql+psycopg2://... of a database to measure as well")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| storage | bare chain, s | empty batch, s | ratio | from to |\n|---|---|---|---|---|")
    ratios = []
    for kind, address in {"SQLite": "", "Postgres": asked.postgres}.items():
        if kind == "Postgres" and not address:
            continue
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, {"SYNTH_INSTANCE": address or f"{folder}/dagster"}))
            without_work(stack)
            ratios.append(measured(kind, Path(folder), asked.runs))
    return int(max(ratios) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
