"""What the commands work with: the home, the recipes, the lake and Dagster's instance, each opened when first used."""

import shutil
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from resources.home import is_home, no_home
from resources.places import PROJECT, recipes_folder, synth_home
from synth_assets.cli.output import note
from synth_assets.errors import StoppedError, UsageError
from synth_assets.recipe import BrokenRecipe, Recipe, discover, load_recipe

if TYPE_CHECKING:
    import dagster as dg

    from resources.lake import DuckLake
    from synth_assets.domain.ports import Routing


def _looks_unmounted(home: Path) -> bool:
    """Whether a folder is there, empty, and no mount point."""
    return home.is_dir() and not home.is_mount() and not any(home.iterdir())


def _no_folder(owner: object) -> Path:
    """Return a folder that is gone with its owner."""
    folder = Path(mkdtemp(prefix="synth-no-home-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


class Project:
    """The checkout and its data, as one command sees them."""

    def __init__(self, *, is_reading: bool = False, may_begin: bool = False, is_imagining: bool = False) -> None:
        """Find the checkout and its data.

        Args:
            is_reading: the command only reads, and works where none may write.
            may_begin: the command makes a home where there is none; any other says that there is none.
            is_imagining: the command tells what would be: where there is no home, it looks at a new one that is none.
        """
        self._is_reading, self._may_begin, self._is_imagining = is_reading, may_begin, is_imagining
        self.root = PROJECT
        self.home = synth_home()
        self._kept_open = ExitStack()

    @cached_property
    def recipes(self) -> Path:
        """Folder of dataset folders."""
        return recipes_folder()

    @cached_property
    def lake(self) -> "DuckLake":
        """The lake of this home, kept open for the length of the command.

        Raises:
            UsageError: the folder is no home, and the command makes none.
        """
        from resources.lake import leased_lake, open_lake, reading_lake

        if not is_home(self.home):
            if self._is_imagining:
                return self._kept_open.enter_context(closing(open_lake(_no_folder(self), {})))
            if not self._may_begin:
                raise no_home(self.home)
            if _looks_unmounted(self.home):
                note(f"{self.home} was empty (a volume that is not mounted looks the same); it is a home now")
        opened = reading_lake if self._is_reading else leased_lake
        return self._kept_open.enter_context(opened(self.home))

    def begin(self) -> str:
        """See to it that there is a home, and that catalog and instance are its own.

        Returns:
            The home's id.

        Raises:
            IntegrityError: they are another home's.
        """
        with self._kept_open, self.instance():
            identity = self.lake.identity
        return identity.home_id if identity is not None else ""

    def recipe(self, dataset: str) -> Recipe:
        """Return a dataset's recipe.

        Raises:
            UsageError: there is none of that name, or it cannot be read.
        """
        folder = self.recipes / dataset
        if "/" in dataset or not (folder / "recipe.yaml").is_file():
            names = (
                ", ".join(sorted(each.name for each in self.recipes.glob("*/recipe.yaml") for each in [each.parent]))
                or "none"
            )
            raise UsageError(
                f"no dataset called '{dataset}'",
                where=str(self.recipes),
                fix=f"datasets here: {names}; `synth init NAME` makes one",
            )
        return load_recipe(folder)

    def released_recipe(self, dataset: str) -> Recipe:
        """Return a dataset's recipe or, where there is none that can be read, the one its newest version was cut by.

        Raises:
            UsageError: there is none of that name, and nothing was released.
        """
        from synth_assets.reports.releases import recipe_of_newest

        try:
            return self.recipe(dataset)
        except UsageError:
            found = recipe_of_newest(self.lake, dataset, self.recipes / dataset)
            if found is None:
                raise
            return found

    def datasets(self) -> list[Recipe | BrokenRecipe]:
        """Return every recipe, readable or not."""
        return discover(self.recipes)

    def definitions(self, recipe: Recipe) -> "dg.Definitions":
        """Return the assets and jobs of one dataset."""
        from synth_assets.definitions import build_defs

        if recipe.templates:
            return build_defs([recipe], home=str(self.home))
        return build_defs([], released=[recipe], home=str(self.home))

    def routing(self, recipe: Recipe) -> "Routing":
        """Return the models a recipe would ask; nothing is started."""
        from resources.wiring import Generators

        with Generators(self.lake.home).open(recipe) as generator:
            return generator.routing

    def rehearse(self, recipe: Recipe, batch: str, *, regenerate: bool) -> None:
        """In a replay, see to it that the journal knows every call the next run would make; otherwise do nothing.

        Raises:
            StoppedError: it knows nothing of one.
        """
        from resources.wiring import Generators
        from synth_assets.stages.rehearsal import rehearse

        with Generators(self.home).open(recipe) as generator:
            if generator.is_replay:
                has_all = partial(generator.rehearse, dataset=recipe.dataset, batch=batch)
                routing = generator.routing
                rehearse(self.lake, recipe, batch, routing=routing, has_all=has_all, regenerate=regenerate)

    @contextmanager
    def instance(self) -> Iterator["dg.DagsterInstance"]:
        """Yield the Dagster instance whose runs `make ui` shows.

        Raises:
            StoppedError: its storage cannot be written, e.g. because the disk is full.
        """
        from resources.instance import (
            dagster_home,
            instance_for,
            refuse_stranger,
            retries_in_one_line,
            storage_errors,
            storage_place,
        )

        try:
            identity = self.lake.identity
            with retries_in_one_line(), instance_for(dagster_home()) as instance:
                refuse_stranger(instance, identity)
                yield instance
        except storage_errors() as error:
            raise StoppedError(
                f"Dagster could not write down what runs ({type(error).__name__}); everything finished is kept",
                where=storage_place(),
                fix="check the free space or the server there, then run the same command again",
            ) from None
