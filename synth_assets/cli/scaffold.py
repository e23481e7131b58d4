"""`synth init` and `synth doctor`: the first command of a new dataset, and the one for when something is wrong."""

import dataclasses
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.text import Text

from synth_assets.cli.output import as_json, console, counted, note, print_json, say, visible
from synth_assets.cli.project import Project
from synth_assets.cli.starter import starter_files
from synth_assets.domain.references import NAME
from synth_assets.errors import BY_EXIT_CODE, RefusedError, UsageError


@click.command()
@click.argument("name")
def init(*, name: str) -> None:
    """Write a small dataset NAME to start from: a recipe, prompts for both kinds of model, and examples."""
    from synth_assets.recipe import load_recipe
    from synth_assets.recipe.strict import RESERVED

    if name in RESERVED:
        raise UsageError(f"{name!r} is a reserved name", where="the command line", fix="choose another name")
    if not re.fullmatch(NAME, name):
        raise UsageError(
            f"{name[:80]!r} is no name for a dataset",
            where="the command line",
            fix="begin with a small letter, then small letters, digits and _, at most 63",
        )
    folder = Project().recipes / name
    _write(folder, starter_files(name, datetime.now(UTC).strftime("%Y-%m-%d")))
    recipe = load_recipe(folder)
    say(f"wrote {folder}: {counted(len(recipe.templates), 'prompt')}, {counted(len(recipe.seeds), 'example')}")
    say(f"next: `synth plan {name}` shows what a batch would ask, `synth run {name}` makes one")


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write a new folder; the recipe comes last, so a half-written dataset is none."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise RefusedError(
            f"there is a dataset or a file called '{folder.name}' already; nothing was changed",
            where=str(folder),
            fix="choose another name",
        ) from None
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


@click.command()
@click.option("--cure", is_flag=True, help="First end the runs that look alive and whose process is gone.")
@as_json
def doctor(*, cure: bool, is_json: bool) -> None:
    """Look at everything a run needs and at what waits for a person, and say how to mend it.

    The exit code is that of the gravest problem: 2 for a wrong recipe, 4 for what contradicts itself, else 1; so a cron
    job can call it.
    """
    from synth_assets.cli.checkup import end_dead_runs, examine

    project = Project(is_imagining=True)
    if cure:
        (note if is_json else say)(f"ended {counted(end_dead_runs(project), 'dead run')}")
    findings = examine(project, os.environ)
    if is_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    for finding in () if is_json else findings:
        word, style = ("ok     ", "green") if finding.is_ok else ("problem", "red")
        console.print(
            Text.assemble((word, style), f"  {visible(finding.name)}: {visible(finding.says)}"), soft_wrap=True
        )
        if not finding.is_ok:
            console.print(Text(f"         fix: {visible(finding.fix)}"), soft_wrap=True)
    broken = [finding for finding in findings if not finding.is_ok]
    if broken:
        gravest = BY_EXIT_CODE[max(finding.exit_code for finding in broken)]
        names = ", ".join(finding.name for finding in broken)
        raise gravest(
            f"{len(broken)} of {len(findings)} checks found a problem: {visible(names)}",
            where="this installation and its data",
            fix="do what stands beside each problem, then `synth doctor` again",
        )
