"""Cutting a version from the green batches, and verifying one that was cut before."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import sha256
from synth_assets.checks.evidence import fields_of, read_evidence
from synth_assets.checks.gates import GATES, judge
from synth_assets.checks.release_gates import Release, judge_release
from synth_assets.domain.drafting import MAY_HAVE_COST
from synth_assets.domain.release import Contents, release_files
from synth_assets.domain.standing import latest, standing
from synth_assets.domain.transactions import Change, Lake, Swap
from synth_assets.domain.usage import Usage
from synth_assets.domain.versioning import Cut, advanced, cut, digest_of, members_of
from synth_assets.errors import RefusedError
from synth_assets.recipe.loader import Recipe
from synth_assets.recipe.model import RecipeModel
from synth_assets.stages.work import Finished, Work, Written
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Stage

LATEST = "latest"
"""Alias that follows the newest version."""


@dataclass(frozen=True)
class Pending:
    """What the next version would hold.

    Attributes:
        head: number of the latest version, 0 before the first.
        green: batches inside.
        left_out: batches that are not green, with the stage that holds each back.
    """

    head: int
    change: Cut
    green: list[str]
    left_out: dict[str, str]


def head_of(lake: Lake, dataset: str) -> int:
    """Return the number of the latest version; 0 before the first."""
    heads = lake.read("heads", dataset=dataset)
    return int(heads["head_version"][0]) if heads.height else 0


def pending(lake: Lake, dataset: str) -> Pending:
    """Return what the next version of a dataset would hold."""
    commits = lake.read("stage_commits", dataset=dataset)
    green, left_out = [], {}
    opened = lake.read("batches", dataset=dataset).filter(pl.col("attempts") > 0)
    for batch in sorted(opened["batch"]):
        where = standing(commits.filter(pl.col("partition") == batch))
        if where.is_green:
            green.append(batch)
        else:
            left_out[batch] = str(where.first_not_passed)
    head = head_of(lake, dataset)
    examples = lake.read("training_examples", dataset=dataset, batch=green)
    return Pending(head, cut(examples, lake.read("version_members", dataset=dataset), head=head), green, left_out)


def release(work: Work, releases: Path, *, reason: str, actor: str, protected: tuple[str, ...]) -> Finished:
    """Cut the version whose number is the partition key, or verify it if it was cut before.

    Args:
        work: the bench; its batch is the version's number.
        releases: folder of all releases.
        reason: what the person said; kept in the audit for ever.
        actor: who.
        protected: texts of the test and validation sets.

    Raises:
        RefusedError: the number is neither a version nor the next one, or there is nothing to release.
    """
    number, head = _number(work.batch), head_of(work.lake, work.recipe.dataset)
    if 1 <= number <= head:
        return _verify(work, releases, number, protected=protected)
    if number != head + 1:
        raise RefusedError(
            f"{work.recipe.dataset} v{work.batch} can be neither verified nor cut: the latest version is v{head}",
            where=f"{work.recipe.dataset}/dataset_version",
            fix=f"`synth release {work.recipe.dataset}` cuts v{head + 1}",
        )
    return _cut(work, releases, number, reason=reason, actor=actor, protected=protected)


def _number(key: str) -> int:
    return int(key.removeprefix("v")) if key.removeprefix("v").isdigit() else -1


def _cut(work: Work, releases: Path, number: int, *, reason: str, actor: str, protected: tuple[str, ...]) -> Finished:
    lake, dataset = work.lake, work.recipe.dataset
    next_up = pending(lake, dataset)
    if next_up.change.is_empty or next_up.change.members.is_empty():
        raise RefusedError(
            f"{dataset} has nothing to release: no green batch holds anything that v{number - 1} lacks",
            where=f"{dataset}/dataset_version",
            fix=f"`synth run {dataset}` makes a batch; `synth status {dataset}` shows what holds others back",
        )
    rederived, verdicts = rederive(lake, work.recipe, next_up.green, protected=protected)
    files = release_files(_contents(work, next_up, number, verdicts))
    folder = place(releases / dataset, number, next_up.change.digest, files)
    members = next_up.change.members
    judgement = judge_release(
        Release(
            digest=next_up.change.digest,
            num_samples=members.height,
            manifest_sha256=sha256(files["manifest.json"]),
            members=members,
            files=read_folder(folder),
            decisions=lake.read("decisions", dataset=dataset, sample_id=members["sample_id"].to_list()),
            rederived=rederived,
        )
    )
    facts = {
        "version": number,
        "num_samples": members.height,
        "added": next_up.change.added.height,
        "removed": next_up.change.removed.height,
        "batches": len(next_up.green),
        "batches_left_out": len(next_up.left_out),
        "digest": next_up.change.digest,
        "folder": str(folder),
    }
    is_good = all(verdict.passed for verdict in judgement)
    used = Usage(
        dataset=dataset,
        version=number,
        action="release",
        actor=actor,
        at=work.now(),
        digest=next_up.change.digest,
        run_id=work.run_id,
        purpose=reason,
        destination="release folder",
    )
    manifest = {"manifest_sha256": sha256(files["manifest.json"])}
    if not is_good:
        shutil.rmtree(folder)
    return work.finish(
        Stage.DATASET_VERSION,
        judgement,
        Written(
            read=next_up.change.digest,
            wrote=next_up.change.digest,
            facts=facts,
            changes=_rows(work, next_up, used, manifest) if is_good else (),
            swaps=[
                Swap(
                    "heads",
                    {"dataset": dataset},
                    {"head_version": number - 1},
                    {"head_version": number} if is_good else {},
                    otherwise=f"v{number} of {dataset} was cut by somebody else in the meantime",
                )
            ],
            audit={**used.facts, **manifest} if is_good else {"version": number},
        ),
    )


def _contents(work: Work, next_up: Pending, number: int, verdicts: pl.DataFrame) -> Contents:
    lake, here = work.lake, {"dataset": work.recipe.dataset, "batch": next_up.green}
    members = next_up.change.members
    generations = lake.read("generations", **here)
    paid = generations.filter(MAY_HAVE_COST)["cost_usd"]
    return Contents(
        model=work.recipe.model,
        version=number,
        parent_version=number - 1 or None,
        digest=next_up.change.digest,
        members=members,
        samples=lake.read("samples", **here),
        requests=lake.read("requests", **here),
        generations=generations,
        decisions=lake.read("decisions", **here),
        assessments=lake.read("assessments", **here).join(members, on="sample_id", how="semi"),
        tags=lake.read("tags", **here).join(members, on="sample_id", how="semi"),
        texts=fields_of(lake, **here).join(members, on="sample_id", how="semi", maintain_order="left"),
        verdicts=verdicts,
        batches_left_out=next_up.left_out,
        cost_usd=None if paid.null_count() else math.fsum(paid),
    )


def _rows(work: Work, next_up: Pending, used: Usage, manifest: dict[str, str]) -> list[Change]:
    lake, dataset, number, change = work.lake, used.dataset, used.version, next_up.change
    version: dict[str, Any] = {
        "dataset": dataset,
        "version": number,
        "digest": change.digest,
        "parent_version": number - 1 or None,
        "cause": "release",
        "reason": used.purpose or None,
        "num_samples": change.members.height,
        **manifest,
        "recipe_sha256": work.recipe.sha256,
        "is_marked": False,
        "released_by": used.actor,
        "released_at": used.at,
    }
    touched = [*change.added["sample_id"], *change.removed["sample_id"]]
    before = lake.read("version_members", dataset=dataset, sample_id=touched)
    after = advanced(before, change, dataset=dataset, version=number, cause="release")
    alias = {"dataset": dataset, "alias": LATEST, "version": number, "moved_by": used.actor, "moved_at": used.at}
    return [
        Change("dataset_versions", TABLES["dataset_versions"].frame([version])),
        Change("version_members", after, {"dataset": dataset, "sample_id": touched}),
        Change("dataset_aliases", TABLES["dataset_aliases"].frame([alias]), {"dataset": dataset, "alias": LATEST}),
        used.row(**manifest),
    ]


def _verify(work: Work, releases: Path, number: int, *, protected: tuple[str, ...]) -> Finished:
    lake, dataset = work.lake, work.recipe.dataset
    row = lake.read("dataset_versions", dataset=dataset, version=number).row(0, named=True)
    members = members_of(lake.read("version_members", dataset=dataset), number)
    folder = releases / dataset / f"v{number}"
    files = read_folder(folder)
    batches = sorted(set(members["batch"]))
    rederived, _ = rederive(lake, work.recipe, batches, protected=protected)
    verdicts = judge_release(
        Release(
            digest=row["digest"],
            num_samples=row["num_samples"],
            manifest_sha256=row["manifest_sha256"],
            members=members,
            files=files,
            decisions=lake.read("decisions", dataset=dataset, sample_id=members["sample_id"].to_list()),
            rederived=rederived,
        )
    )
    facts = {
        "version": number,
        "num_samples": members.height,
        "digest": row["digest"],
        "folder": str(folder),
        "was_verified": True,
    }
    return work.finish(
        Stage.DATASET_VERSION, verdicts, Written(read=row["digest"], wrote=digest_of(members), facts=facts)
    )


def rederive(
    lake: Lake, recipe: Recipe, batches: list[str], *, protected: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judge every stage of every batch again under the recipe its latest verdict recorded.

    Gates that read other batches are left out: what those held at that time is not kept.

    Returns:
        ``rederived``, columns id, recorded, derived, one row per gate; and the recorded verdicts, rows of `verdicts`.
    """
    rows: list[dict[str, Any]] = []
    recorded: list[pl.DataFrame] = []
    for batch in batches:
        commits = latest(lake.read("stage_commits", dataset=recipe.dataset, partition=batch))
        for stage in BATCH_STAGES:
            commit = commits[stage]
            model = RecipeModel.model_validate(orjson.loads(lake.get(commit["recipe_object"], ".json")))
            evidence = read_evidence(lake, model, batch, protected=protected)
            derived = {verdict.gate: verdict.passed for verdict in judge(stage, evidence)}
            stored = lake.read("verdicts", dataset=recipe.dataset, commit_key=commit["commit_key"])
            recorded.append(stored)
            outside = {gate.name for gate in GATES[stage] if gate.reads_other_batches}
            rows += [
                {"id": f"{batch}:{stage}:{row['gate']}", "recorded": row["passed"], "derived": derived.get(row["gate"])}
                for row in stored.iter_rows(named=True)
                if row["gate"] not in outside
            ]
    schema = {"id": pl.String, "recorded": pl.Boolean, "derived": pl.Boolean}
    return pl.DataFrame(rows, schema=schema), pl.concat([TABLES["verdicts"].frame([]), *recorded])


def place(folder: Path, number: int, digest: str, files: dict[str, bytes]) -> Path:
    """Write a release beside its place and rename it there; what a crash left behind is swept.

    The caller commits afterwards: until then nothing names the folder.
    """
    target, staged = folder / f"v{number}", folder / f".staged-{digest[:16]}"
    for leftover in (staged, target):
        if leftover.exists():
            shutil.rmtree(leftover)
    for name, data in files.items():
        file = staged / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    staged.replace(target)
    return target


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return every file under a release folder by its path inside."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
