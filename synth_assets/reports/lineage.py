"""One chain of ids from a prompt template to the model that consumed its samples, read from any of its links.

``up`` leads to what a thing was made from, ``down`` to what was made of it. Complete: whoever prints may cap.
"""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from synth_assets.checks.proof import proven
from synth_assets.domain.transactions import Lake
from synth_assets.domain.versioning import members_of
from synth_assets.errors import UsageError
from synth_assets.reports.chains import assessments, batches, made_from, memberships, requests_with, seeds
from synth_assets.reports.nodes import SAMPLE, Origins, Uses, chosen, node, stage_nodes
from synth_assets.reports.personal import PII, kinds_of
from synth_assets.vocabulary import Stage

SHORTEST_PREFIX = 6
MAX_SHOWN = 5

Lineage = dict[str, Any]
"""``subject``, a node; ``up`` and ``down``, lists of nodes."""


def of_sample(lake: Lake, given: str) -> Lineage:
    """Return the chain of a sample: its template, request and generation, and everything that used it.

    Args:
        lake: the lake.
        given: a sample_id, or at least 6 first characters of only one.

    Raises:
        UsageError: no sample has that id, or several begin with it.
    """
    row = _found(lake, "samples", "sample_id", given, kind="sample")
    sample, dataset = row["sample_id"], row["dataset"]
    here = {"dataset": dataset, "batch": row["batch"]}
    row = proven(lake, "samples", **here).row(by_predicate=pl.col("sample_id") == sample, named=True)
    origins = Origins.read(lake, dataset, [row["request_id"]])
    decisions = proven(lake, "decisions", **here).filter(sample_id=sample)
    judged = [
        node(
            "decision",
            each["decision"],
            chosen(each, ("reason", "quality_score", "source_type", "source_id", "decided_at"))
            | ({"kinds": kinds_of(lake, dataset, row["batch"], [sample])[sample]} if each["reason"] == PII else {}),
            stage_nodes(lake, dataset, row["batch"]),
        )
        for each in decisions.iter_rows(named=True)
    ]
    return {
        "subject": node("sample", sample, {"dataset": dataset, **chosen(row, SAMPLE)}),
        "up": origins.of(row["request_id"], seeds(lake, origins.requests.get(row["request_id"]))),
        "down": [*assessments(lake, sample, **here), *judged, *memberships(lake, dataset, sample)],
    }


def of_prompt(lake: Lake, dataset: str, name: str, version: str | None) -> Lineage:
    """Return the chain of a template: every request, sample, version and model run that came of it.

    Args:
        lake: the lake.
        dataset: its dataset.
        name: its name.
        version: one version of it; None takes all.

    Raises:
        UsageError: no such template was ever registered.
    """
    wanted = {"dataset": dataset, "prompt_name": name} | ({"prompt_version": version} if version else {})
    known = proven(lake, "prompt_templates", dataset=dataset).sort("prompt_name", "prompt_version")
    registered = known.filter(**wanted).sort("registered_at", "prompt_version")
    if registered.is_empty():
        names = (
            ", ".join(f"{row['prompt_name']}@{row['prompt_version']}" for row in known.iter_rows(named=True)) or "none"
        )
        raise UsageError(
            f"{dataset[:64]!r} has no prompt {name[:64]!r}" + (f" version {version[:64]!r}" if version else ""),
            where="--prompt",
            fix=f"registered: {names}",
        )
    nodes = [
        node(
            "prompt",
            f"{dataset}/{name}@{row['prompt_version']}",
            chosen(row, ("template_sha256", "mode", "registered_at")),
            made_from(lake, dataset, requests_with(lake, row)),
        )
        for row in registered.iter_rows(named=True)
    ]
    if version is not None:
        return {"subject": {**nodes[0], "children": []}, "up": [], "down": nodes[0]["children"]}
    return {"subject": node("prompt", f"{dataset}/{name}", {"versions": registered.height}), "up": [], "down": nodes}


def of_version(lake: Lake, dataset: str, number: int) -> Lineage:
    """Return the chain of a version: its batches and samples up to their templates, and the models trained on it."""
    uses = Uses.read(lake, dataset)
    inside = members_of(proven(lake, "version_members", dataset=dataset), number)
    # A model is trained on the partition of its version: that stage is no part of what the version was made from.
    judged = stage_nodes(lake, dataset, f"v{number}", stage=Stage.DATASET_VERSION)
    return {
        "subject": uses.version(number, judged),
        "up": batches(lake, dataset, inside["sample_id"].to_list()),
        "down": uses.runs_on(number),
    }


def of_model_run(lake: Lake, given: str) -> Lineage:
    """Return the chain of a model run: the version and every sample it consumed, and how it was measured.

    Args:
        lake: the lake.
        given: a model_run_id, or at least 6 first characters of only one.

    Raises:
        UsageError: no model run has that id, or several begin with it.
    """
    row = _found(lake, "model_runs", "model_run_id", given, kind="model run")
    dataset, run = row["dataset"], row["model_run_id"]
    uses = Uses.read(lake, dataset)
    consumed = lake.read("model_run_samples", dataset=dataset, model_run_id=run)["sample_id"].to_list()
    measured = lake.read("evaluations", dataset=dataset, model_run_id=run).sort("subject", "metric")
    facts = ("metric", "value", "low", "high", "train_rows", "test_rows")
    above = batches(lake, dataset, consumed)
    known = row["version"] in uses.versions
    judged = stage_nodes(lake, dataset, f"v{row['version']}", stage=Stage.MODEL_RUN, output_digest=run)
    return {
        "subject": uses.model_run(row, judged, consumed_samples=len(consumed)),
        "up": [uses.version(row["version"], above)] if known else above,
        "down": [node("evaluation", each["subject"], chosen(each, facts)) for each in measured.iter_rows(named=True)],
    }


def _found(lake: Lake, table: str, column: str, given: str, *, kind: str) -> Mapping[str, Any]:
    """Return the row whose id is given, whole or by a prefix that only one has."""
    text = given.strip().lower()
    exact = lake.read(table, **{column: text})
    if exact.height == 1:
        return exact.row(0, named=True)
    if len(text) < SHORTEST_PREFIX or not re.fullmatch("[0-9a-f]+", text):
        raise UsageError(
            f"{given[:80]!r} is no id of a {kind}",
            where="the command line",
            fix=f"give the id, or its first characters: at least {SHORTEST_PREFIX} hex digits",
        )
    matching = lake.read(table).filter(pl.col(column).str.starts_with(text)).sort(column)
    if matching.is_empty():
        raise UsageError(
            f"no {kind} has an id that begins with {text[:80]}",
            where="the command line",
            fix=f"`synth query` lists them: {column} of table {table}",
        )
    if matching.height > 1:
        some = ", ".join(matching[column].head(MAX_SHOWN))
        raise UsageError(
            f"{matching.height} {kind}s have an id that begins with {text}",
            where="the command line",
            fix=f"give more of one of: {some}",
        )
    return matching.row(0, named=True)
