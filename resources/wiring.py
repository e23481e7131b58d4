"""Dagster resources: configuration here, behaviour in the adapters they return; assets see only the ports."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dagster as dg
from pydantic import Field

from resources.claims import Claims
from resources.embedder import MiniLMEmbedder
from resources.home import refuse_none
from resources.instance import refuse_stranger
from resources.lake import DuckLake, leased_lake
from resources.llm import Router, make_generator, warm_up
from resources.owners import end_left_behind, process_tags
from resources.places import synth_home
from resources.real_data import read_real_data, read_test_of_folder
from synth_assets.domain.ports import Embedder, LabelledTexts, RealData
from synth_assets.recipe import Recipe

HOME = Field(default="", description="SYNTH_HOME; empty reads the environment.")


class LakeResource(dg.ConfigurableResource[DuckLake]):
    """Which lake; assets receive a `Lake`."""

    home: str = HOME

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[DuckLake]:
        """Open the lake for a run or a sensor, and close it afterwards; a folder that is no home is not made one."""
        home = _home(self.home)
        refuse_none(home)
        with leased_lake(home) as lake:
            if context.instance is not None:
                refuse_stranger(context.instance, lake.identity)
            yield lake


class ClaimsResource(dg.ConfigurableResource[Claims]):
    """Claims of a run: taken before the first request, given back when the run ends, freed if its process dies."""

    home: str = HOME
    lake: dg.ResourceDependency[DuckLake]

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Claims]:
        """Hand out claims for the length of a run."""
        instance = context.instance
        if context.run is not None and instance is not None:
            instance.add_run_tags(context.run.run_id, process_tags())
        claims = Claims(self.lake, _home(self.home), on_claim=partial(_end_left_behind, instance))
        try:
            yield claims
        finally:
            claims.release()


class Generators:
    """Opens the model a recipe asks for."""

    def __init__(self, home: Path) -> None:
        self._home = home

    @contextmanager
    def open(self, recipe: Recipe) -> Iterator[Router]:
        """Yield the generator of a recipe; nothing is started before the first call is sent."""
        generator = make_generator(
            recipe.model.generator, home=self._home, environ=os.environ, profiles=recipe.profiles
        )
        try:
            yield generator
        finally:
            generator.close()


class GeneratorsResource(dg.ConfigurableResource[Generators]):
    """Where models come from: the embedded one, `providers.yaml`, or the endpoint in SYNTH_LLM_BASE_URL."""

    home: str = HOME

    def create_resource(self, context: dg.InitResourceContext) -> Generators:
        """Return the models of this home; what asking them needs is imported while the run opens its lake."""
        warm_up()
        return Generators(_home(self.home))


class EmbedderResource(dg.ConfigurableResource[Embedder]):
    """The sentence embedder; assets receive an `Embedder`."""

    threads: int = Field(default=1, ge=1, description="Threads of the runtime; more than the free cores is slower.")

    def create_resource(self, context: dg.InitResourceContext) -> Embedder:
        """Load the weights once per run."""
        return MiniLMEmbedder(threads=self.threads)


class RealDataReader:
    """Reads the real data a recipe is measured on; it has no configuration, so it is a resource as it is."""

    def read(self, recipe: Recipe) -> RealData | None:
        """Return the data, or None for a recipe that names none."""
        use = recipe.model.real_data
        if use is None:
            return None
        if use.test_rows is None:
            return read_test_of_folder(recipe)
        return read_real_data(use.reader, test_rows=use.test_rows)

    def protected(self, recipe: Recipe) -> LabelledTexts:
        """Return the rows no sample may resemble; empty for a recipe without real data."""
        real = self.read(recipe)
        return real.protected if real else LabelledTexts.empty()


def _end_left_behind(instance: dg.DagsterInstance | None, dataset: str, batch: str) -> None:
    if instance is not None:
        end_left_behind(instance, dataset=dataset, partitions=[batch])


def _home(configured: str) -> Path:
    return Path(configured).expanduser().absolute() if configured else synth_home()
