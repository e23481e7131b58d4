"""Cutting a version: from what was kept of every batch that changed, and from the files of the version before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from synth_assets.canonical import sha256
from synth_assets.checks.evidence import fields_of, read_evidence
from synth_assets.checks.proof import proven, verdicts_of
from synth_assets.checks.release_gates import Release, judge_release
from synth_assets.domain.chain import RESTORE, Entry
from synth_assets.domain.greenness import first_held, held_now, opened
from synth_assets.domain.release import Contents, release_files
from synth_assets.domain.transactions import Change, Lake, Swap
from synth_assets.domain.usage import Usage
from synth_assets.domain.versioning import advanced, members_of, number_of
from synth_assets.errors import IntegrityError, RefusedError
from synth_assets.stages.admission import as_judged, range_of
from synth_assets.stages.folders import place, stage_folder, sweep
from synth_assets.stages.pending import Pending, pending
from synth_assets.stages.proof import ProvenRelease, proven_release, read_folder
from synth_assets.stages.revisions import figures_of, kept_lines, lines_of
from synth_assets.stages.version_changes import change_of
from synth_assets.stages.work import Finished, Work, Written
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Assessment, Stage

LATEST = "latest"
"""Alias that follows the newest version."""


@dataclass(frozen=True)
class Said:
    """What a person says of a version, and what it may not resemble.

    Attributes:
        reason: why; kept in the audit for ever.
        actor: who.
        protected: texts of the test and validation sets.
        as_judged: whether batches may enter by the thresholds of their time, where today's would not admit them.
    """

    reason: str
    actor: str
    protected: tuple[str, ...]
    as_judged: bool


def cut_version(work: Work, releases: Path, number: int, said: Said) -> Finished:
    """Cut the version after the latest one.

    Args:
        work: the bench.
        releases: folder of all releases.
        number: of the version.
        said: what the person said.

    Raises:
        RefusedError: there is nothing to release, or somebody else cut it in the meantime.
        StoppedError: today's thresholds would not admit a batch that enters.
        IntegrityError: what is stored contradicts the audit, or the version was published before.
    """
    lake, dataset = work.lake, work.recipe.dataset
    next_up = pending(lake, dataset)
    if next_up.change.is_empty or next_up.change.members.is_empty():
        raise RefusedError(
            f"{dataset} has nothing to release: no green batch holds anything that v{number - 1} lacks",
            where=f"{dataset}/dataset_version",
            fix=f"`synth run {dataset}` makes a batch; `synth status {dataset}` shows what holds others back",
        )
    _refuse_published(releases / dataset, number)
    parent = proven_release(lake, releases, dataset, number - 1) if number > 1 else None
    _prove_members(lake, dataset, parent)
    _prove_batches(work, parent, said.protected)
    judged = as_judged(work, next_up, said.protected, may_enter=said.as_judged)
    contents = _contents(work, next_up, parent, number, judged)
    files = release_files(contents)
    sweep(
        releases / dataset, {str(each["digest"]) for each in lake.read("dataset_versions", dataset=dataset).to_dicts()}
    )
    staged = stage_folder(releases / dataset, next_up.change.digest, files)
    members = next_up.change.members
    manifest_sha256 = sha256(files["manifest.json"])
    rule = work.recipe.model.rules.get(Assessment.NEAR_DUPLICATE)
    verdicts = judge_release(
        Release(
            digest=next_up.change.digest,
            num_samples=members.height,
            manifest_sha256=manifest_sha256,
            members=members,
            files=read_folder(staged),
            stages=_stages(next_up),
            resemblance_at_most=1.0 if rule is None or rule.max is None else rule.max,
        )
    )
    is_good = all(verdict.passed for verdict in verdicts)
    used = Usage(
        dataset=dataset,
        version=number,
        action="release",
        actor=said.actor,
        at=work.now(),
        digest=next_up.change.digest,
        run_id=work.run_id,
        purpose=said.reason,
        destination="release folder",
    )
    manifest = {"manifest_sha256": manifest_sha256}
    finished = work.finish(
        Stage.DATASET_VERSION,
        verdicts,
        Written(
            read=next_up.change.digest,
            wrote=next_up.change.digest,
            facts={
                "version": number,
                "num_samples": members.height,
                "added": next_up.change.added.height,
                "removed": next_up.change.removed.height,
                "batches": len(contents.batches),
                "batches_left_out": len(next_up.left_out),
                "digest": next_up.change.digest,
                "folder": str(releases / dataset / f"v{number}"),
            },
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
            audit={**used.facts, **manifest, "cause": "release", "as_judged": judged}
            if is_good
            else {"version": number},
        ),
    )
    place(staged, releases / dataset / f"v{number}" if is_good else None)
    return finished


def _refuse_published(folder: Path, number: int) -> None:
    """Refuse to cut a version whose folder is there: the catalog is older than what was published."""
    there = [path.name for path in folder.glob("v*")]
    known = sorted((name for name in there if number_of(name) >= number), key=number_of)
    if known:
        raise IntegrityError(
            f"a release {known[0]} of {folder.name} is there, and the catalog knows nothing of it",
            where=str(folder / known[0]),
            fix="restore the catalog that knows it; if no such version was ever published, move the folder away",
        )


def _prove_members(lake: Lake, dataset: str, parent: ProvenRelease | None) -> None:
    """Compare the intervals of membership with the lines of the version before."""
    held = proven(lake, "version_members", dataset=dataset)
    intervals = members_of(held, parent.released.version if parent else 0)
    if parent is not None and not intervals.equals(parent.members):
        raise IntegrityError(
            f"version_members tells other members of v{parent.released.version} than its release holds",
            where=f"version_members, dataset {dataset}",
            fix=RESTORE,
        )


def _prove_batches(work: Work, parent: ProvenRelease | None, protected: tuple[str, ...]) -> None:
    """Compare every row of every batch that has an entry since the version before with what its entries bound."""
    chain, since = work.lake.chain(work.recipe.dataset), parent.released.seq if parent else 0
    for batch in opened(chain):
        entries = chain.partitions[batch]
        if entries[-1].seq > since:
            read_evidence(work.lake, work.recipe.model, batch, protected=protected)
            for entry in held_now(entries).values():
                verdicts_of(work.lake, work.recipe.dataset, entry.key)


def _stages(next_up: Pending) -> pl.DataFrame:
    rows = [
        {"id": f"{batch}:{stage}", "passed": first_held(entries) is None and stage in entries}
        for batch, entries in next_up.green.items()
        for stage in BATCH_STAGES
    ]
    return pl.DataFrame(rows, schema={"id": pl.String, "passed": pl.Boolean})


def _contents(
    work: Work, next_up: Pending, parent: ProvenRelease | None, number: int, judged: list[dict[str, Any]]
) -> Contents:
    """Gather the lines of every batch: kept ones of those that changed, all else from the version before."""
    wanted = set(next_up.change.members["sample_id"])
    lines: dict[str, list[bytes]] = {}
    before = parent.manifest if parent else {}
    for line, row in zip(parent.lines, parent.rows, strict=True) if parent else ():
        if row["batch"] not in next_up.fresh and row["sample_id"] in wanted:
            lines.setdefault(row["batch"], []).append(line)
    figures: dict[str, dict[str, Any]] = {}
    verdicts: list[dict[str, Any]] = []
    for batch, green in sorted(next_up.green.items()):
        if batch in next_up.fresh or batch not in before.get("batches", {}):
            made = _made(work, batch, green)
            if batch in next_up.fresh:
                lines[batch] = [line for name, line in made.lines.select("sample_id", "line").rows() if name in wanted]
            figures[batch], told = made.figures, made.verdicts
        else:
            figures[batch] = before["batches"][batch]
            told = [row for row in before["verdicts"] if row["batch"] == batch]
        verdicts += told
    new = {each["batch"]: f"{each['gate']} {each['value']:.4g}, where today {range_of(each['now'])}" for each in judged}
    contents = Contents(
        model=work.recipe.model,
        version=number,
        parent_version=number - 1 or None,
        digest=next_up.change.digest,
        lines=[line for batch in sorted(lines) for line in lines[batch]],
        batches=figures,
        verdicts=verdicts,
        batches_left_out=next_up.left_out,
        batches_behind=next_up.behind,
        as_judged={**before.get("as_judged", {}), **new},
    )
    return change_of(contents, parent)


@dataclass(frozen=True)
class _Made:
    lines: pl.DataFrame
    figures: dict[str, Any]
    verdicts: list[dict[str, Any]]


def _made(work: Work, batch: str, green: dict[Stage, Entry]) -> _Made:
    """Return what was kept of a batch; of one that was green before anything was kept, what its rows give."""
    lake, dataset = work.lake, work.recipe.dataset
    told = [
        {"batch": batch, "stage": row["stage"], "gate": row["gate"], "passed": row["passed"]}
        for stage in BATCH_STAGES
        for row in verdicts_of(lake, dataset, green[stage].key).iter_rows(named=True)
    ]
    kept = green[Stage.TRAINING_READY].details.get("revision")
    if kept:
        return _Made(kept_lines(lake, kept["lines"]), dict(kept["figures"]), told)
    evidence = read_evidence(lake, work.recipe.model, batch, protected=())
    lines = lines_of(evidence, fields_of(lake, dataset=dataset, batch=batch))
    recipe = lake.read("stage_commits", dataset=dataset, commit_key=green[Stage.TRAINING_READY].key)["recipe_sha256"][0]
    return _Made(lines, figures_of(evidence, recipe), told)


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
    before = proven(lake, "version_members", dataset=dataset)
    after = advanced(before, change, dataset=dataset, version=number, cause="release")
    moved = after.filter(pl.col("sample_id").is_in(touched))
    alias = {"dataset": dataset, "alias": LATEST, "version": number, "moved_by": used.actor, "moved_at": used.at}
    return [
        Change("dataset_versions", TABLES["dataset_versions"].frame([version])),
        Change("version_members", moved, {"dataset": dataset, "sample_id": touched}, leaves=after),
        Change("dataset_aliases", TABLES["dataset_aliases"].frame([alias]), {"dataset": dataset, "alias": LATEST}),
        used.row(**manifest),
    ]
