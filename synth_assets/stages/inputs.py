"""Registering what a dataset is made of: template versions and seed rows."""

from collections.abc import Callable
from datetime import datetime

import polars as pl

from synth_assets.canonical import digest, stored_json
from synth_assets.domain.transactions import Change, Commit, Lake
from synth_assets.errors import RefusedError
from synth_assets.recipe.loader import Recipe, SeedRow, template_sha256
from synth_assets.recipe.template import Template
from synth_assets.stages.work import Facts
from synth_assets.tables import TABLES

MOST_TRIES = 10
"""How often somebody else may register something between our look and our commit."""


def _until_registered(register: Callable[[], tuple[Facts, bool]]) -> Facts:
    """Register what is missing until nobody registered anything else in between.

    Every commit's key names what it saw registered, and the lake applies no key twice: of two processes that saw the
    same, one is told that it changed nothing, and looks again.

    Raises:
        RefusedError: somebody else was quicker each time.
    """
    for _ in range(MOST_TRIES):
        facts, was_late = register()
        if not was_late:
            return facts
    raise RefusedError(
        "other processes keep registering templates or seeds", where="prompt_templates, seeds", fix="try again later"
    )


def register_templates(recipe: Recipe, lake: Lake, *, run_id: str, at: datetime) -> Facts:
    """Register every template version of the recipe that is new.

    Raises:
        RefusedError: a template changed its text under an old version.
    """
    return _until_registered(lambda: _templates_once(recipe, lake, run_id=run_id, at=at))


def new_templates(recipe: Recipe, lake: Lake) -> list[Template]:
    """Return the template versions of a recipe that are not registered yet.

    Raises:
        RefusedError: a template changed its text under an old version.
    """
    return _new(recipe, lake.read("prompt_templates", dataset=recipe.dataset))


def _new(recipe: Recipe, known: pl.DataFrame) -> list[Template]:
    registered = {
        (row["prompt_name"], row["prompt_version"]): row["template_sha256"] for row in known.iter_rows(named=True)
    }
    new = []
    for template in recipe.templates:
        sha = registered.get((template.name, template.version))
        if sha is None:
            new.append(template)
        elif sha != template_sha256(template):
            raise _changed(template, sha)
    return new


def _templates_once(recipe: Recipe, lake: Lake, *, run_id: str, at: datetime) -> tuple[Facts, bool]:
    known = lake.read("prompt_templates", dataset=recipe.dataset)
    new = _new(recipe, known)
    seen = digest(sorted(known["template_sha256"]))[:16]
    was_late = bool(new) and _commit_templates(recipe, new, lake, seen=seen, run_id=run_id, at=at)
    facts = {
        "templates": [f"{each.name}@{each.version}" for each in recipe.templates],
        "new": len(new),
        "versions": known.height + len(new),
        "digest": digest(sorted(template_sha256(each) for each in recipe.templates)),
    }
    return facts, was_late


def _commit_templates(recipe: Recipe, new: list[Template], lake: Lake, *, seen: str, run_id: str, at: datetime) -> bool:
    """Register templates, unless somebody registered others since ``seen``; return whether that was so."""
    stored = {each.name: lake.put(stored_json(each.model_dump(mode="json")).encode(), ".json") for each in new}
    rows = [
        {
            "dataset": recipe.dataset,
            "prompt_name": each.name,
            "prompt_version": each.version,
            "template_sha256": template_sha256(each),
            "mode": each.mode,
            "object_sha256": stored[each.name].sha256,
            "registered_at": at,
        }
        for each in new
    ]
    hashes = {f"{each.name}@{each.version}": template_sha256(each) for each in new}
    receipt = lake.commit(
        Commit(
            dataset=recipe.dataset,
            key=f"templates:{recipe.dataset}:after:{seen}",
            action="register_templates",
            run_id=run_id,
            details=hashes,
            changes=[Change("prompt_templates", TABLES["prompt_templates"].frame(rows))],
            payload=[("template", None, each) for each in stored.values()],
        )
    )
    return receipt.was_replayed


def _changed(template: Template, sha: str) -> RefusedError:
    return RefusedError(
        f"template '{template.name}' version '{template.version}' changed its text but not its version",
        where=str(template.file),
        fix=f"raise `version` in its front matter, or restore the text with sha256 {sha[:12]}...",
    )


def register_seeds(recipe: Recipe, lake: Lake, *, run_id: str, at: datetime) -> Facts:
    """Register every seed row of the recipe that is new; rows that left the recipe stay registered.

    Raises:
        RefusedError: other processes register seeds all the time.
    """
    return _until_registered(lambda: _seeds_once(recipe, lake, run_id=run_id, at=at))


def _seeds_once(recipe: Recipe, lake: Lake, *, run_id: str, at: datetime) -> tuple[Facts, bool]:
    known = set(lake.read("seeds", dataset=recipe.dataset)["seed_id"])
    new = [row for row in recipe.seeds if row.seed_id not in known]
    seen = digest(sorted(known))[:16]
    was_late = bool(new) and _commit_seeds(recipe, new, lake, seen=seen, run_id=run_id, at=at)
    tables = {name: sum(row.table == name for row in recipe.seeds) for name in recipe.model.seeds}
    facts = {
        "rows": len(recipe.seeds),
        "new": len(new),
        **tables,
        "digest": digest(sorted(row.seed_id for row in recipe.seeds)),
    }
    return facts, was_late


def _commit_seeds(recipe: Recipe, new: list[SeedRow], lake: Lake, *, seen: str, run_id: str, at: datetime) -> bool:
    """Register seed rows, unless somebody registered others since ``seen``; return whether that was so."""
    payload = pl.DataFrame({"seed_id": [row.seed_id for row in new], "row": [stored_json(row.fields) for row in new]})
    stored = lake.put_frame(payload)
    rows = [
        {
            "dataset": recipe.dataset,
            "seed_table": row.table,
            "seed_id": row.seed_id,
            "position": row.position,
            "object_sha256": stored.sha256,
            "registered_at": at,
        }
        for row in new
    ]
    frame = TABLES["seeds"].frame(rows).unique("seed_id", keep="first", maintain_order=True)
    receipt = lake.commit(
        Commit(
            dataset=recipe.dataset,
            key=f"seeds:{recipe.dataset}:after:{seen}",
            action="register_seeds",
            run_id=run_id,
            details={"rows": len(new), "object": stored.sha256},
            changes=[Change("seeds", frame)],
            payload=[("seeds", None, stored)],
        )
    )
    return receipt.was_replayed
