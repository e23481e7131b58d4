"""What Dagster itself costs a batch: an empty batch through all stages, beside a bare chain of four assets.

``python -m benchmarks.dagster_share [--runs N]`` runs both in this process, in turn, and prints medians and ratios. The
bare chain is four assets that return nothing, on Dagster's storage as it comes. The batch is the project's own job -
its seven assets, its checks, its storage - with stages that pass every gate without doing anything, so what is timed is
Dagster's: planning, steps, checks, events, storage. The bare chain on the project's storage stands beside them. On
SQLite, then on a Postgres started from a wheel, fsync on.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import dagster as dg

from resources.claims import Claims
from resources.instance import instance_for
from synth_assets.assets import batch, report
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
from tests.fakes.postgres import PostgresServer
from tests.fakes.real_data import FakeRealData
from tests.fakes.recipes import write_recipe
from tests.fakes.world import DAY, QUIET

LIMIT = 1.5
"""Most that Dagster may cost a batch, in bare chains."""

INPUTS = {"digest": "0" * 64, "rows": 0}
CARD = "a card " * 2_000
"""As long as the card of a batch with its pictures."""

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
        (report, "history_of"): lambda *_, **__: [],
        (report, "card_of"): lambda *_, **__: CARD,
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


@contextmanager
def stock(address: str, folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open an instance as Dagster makes it when nobody configures anything but the place."""
    where = {"postgres": {"postgres_url": address}} if address else {"sqlite": {"base_dir": str(folder)}}
    with dg.DagsterInstance.local_temp(
        str(folder), overrides={"storage": where, "telemetry": {"enabled": False}}
    ) as instance:
        yield instance


def measured(kind: str, addresses: tuple[str, str], folder: Path, runs: int) -> float:
    """Time the jobs in turn, print the medians, and return batch by bare chain, the median over the rounds.

    Args:
        kind: of storage.
        addresses: of an empty database for Dagster as it comes and one for the project; empty means SQLite files.
        folder: empty.
        runs: rounds.
    """
    recipe = load_recipe(write_recipe(folder))
    bare, own = bare_chain(), own_batch(recipe, folder / "home")
    home = folder / "dagster"
    mine = mock.patch.dict(os.environ, {"SYNTH_INSTANCE": addresses[1] or str(home)})
    with stock(addresses[0], folder) as theirs, mine, instance_for(home) as ours:
        rounds = [
            (timed(bare, theirs), timed(bare, ours), timed(own, ours))
            for _ in range(runs + 1)  # the first makes tables and fills caches
        ][1:]
    medians = " | ".join(f"{statistics.median(column):.3f}" for column in zip(*rounds, strict=True))
    ratios = [whole / chain for chain, _, whole in rounds]
    ratio = statistics.median(ratios)
    print(f"| {kind} | {medians} | {ratio:.2f} | {min(ratios):.2f} to {max(ratios):.2f} |")
    return ratio


def main() -> int:
    """Measure and print; return 1 if Dagster's share is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="rounds; each times all three jobs")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| storage | bare chain, Dagster's storage, s | bare chain, ours, s | empty batch, ours, s | ratio | range |")
    print("|---|---|---|---|---|---|")
    server = PostgresServer()
    try:
        server.do("ALTER SYSTEM RESET fsync")
        server.do("SELECT pg_reload_conf()")
        addresses = {"SQLite": ("", ""), "Postgres": (server.database("theirs"), server.database("ours"))}
        with ExitStack() as stack:
            without_work(stack)
            ratios = []
            for kind, pair in addresses.items():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                ratios.append(measured(kind, pair, folder, asked.runs))
    finally:
        server.close()
    return int(max(ratios) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
