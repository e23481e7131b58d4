"""Stretches of the lineage chain: what some samples came from, and what was made of some requests."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from synth_assets.checks.proof import proven, proven_rows
from synth_assets.domain.planning import PROMPTS_SCHEMA
from synth_assets.domain.transactions import Lake
from synth_assets.domain.versioning import members_of
from synth_assets.reports.nodes import GENERATION, SAMPLE, Node, Origins, Uses, chosen, node, request_facts, stage_nodes
from synth_assets.vocabulary import CallKind


def seeds(lake: Lake, request: Mapping[str, Any] | None) -> list[Node]:
    """Return the seed rows that the templates of a request read, as its plan says."""
    if request is None:
        return []
    here = {"dataset": request["dataset"], "batch": request["batch"], "object_sha256": request["object_sha256"]}
    prompts = lake.payload("prompts", PROMPTS_SCHEMA, **here).filter(pl.col("request_id") == request["request_id"])
    drawn = [seed for seeds in prompts["seed_ids"].to_list() for seed in seeds or []]
    rows = (
        lake.read("seeds", dataset=request["dataset"], seed_id=drawn)
        .unique("seed_id", keep="first")
        .sort("seed_table", "position")
    )
    return [node("seed", row["seed_id"], chosen(row, ("seed_table", "position"))) for row in rows.iter_rows(named=True)]


def assessments(lake: Lake, sample: str, *, dataset: str, batch: str) -> list[Node]:
    """Return what was measured of a sample."""
    facts = ("value", "neighbour_id", "source_type", "source_id", "assessed_at")
    rows = proven(lake, "assessments", dataset=dataset, batch=batch).filter(sample_id=sample).sort("name")
    return [node("assessment", row["name"], chosen(row, facts)) for row in rows.iter_rows(named=True)]


def memberships(lake: Lake, dataset: str, sample: str) -> list[Node]:
    """Return the intervals of a sample, each with its versions and the model runs that consumed the sample there."""
    uses = Uses.read(lake, dataset)
    eaten = proven(lake, "model_run_samples", dataset=dataset).filter(sample_id=sample)
    consumed = dict.fromkeys(eaten["model_run_id"], 1)
    nodes = []
    intervals = proven(lake, "version_members", dataset=dataset).filter(sample_id=sample).sort("added_in")
    for row in intervals.iter_rows(named=True):
        numbers = [each for each in uses.versions if row["added_in"] <= each < (row["removed_in"] or each + 1)]
        name = f"from v{row['added_in']}" + (f" until v{row['removed_in']}" if row["removed_in"] else " on")
        versions = [uses.version(number, uses.runs_on(number, consumed)) for number in numbers]
        nodes.append(node("membership", name, chosen(row, ("added_in", "removed_in", "cause", "split")), versions))
    return nodes


def batches(lake: Lake, dataset: str, samples: list[str]) -> list[Node]:
    """Return the batches of some samples, each with the runs that judged it and the samples up to their templates."""
    rows = proven_rows(lake, "samples", dataset, sample_id=samples).sort("batch", "attempt", "ordinal", "position")
    origins = Origins.read(lake, dataset, rows["request_id"])
    nodes = []
    for (batch,), part in rows.partition_by("batch", as_dict=True, maintain_order=True).items():
        inside = [
            node("sample", row["sample_id"], chosen(row, SAMPLE), origins.of(row["request_id"]))
            for row in part.iter_rows(named=True)
        ]
        facts = {"samples": part.height, "prompts": _prompts(origins, part["request_id"])}
        nodes.append(node("batch", str(batch), facts, [*stage_nodes(lake, dataset, str(batch)), *inside]))
    return nodes


def _prompts(origins: Origins, requests: pl.Series) -> dict[str, int]:
    """Count requests by the template version they were rendered from."""
    used = [
        f"{row['prompt_name']}@{row['prompt_version']}"
        for row in (origins.requests[each] for each in requests if each in origins.requests)
    ]
    return {name: used.count(name) for name in sorted(set(used))}


def requests_with(lake: Lake, template: Mapping[str, Any]) -> pl.DataFrame:
    """Return the requests a template version had a part in: as their prompt, or as a later step."""
    here = {name: template[name] for name in ("dataset", "prompt_name", "prompt_version")}
    begun = proven_rows(lake, "requests", **here)
    steps = proven_rows(lake, "steps", **here)
    later = steps.filter(pl.col("kind") != CallKind.PROMPT)["request_id"].unique().to_list()
    joined = proven_rows(lake, "requests", template["dataset"], request_id=later)
    return pl.concat([begun, joined]).unique("request_id", keep="first", maintain_order=True)


def made_from(lake: Lake, dataset: str, requests: pl.DataFrame) -> list[Node]:
    """Return what came of some requests: versions and model runs first, then every request down to its sample."""
    here = {"dataset": dataset, "request_id": requests["request_id"].to_list()}
    generations = {row["request_id"]: row for row in proven_rows(lake, "generations", **here).iter_rows(named=True)}
    samples = proven_rows(lake, "samples", **here).sort("position")
    ids = samples["sample_id"].to_list()
    decisions = {
        row["sample_id"]: row for row in proven_rows(lake, "decisions", dataset, sample_id=ids).iter_rows(named=True)
    }
    of_request: dict[str, list[Node]] = {}
    for row in samples.iter_rows(named=True):
        decided = (
            chosen(decisions[row["sample_id"]], ("decision", "reason", "quality_score"))
            if row["sample_id"] in decisions
            else {}
        )
        of_request.setdefault(row["request_id"], []).append(
            node("sample", row["sample_id"], {**chosen(row, SAMPLE), **decided})
        )
    nodes = []
    for row in requests.sort("batch", "attempt", "ordinal").iter_rows(named=True):
        request, ending = row["request_id"], generations.get(row["request_id"])
        answer = (
            [node("generation", ending["generation_id"], chosen(ending, GENERATION), of_request.get(request, []))]
            if ending
            else []
        )
        nodes.append(node("request", request, request_facts(row), answer))
    return [*_consumers(lake, dataset, ids), *nodes]


def _consumers(lake: Lake, dataset: str, samples: list[str]) -> list[Node]:
    """Return the versions that hold some of the samples, with their count, and the model runs that consumed some."""
    uses = Uses.read(lake, dataset)
    intervals = proven(lake, "version_members", dataset=dataset).filter(pl.col("sample_id").is_in(samples))
    eaten = proven(lake, "model_run_samples", dataset=dataset).filter(pl.col("sample_id").is_in(samples))
    eaten = eaten.group_by("model_run_id").len()
    consumed = dict(zip(eaten["model_run_id"], eaten["len"], strict=True))
    counts = {number: members_of(intervals, number).height for number in uses.versions}
    return [
        uses.version(number, uses.runs_on(number, consumed), samples=count) for number, count in counts.items() if count
    ]
