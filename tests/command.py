"""The `synth` command as end-to-end tests run it: a home of its own, a loopback provider, nothing of this machine."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import polars as pl

from resources.lake import DuckLake, open_lake
from resources.places import PROJECT
from synth_assets.cli.main import _exit_code
from tests.fakes.recipes import write_recipe

SYNTH = Path(sys.executable).with_name("synth")
DATASET, BATCH = "tiny", "2026-11-01"
RUN = ("run", DATASET, "--batch", BATCH)
"""The command most tests are about."""
KEY = "sk-do-not-show"
OURS = ("SYNTH_", "DAGSTER_", "OPENAI_")
"""Variables of the shell that must not leak into a test."""
LIMIT_S = 300
"""Longest life of one command; a hang fails the test instead of stopping it."""


@dataclass(frozen=True)
class Told:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """What `--json` printed."""
        return orjson.loads(self.out)


@dataclass(frozen=True)
class Home:
    """A SYNTH_HOME and the environment its commands get."""

    path: Path
    provider: str = ""
    recipes: Path = PROJECT / "recipes"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """A whole environment for a child."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        ours = {"SYNTH_HOME": str(self.path), "SYNTH_RECIPES": str(self.recipes), "SYNTH_LLM_API_KEY": KEY}
        endpoint = {"SYNTH_LLM_BASE_URL": self.provider, "SYNTH_LLM_MODEL": "fake-model"} if self.provider else {}
        return {**kept, **ours, **endpoint, "COLUMNS": "200", **self.variables}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([str(SYNTH), *arguments], env=self.environment, **pipes, **options)

    def synth(self, *arguments: str, **options: Any) -> Told:
        """Run a command to its end."""
        return told(self.start(*arguments, **options))

    def call(self, *arguments: str) -> Told:
        """Run a command inside this process: seconds quicker, and an exception it lets through fails the test."""
        out, err = TextIOWrapper(BytesIO(), write_through=True), TextIOWrapper(BytesIO(), write_through=True)
        with self.entered(), redirect_stdout(out), redirect_stderr(err):
            code = _exit_code(list(arguments))
        return Told(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Give this process the environment of the home's commands; warnings are no errors in theirs."""
        with mock.patch.dict(os.environ, self.environment, clear=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    @contextmanager
    def lake(self) -> Iterator[DuckLake]:
        """Open the lake."""
        lake = open_lake(self.path, self.variables)
        try:
            yield lake
        finally:
            lake.close()

    def read(self, table: str, **equals: Any) -> pl.DataFrame:
        """Return rows of a table."""
        with self.lake() as lake:
            return lake.read(table, **equals)


def told(process: subprocess.Popen[str], *, limit_s: float = LIMIT_S) -> Told:
    """Wait for a command and return what it said."""
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Told(process.returncode, out, err)


def tiny(root: Path, **changes: Any) -> Path:
    """Write the dataset `tiny` below ``root``, bent as `write_recipe` says, and return the folder for SYNTH_RECIPES."""
    (root / "recipes").mkdir(parents=True, exist_ok=True)
    write_recipe(root / "recipes", **changes)
    return root / "recipes"
