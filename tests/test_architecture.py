"""The house rules, read from the source: which room may import which, and what the pure rooms must never touch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("synth_assets", "resources", "sensors", "dbt_like_sql")

ORDER = (
    *("synth_assets.errors", "synth_assets.canonical", "synth_assets.vocabulary"),
    *("synth_assets.tables", "synth_assets.recipe", "synth_assets.domain", "dbt_like_sql", "resources"),
    *("synth_assets.training", "synth_assets.checks", "synth_assets.stages", "synth_assets.reports"),
    *(
        "synth_assets.api",
        "synth_assets.assets",
        "sensors",
        "synth_assets.jobs",
        "synth_assets.definitions",
        "synth_assets.cli",
    ),
)
"""Rooms from the ground up: each may import itself and what stands before it."""

PURE = ("synth_assets.tables", "synth_assets.recipe", "synth_assets.domain", "dbt_like_sql")

OUTSIDE = {
    *("dagster", "os", "time", "openai", "duckdb", "sqlite3", "psycopg2", "mlflow"),
    *("requests", "httpx", "httpx2", "aiohttp", "urllib", "http", "socket", "ssl", "smtplib", "boto3"),
    *("subprocess", "multiprocessing", "asyncio", "threading", "secrets", "uuid", "tempfile"),
}
"""Modules through which a pure room would reach the world, the clock, the environment or chance."""

CLOCK = {"now", "utcnow", "today"}
CHANCE = {"random", "numpy.random", "np.random"}
SEEDED = {"Random", "Generator", "default_rng", "RandomState", "SeedSequence", "PCG64"}
NEEDS_A_SEED = {"Random", "default_rng", "RandomState", "PCG64"}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_of(file): ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
}


def room_of(module: str) -> str | None:
    """Return the room a module stands in; None if it is none of ours."""
    return next((room for room in ORDER if module == room or module.startswith(f"{room}.")), None)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module imported anywhere in a file, also inside functions and by name, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in {"import_module", "__import__"}:
            yield (node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else "?", node.lineno)


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for an attribute chain, and nothing for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def against_the_order(module: str, tree: ast.AST) -> list[str]:
    """Imports of a room that stands above the importing one."""
    here = room_of(module)
    found = []
    for name, line in imports(tree):
        there = room_of(name)
        if here and there and ORDER.index(there) > ORDER.index(here):
            found.append(f"{module}:{line} imports {name}")
    return found


def impurities(module: str, tree: ast.AST) -> list[str]:
    """What a pure module does that depends on more than its arguments."""
    reached = [f"{module}:{line} imports {name}" for name, line in imports(tree) if name.split(".")[0] in OUTSIDE]
    done = [
        f"{module}:{node.lineno} calls {dotted(node.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_impure(node)
    ]
    chance = [
        f"{module}:{line} imports {name}"
        for name, line in imports(tree)
        if name.rpartition(".")[0] in CHANCE and name.rpartition(".")[2] not in SEEDED
    ]
    return reached + done + chance


def _is_impure(call: ast.Call) -> bool:
    owner, _, name = dotted(call.func).rpartition(".")
    if name in CLOCK and owner.split(".")[-1] in {"datetime", "date", "dt"}:
        return True
    if owner in CHANCE and name not in SEEDED:
        return True
    if name in NEEDS_A_SEED:
        return not call.args and not call.keywords
    return not owner and name in {"hash", "id", "input", "open", "exec", "eval"}


# --- the rules


def test_every_module_stands_in_a_room() -> None:
    homeless = [module for module in SOURCES if room_of(module) is None and module != "synth_assets"]

    assert homeless == []


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_one_way(room: str) -> None:
    wrong = [
        line for module, tree in SOURCES.items() if room_of(module) == room for line in against_the_order(module, tree)
    ]

    assert wrong == []


def test_no_import_is_relative() -> None:
    wrong = [
        f"{module}:{node.lineno}"
        for module, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert wrong == []


def test_only_the_top_room_imports_by_names_made_up_at_run_time() -> None:
    makers = {room_of(module) for module, tree in SOURCES.items() for name, _ in imports(tree) if name == "?"}

    assert makers <= {ORDER[-1]}


@pytest.mark.parametrize(("library", "room"), [("openai", "resources.llm"), ("duckdb", "resources.lake")])
def test_one_room_alone_knows_a_client(library: str, room: str) -> None:
    users = {module for module, tree in SOURCES.items() for name, _ in imports(tree) if name.split(".")[0] == library}

    assert users
    assert {module for module in users if not f"{module}.".startswith(f"{room}.")} == set()


@pytest.mark.parametrize("room", PURE)
def test_the_pure_rooms_have_no_world_no_clock_and_no_chance(room: str) -> None:
    wrong = [line for module, tree in SOURCES.items() if room_of(module) == room for line in impurities(module, tree)]

    assert wrong == []


def test_of_the_pure_rooms_only_loaders_read_files() -> None:
    readers = {
        module
        for module, tree in SOURCES.items()
        if room_of(module) in PURE
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"read_text", "read_bytes", "write_text", "write_bytes", "glob"}
    }

    loaders = {f"synth_assets.recipe.{name}" for name in ("loader", "template", "providers")}
    assert readers == {*loaders, "dbt_like_sql.compiler"}


def test_no_module_is_called_by_what_it_is_not() -> None:
    names = {part for module in SOURCES for part in module.split(".")}

    assert names & {"utils", "util", "helpers", "helper", "common", "misc"} == set()


def test_nothing_is_pickled() -> None:
    wrong = [
        f"{module}:{line}"
        for module, tree in SOURCES.items()
        for name, line in imports(tree)
        if name.split(".")[0] in {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    ]

    assert wrong == []


def test_annotations_are_objects_everywhere() -> None:
    texts = {
        file: file.read_text(encoding="utf-8")
        for folder in (*PACKAGES, "tests", "benchmarks")
        for file in sorted((ROOT / folder).rglob("*.py"))
    }
    wrong = [
        str(file.relative_to(ROOT))
        for file, text in texts.items()
        if "__future__" in text and any(name == "__future__.annotations" for name, _ in imports(ast.parse(text)))
    ]

    assert len(texts) > len(PACKAGES)
    assert wrong == []


def test_every_module_says_what_lives_in_it() -> None:
    silent = [module for module, tree in SOURCES.items() if tree.body and ast.get_docstring(tree) is None]

    assert silent == []


# --- the rules themselves can fail


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("synth_assets.domain.planning", "from synth_assets.stages.work import Work"),
        ("synth_assets.domain.planning", "from synth_assets import stages"),
        ("synth_assets.domain.planning", "def f():\n    import resources.lake"),
        ("synth_assets.tables.contract", "from synth_assets.recipe import Recipe"),
        ("synth_assets.errors", "from synth_assets.canonical import digest"),
        ("resources.lake.store", "from synth_assets import definitions"),
        ("resources.lake.store", "import importlib\nimportlib.import_module('synth_assets.cli')"),
        ("synth_assets.checks.gates", "if True:\n    from synth_assets.assets import report"),
    ],
)
def test_an_import_against_the_order_is_found(module: str, source: str) -> None:
    assert against_the_order(module, ast.parse(source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("synth_assets.domain.planning", "from synth_assets.domain import ids"),
        ("synth_assets.stages.work", "from synth_assets.checks import gates\nimport resources.lake"),
        ("synth_assets.cli.main", "from synth_assets.definitions import defs\nimport json"),
    ],
)
def test_an_import_down_the_order_is_fine(module: str, source: str) -> None:
    assert against_the_order(module, ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from os import environ",
        "import os.path",
        "import time",
        "import dagster as dg",
        "import urllib.request",
        "def f():\n    import openai",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import random\nrandom.random()",
        "from random import shuffle",
        "import random\nrandom.Random()",
        "import numpy as np\nnp.random.rand(3)",
        "import numpy as np\nnp.random.default_rng()",
        "hash('text')",
        "open('file')",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert impurities("synth_assets.domain.new", ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.strptime('1', '%d')",
        "import random\nrandom.Random(7).random()",
        "import numpy as np\nnp.random.default_rng(7)",
        "from dataclasses import dataclass",
    ],
)
def test_what_depends_on_its_arguments_is_pure(source: str) -> None:
    assert impurities("synth_assets.domain.new", ast.parse(source)) == []
