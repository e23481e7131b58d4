"""Reading a dataset's folder into one value, or one clear refusal."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from synth_assets.canonical import digest, sha256, stored_json
from synth_assets.errors import SynthError, UsageError
from synth_assets.recipe.axis_rules import LABEL, names_by_axis
from synth_assets.recipe.chains import refuse_unfit
from synth_assets.recipe.languages import refuse_undetected
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.models import ModelUse, refuse_unknown
from synth_assets.recipe.providers import NO_PROFILES, Profiles, load_profiles
from synth_assets.recipe.strict_json import NoJsonError, strict_json
from synth_assets.recipe.strict_yaml import Document, parse
from synth_assets.recipe.template import Template, load_template
from synth_assets.recipe.validation import validated
from synth_assets.vocabulary import Assessment


@dataclass(frozen=True)
class SeedRow:
    """One row of a seed table or a test set: ``fields`` as written, ``text`` always among them."""

    table: str
    position: int
    fields: dict[str, str]

    @property
    def seed_id(self) -> str:
        """Hash of the row's content."""
        return digest([self.table, self.fields])


@dataclass(frozen=True)
class Recipe:
    """A dataset's folder as one immutable value."""

    folder: Path
    model: RecipeModel
    templates: tuple[Template, ...]
    seeds: tuple[SeedRow, ...]
    test: tuple[SeedRow, ...] = ()
    """Rows of the test set that stands in the folder; no prompt ever sees them."""
    profiles: Profiles = NO_PROFILES
    """The endpoints it may name; empty for one that names none."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.model.dataset

    @property
    def canonical(self) -> bytes:
        """The recipe's keys as sorted JSON; a verdict can be re-derived from it."""
        return stored_json(self.model.model_dump(mode="json")).encode()

    @property
    def sha256(self) -> str:
        """Hash of `canonical`."""
        return sha256(self.canonical)

    def promising(self, accepted: int) -> "Recipe":
        """Return the recipe with another promise: a batch keeps the one it was opened with.

        0, the promise of ingested samples, changes nothing: no recipe can say it.
        """
        if accepted == 0:
            return self
        batch = self.model.batch.model_copy(update={"accept": accepted})
        return replace(self, model=self.model.model_copy(update={"batch": batch}))

    @property
    def shots(self) -> tuple[SeedRow, ...]:
        """Seed rows that show what an answer looks like."""
        return tuple(row for row in self.seeds if self.model.seeds[row.table].is_example)

    def template(self, name: str) -> Template:
        """Return the template called ``name``; the loader made sure it exists."""
        return next(template for template in self.templates if template.name == name)


@dataclass(frozen=True)
class BrokenRecipe:
    """A folder that could not be read: it takes down its own graph only."""

    dataset: str
    folder: Path
    error: SynthError


def template_sha256(template: Template) -> str:
    """Hash front matter and body of a template."""
    return digest(template.model_dump(mode="json"))


def discover(root: Path) -> list[Recipe | BrokenRecipe]:
    """Return every folder under ``root`` that has a `recipe.yaml`, sorted by name, readable or not."""
    found: list[Recipe | BrokenRecipe] = []
    for file in sorted(root.glob("*/recipe.yaml")):
        try:
            found.append(load_recipe(file.parent))
        except SynthError as error:
            found.append(BrokenRecipe(dataset=file.parent.name, folder=file.parent, error=error))
    return found


def load_recipe(folder: Path) -> Recipe:
    """Read `recipe.yaml`, the templates it uses and its seed tables.

    Raises:
        UsageError: anything missing, unknown, repeated or out of range, with file, line and fix.
    """
    file = folder / "recipe.yaml"
    if not file.is_file():
        raise UsageError(
            f"no dataset '{folder.name}'",
            where=str(folder),
            fix=f"name one of the folders in {folder.parent}, or `synth init {folder.name}`",
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise UsageError("the recipe cannot be read", where=str(file), fix="write the file as UTF-8") from None
    document = parse(text, file=file)
    model = validated(RecipeModel, document, file=file)
    if model.dataset != folder.name:
        line = document.line_of(("dataset",))
        raise UsageError(
            f"dataset '{model.dataset}' is not the folder's name",
            where=f"{file}:{line}",
            fix=f"set `dataset: {folder.name}`",
        )
    for part in ("rules", "quality_score"):
        if Assessment.LANGUAGE in getattr(model, part):
            at = document.line_of((part, Assessment.LANGUAGE.value))
            refuse_undetected(model.languages, where=f"{file}:{at}")
    names = dict.fromkeys(name for use in model.prompts for name in use.chain)  # one may follow several others
    templates = {name: load_template(folder / "prompts" / f"{name}.md") for name in names}
    for use in model.prompts:
        refuse_unfit(use, [templates[name] for name in use.chain], model.task_type)
    seeds = tuple(row for name, table in model.seeds.items() for row in read_seeds(name, folder / table.file))
    _refuse_unmatched(model, folder, seeds)
    test = _test_rows(model, folder, seeds)
    profiles = _profiles(model, document, file)
    return Recipe(folder, model, tuple(templates.values()), seeds, test, profiles)


def _profiles(model: RecipeModel, document: Document, file: Path) -> Profiles:
    """Read the endpoints a recipe names; a model's own name may hold a slash too, so one nobody knows is left as it is.

    Raises:
        UsageError: `providers.yaml` cannot be read, or lacks what the recipe names.
    """
    named, settings = ("generator", "model"), model.generator
    if not settings.models and "/" not in settings.model:
        return NO_PROFILES
    profiles = replace(load_profiles(file.parents[1]), named_at=f"{file}:{document.line_of(named)}")
    if settings.models:
        refuse_unknown(settings.models, profiles, where=document, file=str(file))
    elif settings.model.partition("/")[0] in profiles.providers:
        refuse_unknown([ModelUse(model=settings.model)], profiles, where=document, file=str(file), at=named)
    return profiles


def _refuse_unmatched(model: RecipeModel, folder: Path, seeds: tuple[SeedRow, ...]) -> None:
    """Refuse a row that no request would ever match: its table matches by an axis, and that has no such value."""
    known = {LABEL: set(model.labels)} | names_by_axis(model.axes)
    for row in seeds:
        table = model.seeds[row.table]
        for axis in table.match:
            value = row.fields.get(axis)
            if value is not None and value not in known[axis]:
                close = difflib.get_close_matches(value, known[axis], n=1)
                raise UsageError(
                    f"seed table '{row.table}' matches by {axis}, and {value[:80]!r} is none of its values",
                    where=f"{folder / table.file}:{row.position + 1}",
                    fix=f"did you mean {close[0]!r}?" if close else f"its values are {', '.join(sorted(known[axis]))}",
                )


def _test_rows(model: RecipeModel, folder: Path, seeds: tuple[SeedRow, ...]) -> tuple[SeedRow, ...]:
    """Read the test set of the folder, if there is one: every label occurs, no text twice and none from a seed."""
    if model.real_data is None or model.real_data.test is None:
        return ()
    file = folder / model.real_data.test
    rows = _rows("test", file, key="real_data")
    taken = {_folded(row): f"a row of seed table '{row.table}'" for row in seeds}
    for row in rows:
        where = f"{file}:{row.position + 1}"
        if row.fields.get("label") not in model.labels:
            fix = f"give it one of {', '.join(sorted(model.labels))}"
            raise UsageError("a test row needs a label of the recipe", where=where, fix=fix)
        if _folded(row) in taken:
            raise UsageError(f"a test row is also {taken[_folded(row)]}", where=where, fix="remove one of the two")
        taken[_folded(row)] = "an earlier test row"
    missing = sorted(set(model.labels) - {row.fields["label"] for row in rows})
    if missing:
        raise UsageError(f"no test row has label {missing[0]}", where=str(file), fix="add some")
    return tuple(rows)


def _folded(row: SeedRow) -> str:
    return " ".join(row.fields["text"].casefold().split())


def read_seeds(table: str, file: Path) -> list[SeedRow]:
    """Return the rows of a seed table.

    Raises:
        UsageError: the file is missing or empty, or a line is no flat JSON object of strings with a `text`.
    """
    return _rows(table, file, key="seeds")


def _rows(table: str, file: Path, *, key: str) -> list[SeedRow]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        raise UsageError(
            f"table '{table}' cannot be read",
            where=str(file),
            fix=f"write the file, or correct `{key}:` in recipe.yaml",
        ) from None
    rows = [_row(table, position, line, file) for position, line in enumerate(lines) if line.strip()]
    if not rows:
        raise UsageError(f"table '{table}' is empty", where=str(file), fix='add a line such as {"text": "..."}')
    return rows


def _row(table: str, position: int, line: bytes, file: Path) -> SeedRow:
    where = f"{file}:{position + 1}"
    try:
        fields = strict_json(line)
    except NoJsonError as error:
        fix = 'write {"text": "..."} on one line, in UTF-8, each key once'
        raise UsageError(f"not one JSON object: {error}", where=where, fix=fix) from None
    is_flat = isinstance(fields, dict) and all(isinstance(value, str) for value in fields.values())
    if not is_flat or not fields.get("text", "").strip():
        raise UsageError(
            "a row needs a `text` and strings only", where=where, fix='write {"text": "...", "label": "..."}'
        )
    return SeedRow(table=table, position=position, fields=fields)
