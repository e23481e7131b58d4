"""The links of the lineage chain: each kind of record as a node with kind, id, facts and children."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from synth_assets.checks.proof import proven, proven_rows, proven_states, stage_commits, verdicts_of_all
from synth_assets.domain.standing import latest
from synth_assets.domain.transactions import Lake
from synth_assets.reports.releases import accuracies, runs_in_order

Node = dict[str, Any]
Row = Mapping[str, Any]

SAMPLE = ("batch", "attempt", "ordinal", "position", "label", "language", "characters", "content_sha256", "parent_id")
GENERATION = (
    "outcome",
    "reason",
    "model",
    "finish_reason",
    "generated_at",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "tries",
    "calls",
)
STEP = ("kind", "call_id", "prompt_sha256", "asked", *GENERATION[:-1])
REQUEST = ("batch", "attempt", "ordinal", "label", "seed", "call_id", "prompt_sha256", "generator", "provider", "model")
VERSION = (
    "digest",
    "num_samples",
    "parent_version",
    "cause",
    "is_marked",
    "manifest_sha256",
    "recipe_sha256",
    "released_by",
    "released_at",
)
MODEL_RUN = ("trainer", "seed", "num_samples", "digest", "test_set_sha256", "model_sha256", "trained_at", "run_id")


def node(kind: str, identity: str, facts: Row, children: Iterable[Node] = ()) -> Node:
    """Return one node; facts that are not known are left out."""
    known = {name: value for name, value in facts.items() if value is not None}
    return {"kind": kind, "id": identity, "facts": known, "children": list(children)}


def chosen(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Return some columns of a row."""
    return {name: row[name] for name in names}


@dataclass(frozen=True)
class Origins:
    """Where samples come from: rows by request_id, and registered templates by (name, version)."""

    requests: Mapping[str, Row]
    generations: Mapping[str, Row]
    steps: Mapping[str, Sequence[Row]]
    templates: Mapping[tuple[str, str], Row]

    @classmethod
    def read(cls, lake: Lake, dataset: str, requests: Iterable[str]) -> "Origins":
        """Read what stands behind some requests of a dataset."""
        here: dict[str, Any] = {"dataset": dataset, "request_id": sorted(set(requests))}
        templates = proven(lake, "prompt_templates", dataset=dataset).iter_rows(named=True)
        steps: dict[str, list[Row]] = {}
        for row in proven_rows(lake, "steps", **here).sort("request_id", "position").iter_rows(named=True):
            steps.setdefault(row["request_id"], []).append(row)
        return cls(
            requests={row["request_id"]: row for row in proven_rows(lake, "requests", **here).iter_rows(named=True)},
            generations={
                row["request_id"]: row for row in proven_rows(lake, "generations", **here).iter_rows(named=True)
            },
            steps=steps,
            templates={(row["prompt_name"], row["prompt_version"]): row for row in templates},
        )

    def of(self, request: str, seeds: Iterable[Node] = ()) -> list[Node]:
        """Return the chain up from a request's answer: generation, request, template and seeds."""
        if request not in self.requests:
            return []
        asked = self.requests[request]
        above = node("request", request, request_facts(asked), [self.template(asked), *seeds])
        generation = self.generations.get(request)
        if generation is None:
            return [above]
        calls = [
            node("step", f"{step['position'] + 1}", chosen(step, STEP), [self.template(step)])
            for step in self.steps.get(request, ())
        ]
        return [node("generation", generation["generation_id"], chosen(generation, GENERATION), [*calls, above])]

    def template(self, row: Row) -> Node:
        """Return the template version a request, or a step of it, was rendered from."""
        name, version = row["prompt_name"], row["prompt_version"]
        registered = self.templates.get((name, version), {})
        facts = {"template_sha256": row["template_sha256"]}
        facts |= {key: registered.get(key) for key in ("mode", "registered_at")}
        return node("prompt", f"{row['dataset']}/{name}@{version}", facts)


def request_facts(row: Row) -> dict[str, Any]:
    """Facts of a request, its drawn axes and parameters read back."""
    read_back = {"axes": orjson.loads(row["axes"]), "params": orjson.loads(row["generation_params"])}
    return {**chosen(row, REQUEST), **read_back}


def stage_nodes(lake: Lake, dataset: str, partition: str, **equals: str) -> list[Node]:
    """Return the latest commit of every stage of a batch or version, with the run that made it.

    Args:
        lake: the lake.
        dataset: whose.
        partition: key of the batch or version.
        **equals: columns of `stage_commits` and the values wanted there; none takes all stages.
    """
    here = stage_commits(lake, dataset, partition)
    commits = latest(here.filter(**equals) if equals else here)
    verdicts = verdicts_of_all(lake, dataset, [row["commit_key"] for row in commits.values()])
    nodes = []
    for row in sorted(commits.values(), key=lambda each: each["commit_seq"]):
        judged = verdicts.filter(pl.col("commit_key") == row["commit_key"])
        failed = judged.filter(~pl.col("passed"))["gate"].sort().to_list()
        facts = {
            "passed": row["passed"],
            "gates": judged.height,
            "failed_gates": failed or None,
            "run_id": row["run_id"],
            "committed_at": row["committed_at"],
            "recipe_sha256": row["recipe_sha256"],
            "commit_seq": row["commit_seq"],
        }
        nodes.append(node(row["stage"], row["commit_key"], facts))
    return nodes


@dataclass(frozen=True)
class Uses:
    """Versions of a dataset and the model runs on them.

    Attributes:
        versions: rows by number.
        aliases: names by number.
        runs: rows of model runs, oldest first.
        accuracy: by model run.
    """

    dataset: str
    versions: Mapping[int, Row]
    aliases: Mapping[int, list[str]]
    runs: Sequence[Row]
    accuracy: Mapping[str, Row]

    @classmethod
    def read(cls, lake: Lake, dataset: str) -> "Uses":
        """Read the versions, aliases and model runs of a dataset."""
        aliases: dict[int, list[str]] = {}
        for row in proven_states(lake, "dataset_aliases", dataset).iter_rows(named=True):
            aliases.setdefault(row["version"], []).append(row["alias"])
        versions = proven_states(lake, "dataset_versions", dataset)
        runs = runs_in_order(lake, dataset)
        return cls(
            dataset=dataset,
            versions={row["version"]: row for row in versions.iter_rows(named=True)},
            aliases=aliases,
            runs=runs.to_dicts(),
            accuracy=accuracies(lake, dataset),
        )

    def version(self, number: int, children: Iterable[Node] = (), **more: Any) -> Node:
        """Return a version as a node; ``more`` facts come first."""
        facts = {**more, "aliases": self.aliases.get(number), **chosen(self.versions[number], VERSION)}
        return node("version", f"{self.dataset}@v{number}", facts, children)

    def model_run(self, row: Row, children: Iterable[Node] = (), **more: Any) -> Node:
        """Return a model run as a node; ``more`` facts come first."""
        facts = {**more, **self.accuracy.get(row["model_run_id"], {}), "version": f"{self.dataset}@v{row['version']}"}
        facts |= {**chosen(row, MODEL_RUN), "params": orjson.loads(row["params"])}
        return node("model_run", row["model_run_id"], facts, children)

    def runs_on(self, number: int, consumed: Mapping[str, int] | None = None) -> list[Node]:
        """Return the model runs on a version; with ``consumed``, those in it, each with its count of samples."""
        on_it = [row for row in self.runs if row["version"] == number]
        if consumed is None:
            return [self.model_run(row) for row in on_it]
        return [
            self.model_run(row, consumed_samples=consumed[row["model_run_id"]])
            for row in on_it
            if row["model_run_id"] in consumed
        ]
