"""A small lake written by hand, through the real adapter: every number in it can be counted on the fingers.

Dataset ``films``. Batch 2026-11-01 is green: 6 requests, 5 answered and 1 truncated; 5 samples, 4 accepted and 1 too
short. Batch 2026-11-02 was stopped by its budget: 4 requests, 2 answered, 1 refused, 1 not sent; its 2 samples are
undecided. v1 holds samples 0 and 1, v2 samples 0 and 2; sample 1 was taken down, sample 3 waits for v3. A model was
trained on each version.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from resources.lake import DuckLake, open_lake
from synth_assets.canonical import sha256, stored_json
from synth_assets.domain import ids
from synth_assets.domain.chain import GATE_SET, PERMANENT
from synth_assets.domain.drafting import TEXTS_SCHEMA
from synth_assets.domain.planning import PROMPTS_SCHEMA
from synth_assets.domain.transactions import Change, Commit, StoredObject, Swap
from synth_assets.domain.versioning import digest_of
from synth_assets.tables import TABLES

DATASET = "films"
GREEN, STOPPED = "2026-11-01", "2026-11-02"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOSTILE = "[red]bad[/red]\x1b[31m\nlabel"
"""A label that would colour, command or break a careless terminal."""

SECRET = "unrepeatable-sample-text"
"""Begins the text of every sample; no error may ever show it."""

Rows = list[dict[str, Any]]

ENDINGS = {
    GREEN: [*[("answered", None)] * 5, ("quarantined", "truncated")],
    STOPPED: [*[("answered", None)] * 2, ("quarantined", "refused"), ("not_sent", "budget_spent")],
}
DECIDED = [*[("accepted", None)] * 4, ("rejected", "length")]


def request(batch: str, ordinal: int) -> str:
    """Return the id of a request."""
    return ids.request_id(DATASET, batch, 1, ordinal)


def sample(ordinal: int, batch: str = GREEN) -> str:
    """Return the id of a sample."""
    return ids.sample_id(request(batch, ordinal), 0)


def model_run(version: int) -> str:
    """Return the id of the model run on a version."""
    return ids.model_run_id(version_digest=f"digest of v{version}", trainer="linear", params={}, seed=0, test_set="t")


def small_lake(home: Path) -> DuckLake:
    """Write the lake into a home and return it open."""
    lake = open_lake(home, {"SYNTH_ACTOR": "ada"})
    texts = {batch: lake.put_frame(_texts(batch)) for batch in ENDINGS}
    prompts = {batch: lake.put_frame(_prompts(batch)) for batch in ENDINGS}
    seeds = lake.put_frame(pl.DataFrame({"seed_id": ["5eed"], "row": ['{"label":"pos","text":"a shot"}']}))
    manifest = {number: _release(home, number) for number in (1, 2)}
    tables: dict[str, Rows] = {
        "prompt_templates": _templates(),
        "seeds": [_seed(seeds.sha256)],
        "batches": _batches(),
        "requests": [row for batch in ENDINGS for row in _requests(batch, prompts[batch].sha256)],
        "generations": [row for batch in ENDINGS for row in _generations(batch)],
        "samples": [row for batch in ENDINGS for row in _samples(batch, texts[batch].sha256)],
        "assessments": [_assessment(ordinal) for ordinal in range(5)],
        "decisions": [_decision(ordinal, *decided) for ordinal, decided in enumerate(DECIDED)],
        "training_examples": [_example(ordinal) for ordinal in (0, 2, 3)],
        **_releases(manifest),
    }
    payload: list[tuple[str, str | None, StoredObject]] = [("texts", batch, stored) for batch, stored in texts.items()]
    payload += [("prompts", batch, stored) for batch, stored in prompts.items()]
    changes = [Change(name, TABLES[name].frame(rows)) for name, rows in tables.items()]
    payload.append(("seeds", None, seeds))
    lake.commit(Commit(DATASET, "by hand", "by hand", "", {}, changes=changes, payload=payload))
    for row in _stage_commits():
        lake.commit(_stage_commit(row, manifest))
    return lake


def _stage_commit(row: dict[str, Any], manifest: Mapping[int, str]) -> Commit:
    """One stage as it is committed; its verdicts are those written by hand, its gates all there must be."""
    key, stage = row["commit_key"], row["stage"]
    gates = dict.fromkeys(PERMANENT[GATE_SET].get(stage, set()), row["passed"])
    details = {"batch": row["partition"], "passed": row["passed"], "gate_set": GATE_SET, "gates": gates}
    details |= {"input": row["input_digest"], "output": row["output_digest"]}
    swaps = []
    if stage == "dataset_version":
        number = int(row["partition"][1:])
        cause = "release" if number == 1 else "disable"
        details |= {"version": number, "manifest_sha256": manifest[number], "cause": cause}
        swaps = [Swap("heads", {"dataset": DATASET}, {"head_version": number - 1}, {"head_version": number})]
    judged = [each for each in _verdicts() if each["commit_key"] == key]
    unsaid = sorted(gates.keys() - {each["gate"] for each in judged}) if row["passed"] else []
    judged += [_verdict(row["partition"], stage, key, gate, passed=True, facts={}) for gate in unsaid]
    changes = [Change("stage_commits", TABLES["stage_commits"].frame([row]))]
    changes.append(Change("verdicts", TABLES["verdicts"].frame(judged)))
    return Commit(DATASET, key, stage, row["run_id"], details, changes=changes, swaps=swaps)


def content(ordinal: int) -> str:
    """Return the content hash of a sample, computed from its text and label."""
    return ids.content_sha256({"text": f"{SECRET} {ordinal}"}, HOSTILE if ordinal == 4 else "pos")


def _texts(batch: str) -> pl.DataFrame:
    rows = [(sample(each["ordinal"], batch), "text", f"{SECRET} {each['ordinal']}") for each in _samples(batch, "")]
    return pl.DataFrame(rows, schema=TEXTS_SCHEMA, orient="row")


def _prompts(batch: str) -> pl.DataFrame:
    one = {"prompt": '"prompt"', "seed_ids": ["5eed"]}
    rows = [{**one, "request_id": request(batch, ordinal)} for ordinal in range(len(ENDINGS[batch]))]
    return pl.DataFrame(rows, schema=PROMPTS_SCHEMA)


def _templates() -> Rows:
    one = {"dataset": DATASET, "mode": "completion", "object_sha256": "o", "registered_at": NOON}
    return [
        {**one, "prompt_name": "critics", "prompt_version": "1", "template_sha256": "aa11"},
        {**one, "prompt_name": "critics", "prompt_version": "2", "template_sha256": "aa22"},
        {**one, "prompt_name": "shorts", "prompt_version": "1", "template_sha256": "bb11"},
    ]


def _seed(stored: str) -> dict[str, Any]:
    row = {"dataset": DATASET, "seed_table": "shots", "seed_id": "5eed", "position": 3}
    return {**row, "object_sha256": stored, "registered_at": NOON}


def _batches() -> Rows:
    one = {"dataset": DATASET, "promised": 4, "max_attempts": 3, "attempts": 1, "current_from": 0, "fence": 1}
    one |= {"short_accepted_by": None, "opened_at": NOON, "broken_attempts": 0}
    return [{**one, "batch": GREEN, "open_attempt": None}, {**one, "batch": STOPPED, "open_attempt": 1}]


def _requests(batch: str, stored: str) -> Rows:
    """Even ordinals were rendered from critics@1, odd ones from shorts@1."""
    return [
        {
            "dataset": DATASET,
            "batch": batch,
            "attempt": 1,
            "ordinal": ordinal,
            "request_id": request(batch, ordinal),
            "call_id": f"call{ordinal}",
            "seed": 100 + ordinal,
            "prompt_name": ("critics", "shorts")[ordinal % 2],
            "prompt_version": "1",
            "template_sha256": ("aa11", "bb11")[ordinal % 2],
            "prompt_sha256": "cc",
            "label": "pos",
            "ancestry_depth": 0,
            "axes": '{"style": "plain"}',
            "opening": None,
            "generator": "synth-assets",
            "provider": "embedded",
            "model": "tiny",
            "generation_params": '{"temperature": 0.9}',
            "object_sha256": stored,
        }
        for ordinal in range(len(ENDINGS[batch]))
    ]


def _generations(batch: str) -> Rows:
    """Every answer took 10 tokens in and 5 out; in the green batch it cost a cent, in the other nobody knows.

    What was truncated took three tries.
    """
    rows = []
    for ordinal, (outcome, reason) in enumerate(ENDINGS[batch]):
        was_sent = outcome != "not_sent"
        rows.append(
            {
                "dataset": DATASET,
                "batch": batch,
                "attempt": 1,
                "request_id": request(batch, ordinal),
                "call_id": f"call{ordinal}",
                "generation_id": ids.generation_id(request(batch, ordinal), f"call{ordinal}"),
                "outcome": outcome,
                "reason": reason,
                "model": "tiny" if was_sent else None,
                "finish_reason": "stop" if was_sent else None,
                "input_tokens": 10 if was_sent else None,
                "output_tokens": 5 if was_sent else None,
                "cost_usd": 0.01 if was_sent and batch == GREEN else None,
                "latency_s": 0.5 if was_sent else None,
                "mean_logprob": None,
                "tries": 3 if reason == "truncated" else int(was_sent),
                "lost_calls": 0,
                "calls": int(was_sent),
                "generated_at": NOON if was_sent else None,
                "object_sha256": None,
            }
        )
    return rows


def _samples(batch: str, stored: str) -> Rows:
    answered = [ordinal for ordinal, (outcome, _) in enumerate(ENDINGS[batch]) if outcome == "answered"]
    return [
        {
            "dataset": DATASET,
            "batch": batch,
            "attempt": 1,
            "ordinal": ordinal,
            "position": 0,
            "sample_id": sample(ordinal, batch),
            "request_id": request(batch, ordinal),
            "generation_id": ids.generation_id(request(batch, ordinal), f"call{ordinal}"),
            "content_sha256": content(ordinal),
            "task_type": "classification",
            "language": "en",
            "label": HOSTILE if ordinal == 4 else "pos",
            "ancestry_depth": 0,
            "characters": 20 + ordinal,
            "repairs": "",
            "object_sha256": stored,
        }
        for ordinal in answered
    ]


def _assessment(ordinal: int) -> dict[str, Any]:
    row = {"dataset": DATASET, "batch": GREEN, "sample_id": sample(ordinal), "name": "words", "value": 7.0}
    return {**row, "neighbour_id": None, "source_type": "CODE", "source_id": "words:1", "assessed_at": NOON}


def _decision(ordinal: int, decision: str, reason: str | None) -> dict[str, Any]:
    row = {"dataset": DATASET, "batch": GREEN, "sample_id": sample(ordinal), "decision": decision, "reason": reason}
    return {**row, "quality_score": 0.5, "source_type": "CODE", "source_id": "rules:1", "decided_at": NOON}


def _example(ordinal: int) -> dict[str, Any]:
    row = {"dataset": DATASET, "batch": GREEN, "sample_id": sample(ordinal), "label": "pos"}
    row |= {"split": "train" if ordinal else "validation"}
    return {**row, "content_sha256": content(ordinal), "quality_score": 0.5}


def _stage_commits() -> Rows:
    """The green chain, the stopped one, whose first try failed otherwise, the versions, and a model."""
    chain = ("generation_plan", "generated", "scored", "curated", "training_ready")
    steps = [("v1", "dataset_version", "1", "1", True, "1")]
    steps += [(GREEN, stage, f"{place}", f"{place + 1}", True, "1") for place, stage in enumerate(chain)]
    steps += [(STOPPED, "generation_plan", "0", "1", True, "1"), (STOPPED, "generated", "1", "2", False, "1")]
    steps += [(STOPPED, "generated", "1", "2", False, "2")]
    steps += [("v2", "dataset_version", "2", "2", True, "1")]
    steps += [("v2", "model_run", "2", model_run(2), True, "1")]
    return [
        {
            "dataset": DATASET,
            "partition": partition,
            "stage": stage,
            "commit_key": _key(partition, stage, turn),
            "commit_seq": 0,
            "passed": passed,
            "input_digest": read,
            "output_digest": wrote,
            "recipe_sha256": "recipe",
            "recipe_object": "recipe",
            "run_id": f"run-{partition}-{turn}",
            "committed_at": NOON,
        }
        for partition, stage, read, wrote, passed, turn in steps
    ]


def _key(partition: str, stage: str, turn: str) -> str:
    return f"{stage}:{DATASET}:{partition}:{turn}"


def _verdicts() -> Rows:
    said = [
        (GREEN, "curated", "1", "second_sum", True, {}),
        (STOPPED, "generated", "1", "contract", False, {"failed": 1}),
        (STOPPED, "generated", "2", "budget", False, {"spent": 2}),
        (STOPPED, "generated", "2", "contract", True, {}),
    ]
    return [
        _verdict(partition, stage, _key(partition, stage, turn), gate, passed=passed, facts=facts)
        for partition, stage, turn, gate, passed, facts in said
    ]


def _verdict(
    partition: str, stage: str, key: str, gate: str, *, passed: bool, facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "dataset": DATASET,
        "partition": partition,
        "stage": stage,
        "gate": gate,
        "passed": passed,
        "is_blocking": True,
        "facts": stored_json(facts),
        "commit_key": key,
        "judged_at": NOON,
        "gate_version": 1,
    }


def _releases(manifest: Mapping[int, str]) -> dict[str, Rows]:
    return {
        "dataset_versions": [_version(number, manifest[number]) for number in (1, 2)],
        "version_members": [_member(0, 1, None), _member(1, 1, 2), _member(2, 2, None)],
        "dataset_aliases": [_alias("latest", 2), _alias("production", 1)],
        "model_runs": [_model_run(number) for number in (1, 2)],
        "model_run_samples": [
            {"dataset": DATASET, "model_run_id": model_run(number), "sample_id": sample(ordinal)}
            for number, eaten in ((1, (0, 1)), (2, (0, 2)))
            for ordinal in eaten
        ],
        "evaluations": [
            _evaluation(number, subject) for number in (1, 2) for subject in ("model", "baseline:majority")
        ],
    }


def _version(number: int, manifest: str) -> dict[str, Any]:
    return {
        "dataset": DATASET,
        "version": number,
        "digest": _digest((0, number)),
        "parent_version": number - 1 or None,
        "cause": "release" if number == 1 else "disable",
        "reason": None,
        "num_samples": 2,
        "manifest_sha256": manifest,
        "recipe_sha256": "recipe",
        "is_marked": number == 1,
        "released_by": "ada",
        "released_at": NOON + timedelta(days=number),
    }


def _digest(ordinals: Sequence[int]) -> str:
    return digest_of(pl.DataFrame([_member(ordinal, 1, None) for ordinal in ordinals]))


def _member(ordinal: int, added: int, removed: int | None) -> dict[str, Any]:
    row = {"dataset": DATASET, "sample_id": sample(ordinal), "content_sha256": content(ordinal)}
    row |= {"split": "train" if ordinal else "validation", "batch": GREEN, "added_in": added, "removed_in": removed}
    return {**row, "cause": "disable" if removed else None}


def _alias(name: str, version: int) -> dict[str, Any]:
    return {"dataset": DATASET, "alias": name, "version": version, "moved_by": "ada", "moved_at": NOON}


def _model_run(version: int) -> dict[str, Any]:
    return {
        "dataset": DATASET,
        "model_run_id": model_run(version),
        "version": version,
        "digest": _digest((0, version)),
        "trainer": "linear",
        "params": '{"C": 1.0}',
        "seed": 0,
        "test_set_sha256": "test",
        "model_sha256": "model",
        "num_samples": 2,
        "train_s": 0.1,
        "trained_at": NOON + timedelta(days=version),
        "run_id": f"run-train-{version}",
    }


def _evaluation(version: int, subject: str) -> dict[str, Any]:
    value = 0.5 if subject != "model" else 0.7 + version / 100
    row = {"dataset": DATASET, "model_run_id": model_run(version), "subject": subject, "metric": "accuracy"}
    return {**row, "value": value, "low": value - 0.1, "high": value + 0.1, "train_rows": 2, "test_rows": 10}


def _released(ordinal: int) -> dict[str, Any]:
    row = {"sample_id": sample(ordinal), "content_sha256": content(ordinal), "batch": GREEN}
    row |= {"assessments": {"words": 7.0}}
    row |= {"split": "train" if ordinal else "validation", "language": "en", "label": "pos", "quality_score": 0.5}
    row |= {"prompt_name": "critics", "prompt_version": "1", "model": "fake", "tags": {"tone": "dry"}}
    return {**row, "fields": {"text": f"{SECRET} {ordinal}"}}


def _release(home: Path, number: int) -> str:
    """Write a release folder and return the hash of its manifest."""
    files = {
        "samples.jsonl": b"".join(orjson.dumps(_released(n), option=orjson.OPT_APPEND_NEWLINE) for n in (0, number)),
        "meta.json": b'{"task_type":"classification"}\n',
        "README.md": b"# films\n",
        "data/train.parquet": b"PAR1 by hand",
    }
    named = {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in files.items()}
    files["manifest.json"] = orjson.dumps({"version": f"v{number}", "files": named})
    for name, data in files.items():
        file = home / "releases" / DATASET / f"v{number}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return sha256(files["manifest.json"])
