"""SQL models to statements: headers are read, references followed, and every model becomes one SELECT of its own.

Nothing is executed here and nothing is stored as a view: the steps a model builds on are part of its statement. Two
tags stand in a model, `{{ ref('model') }}` and `{{ source('table') }}`; there is no other templating.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from dbt_like_sql.audits import Audit, audits_of
from dbt_like_sql.header import Header, parse_header
from synth_assets.errors import UsageError
from synth_assets.tables import TABLES

FOLDER = Path(__file__).parent
LAYERS = {"staging": ("grain", "owner", "columns"), "marts": ("grain", "owner", "columns", "audits")}
"""Folders with the keys of their headers. Staging models have no audits: they are only run as part of a mart."""

LAKE = "lake"
"""The database of the contract's tables, as the lake's adapter attaches it."""

TAG = re.compile(r"\{\{ (ref|source)\('([a-z][a-z0-9_]*)'\) \}\}")
STRAY = re.compile(r"\{[{%#]")
COMMENT_OR_STRING = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
NAME = re.compile(r"[a-z][a-z0-9_]*")
FROM = re.compile(r"(?<!distinct )\bfrom\b")
OUTPUT = re.compile(r"(?:\w+\.)?([a-z]\w*)|(?s:.*)\sas\s+([a-z]\w*)")


@dataclass(frozen=True)
class Model:
    """One file.

    Attributes:
        layer: `staging` or `marts`.
        file: its path, for errors.
        body: the SELECT as written, tags included, comments left out.
        refs: models it reads, with the line that first does so.
        sources: tables it reads.
    """

    name: str
    layer: str
    file: str
    header: Header
    audits: tuple[Audit, ...]
    body: str
    refs: Mapping[str, int]
    sources: frozenset[str]


@dataclass(frozen=True)
class Project:
    """All models; each stands after those it reads."""

    models: Mapping[str, Model]

    @property
    def marts(self) -> list[Model]:
        """The models for people, by name."""
        return sorted((model for model in self.models.values() if model.layer == "marts"), key=lambda model: model.name)

    def lineage(self, name: str) -> list[Model]:
        """Return a model and everything it is built on, in the order of computation."""
        wanted, waiting = set[str](), [name]
        while waiting:
            each = waiting.pop()
            wanted.add(each)
            waiting.extend(set(self.models[each].refs) - wanted)
        return [model for model in self.models.values() if model.name in wanted]

    def sources(self, name: str) -> set[str]:
        """Return the tables of the contract a model is computed from."""
        return {table for model in self.lineage(name) for table in model.sources}

    def compiled(self, name: str) -> str:
        """Return a model as one SELECT: its columns in the header's order, its rows in the order of its grain."""
        header = self.models[name].header
        steps = ",\n".join(f"{model.name} as not materialized (\n{_rendered(model)}\n)" for model in self.lineage(name))
        columns = ",\n    ".join(column.name for column in header.columns)
        return f"with\n{steps}\nselect\n    {columns}\nfrom {name}\norder by {', '.join(header.grain)}\n"


def load_models(folder: Path) -> Project:
    """Read every model of a folder.

    Raises:
        UsageError: a header or a reference is wrong, or models read each other in a circle; it names file and line.
    """
    files = [(layer, file) for layer in LAYERS for file in sorted((folder / layer).glob("*.sql"))]
    models: dict[str, Model] = {}
    for layer, file in files:
        model = parse_model(layer, f"{folder.name}/{layer}/{file.name}", file.read_text(encoding="utf-8"))
        if model.name in models or model.name in TABLES:
            raise _wrong(model.file, 1, f"the name {model.name!r} is taken", "a model and a table need names apart")
        models[model.name] = model
    return Project({name: models[name] for name in _ordered(models)})


@cache
def shipped_models() -> Project:
    """Return the models of this package, read once."""
    return load_models(FOLDER)


def parse_model(layer: str, file: str, text: str) -> Model:
    """Return a model from the text of its file.

    Raises:
        UsageError: the header, a tag or the list of output columns is wrong.
    """
    refuse = partial(_wrong, file)
    name = Path(file).stem
    if not NAME.fullmatch(name):
        raise refuse(1, f"{name!r} is no name of a model", "use lower-case letters, digits and _")
    lines = text.splitlines()
    height = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    header = parse_header(lines[:height], LAYERS[layer], refuse)
    # Blank lines in place of the header keep line numbers true.
    body = COMMENT_OR_STRING.sub(_without_comment, "\n" * height + "\n".join(lines[height:]))
    refs, sources = _references(file, body)
    _compare(file, header, body)
    return Model(name, layer, file, header, tuple(audits_of(name, header, refuse)), body, refs, sources)


def _without_comment(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("'") else ""


def _references(file: str, body: str) -> tuple[dict[str, int], frozenset[str]]:
    refs: dict[str, int] = {}
    sources: set[str] = set()
    for found in TAG.finditer(body):
        kind, name = found.groups()
        if kind == "ref":
            refs.setdefault(name, _line(body, found.start()))
        elif name in TABLES:
            sources.add(name)
        else:
            raise _wrong(file, _line(body, found.start()), f"there is no table {name!r}", "see docs/tables.md")
    if stray := STRAY.search(TAG.sub(lambda tag: " " * len(tag[0]), body)):
        raise _wrong(
            file, _line(body, stray.start()), "this tag is unknown", "write {{ ref('model') }} or {{ source('table') }}"
        )
    return refs, frozenset(sources)


def _compare(file: str, header: Header, body: str) -> None:
    """Refuse a header that describes other columns than the last SELECT returns, or in another order."""
    outputs = _outputs(file, body)
    for name, line in outputs.items():
        if name not in header.lines:
            raise _wrong(file, line, f"column {name!r} is not described", "add it under `columns:`")
    for name, line in header.lines.items():
        if name not in outputs:
            raise _wrong(file, line, f"column {name!r} is described but not selected", "remove it, or select it")
    if list(outputs) != list(header.lines):
        raise _wrong(file, min(outputs.values()), "the columns stand in another order than in the header", "agree")


def _outputs(file: str, body: str) -> dict[str, int]:
    """Return the columns of the outermost SELECT with their lines."""
    flat = _outermost(COMMENT_OR_STRING.sub(lambda string: "x" * len(string[0]), body))
    starts = [found.end() for found in re.finditer(r"\bselect\b", flat)]
    if not starts:
        raise _wrong(file, 1, "the model has no SELECT", "write one below the header")
    start = starts[-1]
    end = next((found.start() for found in FROM.finditer(flat[start:])), len(flat) - start)
    outputs: dict[str, int] = {}
    for item in flat[start : start + end].split(","):
        line = _line(flat, start + len(item) - len(item.lstrip()))
        found = OUTPUT.fullmatch(item.strip())
        if found is None:
            raise _wrong(file, line, "this column has no name", "write `EXPRESSION as NAME`; `*` is no list of columns")
        outputs[found[1] or found[2]] = line
        start += len(item) + 1
    return outputs


def _outermost(sql: str) -> str:
    """Blank everything in parentheses, so that keywords and commas left are those of the outermost statement."""
    depth, kept = 0, []
    for letter in sql:
        depth -= letter == ")"
        kept.append(letter if depth == 0 or letter == "\n" else "x")
        depth += letter == "("
    return "".join(kept)


def _ordered(models: Mapping[str, Model]) -> list[str]:
    for model in models.values():
        for name, line in model.refs.items():
            if name not in models:
                raise _wrong(model.file, line, f"there is no model {name!r}", f"models: {', '.join(sorted(models))}")
    try:
        return list(TopologicalSorter({name: sorted(model.refs) for name, model in models.items()}).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        reader = models[circle[1]]
        raise _wrong(
            reader.file, reader.refs[circle[0]], f"models read each other: {' <- '.join(circle)}", "break the circle"
        ) from None


def _rendered(model: Model) -> str:
    return TAG.sub(lambda tag: f"{LAKE}.{tag[2]}" if tag[1] == "source" else tag[2], model.body).strip()


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _wrong(file: str, line: int, what: str, fix: str) -> UsageError:
    return UsageError(what, where=f"{file}:{line}", fix=fix)
