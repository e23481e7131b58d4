"""`synth run --preview N`: the first samples of the next attempt, shown in the terminal and stored nowhere."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from resources.claims import Claims
from resources.embedder import MiniLMEmbedder
from resources.progress import announce
from resources.wiring import Generators, RealDataReader
from synth_assets.cli.output import counted, print_json, print_table, say
from synth_assets.cli.progress import ProgressBar
from synth_assets.cli.project import Project
from synth_assets.errors import StoppedError
from synth_assets.recipe import Recipe
from synth_assets.stages.preview import Preview, preview
from synth_assets.stages.work import Work


def show_preview(project: Project, recipe: Recipe, batch: str, *, count: int, is_json: bool) -> None:
    """Ask for the first requests of a batch's next attempt and print what becomes of them.

    Raises:
        RefusedError: somebody else works on the batch, or it would open no attempt.
        StoppedError: the model could not be asked for all of them; what it answered is shown and kept.
    """
    claims = Claims(project.lake, project.home)
    claim = claims.hold(recipe.model, batch)
    try:
        promised = project.lake.read("batches", dataset=recipe.dataset, batch=batch)["promised"][0]
        work = Work(recipe.promising(promised), batch, project.lake, claim, "", lambda: datetime.now(UTC))
        with ProgressBar(is_quiet=is_json), Generators(project.home).open(recipe) as generator:
            found = preview(
                work,
                generator,
                MiniLMEmbedder(threads=1),
                RealDataReader().protected(recipe),
                count=count,
                progress=lambda done, total: announce("generated", done, total),
            )
    finally:
        claims.release()
    if is_json:
        print_json({"dataset": recipe.dataset, "batch": batch, **asdict(found)})
    else:
        _print(recipe, batch, found)
    if found.stop is not None:
        raise StoppedError(
            f"the preview stopped: {found.stop.reason}; what was answered is kept",
            where=found.stop.where,
            fix=found.stop.fix,
        )


def _print(recipe: Recipe, batch: str, found: Preview) -> None:
    rows = [
        (
            row["ordinal"],
            row["label"],
            row["prompt"],
            row["rejected_because"] or row["decision"] or row["reason"],
            row["quality_score"],
            _said(row["fields"]),
        )
        for row in found.rows
    ]
    print_table(
        f"{recipe.dataset} {batch}, attempt {found.attempt}: {len(rows)} of {counted(found.planned, 'request')}",
        ("", "label", "prompt", "decision", "score", "sample"),
        rows,
        numbers=("", "score"),
    )
    accepted = sum(row["decision"] == "accepted" for row in found.rows)
    paid = f"{counted(found.paid_now, 'call')} paid; no run pays for an answer again"
    say(f"{accepted} of {len(rows)} would be accepted; {paid}")


def _said(fields: Mapping[str, Any]) -> str:
    if len(fields) == 1:
        return "".join(fields.values())
    return " | ".join(f"{name}: {text}" for name, text in fields.items())
