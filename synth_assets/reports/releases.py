"""Versions of a dataset: their list, their numbers by name, and a release folder that is what its manifest says."""

from pathlib import Path
from typing import Any

import polars as pl

from synth_assets.checks.proof import proven, proven_state, proven_states
from synth_assets.domain.transactions import Lake
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.stored import recipe_of_release
from synth_assets.stages.proof import proven_release
from synth_assets.vocabulary import Stage


def version_number(lake: Lake, dataset: str, name: str) -> int:
    """Return the number of a version named ``vN``, ``N`` or by an alias.

    Raises:
        UsageError: there is no such version.
        IntegrityError: an alias points elsewhere than its last entry says.
    """
    numbers = sorted(lake.chain(dataset).releases)
    digits = name.removeprefix("v")
    if digits in {str(number) for number in numbers}:
        return int(digits)
    aliases = proven_states(lake, "dataset_aliases", dataset)
    by_name = dict(zip(aliases["alias"], aliases["version"], strict=True))
    if name in by_name:
        return int(by_name[name])
    known = ", ".join([*(f"v{number}" for number in numbers), *by_name]) or "none yet"
    raise UsageError(
        f"{dataset[:64]!r} has no version {name[:64]!r}",
        where=f"{dataset[:64]}@{name[:64]}",
        fix=f"versions: {known}; `synth release` cuts one",
    )


def recipe_of_newest(lake: Lake, dataset: str, folder: Path) -> Recipe | None:
    """Return the recipe the newest version was cut by; None where nothing was released.

    Args:
        lake: the lake.
        dataset: whose.
        folder: where its folder was.

    Raises:
        IntegrityError: the version's row, or the stored recipe, is not what the audit says.
        UsageError: what decides a training is nothing one can read today.
    """
    number = lake.chain(dataset).head_version
    row = proven_state(lake, "dataset_versions", dataset=dataset, version=number) if number else None
    return recipe_of_release(lake.get(row["recipe_sha256"], ".json"), folder) if row else None


def versions(lake: Lake, dataset: str) -> list[dict[str, Any]]:
    """Return every version of a dataset, oldest first, with what it changed, its aliases and its model runs."""
    rows = proven_states(lake, "dataset_versions", dataset)
    intervals = proven(lake, "version_members", dataset=dataset).select("added_in", "removed_in")
    aliases = proven_states(lake, "dataset_aliases", dataset)
    runs = runs_in_order(lake, dataset)
    accuracy = accuracies(lake, dataset)
    return [
        {
            **row,
            "added": intervals.filter(pl.col("added_in") == row["version"]).height,
            "removed": intervals.filter(pl.col("removed_in") == row["version"]).height,
            "aliases": aliases.filter(pl.col("version") == row["version"])["alias"].to_list(),
            "model_runs": [
                {
                    "model_run_id": run["model_run_id"],
                    "trainer": run["trainer"],
                    **accuracy.get(run["model_run_id"], {}),
                }
                for run in runs.filter(pl.col("version") == row["version"]).iter_rows(named=True)
            ],
        }
        for row in rows.iter_rows(named=True)
    ]


def runs_in_order(lake: Lake, dataset: str) -> pl.DataFrame:
    """Return the model runs of a dataset by the place of their first entry in the chain, whatever clocks said.

    Runs of an entry that does not name them, as those of an earlier time, come first and by their time.
    """
    trained = [entry for entry in lake.chain(dataset).entries if entry.action == Stage.MODEL_RUN]
    place = {entry.details.get("model_run_id"): entry.seq for entry in reversed(trained)}
    runs = proven(lake, "model_runs", dataset=dataset).sort("trained_at", "model_run_id")
    seqs = pl.Series("seq", [place.get(run, 0) for run in runs["model_run_id"]], dtype=pl.Int64)
    return runs.with_columns(seqs).sort("seq", maintain_order=True).drop("seq")


def accuracies(lake: Lake, dataset: str) -> dict[str, dict[str, float]]:
    """Return accuracy with the ends of its interval by model run."""
    rows = proven(lake, "evaluations", dataset=dataset).filter(subject="model", metric="accuracy")
    return {
        row["model_run_id"]: {"accuracy": row["value"], "low": row["low"], "high": row["high"]}
        for row in rows.iter_rows(named=True)
    }


def released_files(lake: Lake, releases: Path, dataset: str, number: int) -> dict[str, bytes]:
    """Return the files of a release by their path inside, proven to be those that were released.

    Raises:
        IntegrityError: folder, files or the catalog's row are not what the audit says was released.
    """
    return dict(proven_release(lake, releases, dataset, number).files)
