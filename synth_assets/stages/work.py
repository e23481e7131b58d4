"""The bench of a stage: which batch, under which claim, read from where and committed how."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson
import polars as pl

from synth_assets.canonical import stored_json
from synth_assets.checks.evidence import proven_batch
from synth_assets.checks.gates import all_passed
from synth_assets.checks.proof import stage_commits, standing_of, verdicts_of
from synth_assets.checks.verdict import Verdict
from synth_assets.domain.chain import GATE_SET
from synth_assets.domain.standing import Standing, latest, standing
from synth_assets.domain.transactions import Change, Commit, Lake, Payload, Swap
from synth_assets.errors import RefusedError, SynthError
from synth_assets.recipe.loader import Recipe
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES, Stage

Facts = dict[str, Any]
"""Numbers and short names a person sees beside a stage; never sample text."""


class BatchClaim(Protocol):
    """The right to commit to a batch."""

    @property
    def fence(self) -> int:
        """Number of the claim."""

    def guard(self) -> Swap:
        """The condition that refuses a commit once the claim was lost."""

    def is_held(self) -> bool:
        """Whether it is still ours, as far as its lock tells."""


@dataclass(frozen=True)
class Finished:
    """A stage that has finished, passed or not.

    Attributes:
        output_digest: hash of what it wrote.
        facts: what a person should see.
        stop: why generation stopped early; everything finished is kept.
    """

    stage: Stage
    verdicts: Sequence[Verdict]
    output_digest: str
    facts: Facts = field(default_factory=dict)
    stop: SynthError | None = None

    @property
    def passed(self) -> bool:
        """Whether the next stage may read it."""
        return all_passed(self.verdicts) and self.stop is None


@dataclass(frozen=True)
class Written:
    """What a stage has to commit.

    Attributes:
        read: digest of its input.
        wrote: digest of its output.
        facts: for the person.
        changes: its rows.
        swaps: conditions and updates besides the claim's.
        payload: its payload objects with kind and batch.
        stop: why generation stopped early.
        audit: facts and hashes for the audit entry, besides batch, verdict and digests.
        keep: called with the rows of `stage_commits` and `verdicts` if the stage passed; what it returns is committed
            with them.
        end: the same if it did not: the revision ends there, red.
    """

    read: str
    wrote: str
    facts: Facts
    changes: Sequence[Change] = ()
    swaps: Sequence[Swap] = ()
    payload: Sequence[Payload] = ()
    stop: SynthError | None = None
    audit: Facts = field(default_factory=dict)
    keep: Callable[[pl.DataFrame, pl.DataFrame], "Keeps"] | None = None
    end: Callable[[pl.DataFrame, pl.DataFrame], "Keeps"] | None = None


class Keeps(Protocol):
    """What is kept of a batch that became green, or red."""

    facts: Facts
    changes: Sequence[Change]
    payload: Sequence[Payload]


@dataclass(frozen=True)
class Work:
    """One stage's bench.

    Attributes:
        batch: partition key: a batch, or the number of a version.
        claim: of the batch; None for versions, whose numbers are taken by compare-and-swap instead.
    """

    recipe: Recipe
    batch: str
    lake: Lake
    claim: BatchClaim | None
    run_id: str
    now: Callable[[], datetime]

    @property
    def here(self) -> dict[str, str]:
        """Columns that find the batch in a table."""
        return {"dataset": self.recipe.dataset, "batch": self.batch}

    def guards(self) -> list[Swap]:
        """Return the conditions every commit of this bench carries."""
        return [self.claim.guard()] if self.claim else []

    def is_ours(self) -> bool:
        """Whether the batch is still ours to work on; see `BatchClaim.is_held`."""
        return self.claim is None or self.claim.is_held()

    def refuse_lost(self) -> None:
        """Refuse to go on with a batch that another process has taken over, before a commit would.

        Raises:
            RefusedError: the claim is lost.
        """
        if not self.is_ours():
            raise RefusedError(
                f"batch {self.recipe.dataset} {self.batch} was claimed by another process in the meantime; nothing "
                "more was sent, and what was answered is kept",
                where=f"{self.recipe.dataset}, partition {self.batch}",
                fix="look at `synth status`, then try again",
            )

    def row(self) -> dict[str, Any]:
        """Return the batch's row; the claim made sure there is one."""
        return proven_batch(self.lake, **self.here)

    @property
    def is_ingested(self) -> bool:
        """Whether the batch holds samples that were made elsewhere: nobody promised any."""
        return bool(self.row()["promised"] == 0)

    def standing(self) -> Standing:
        """Return where the batch stands."""
        return standing_of(self.lake, self.recipe.dataset, self.batch)

    def written_by(self, stage: Stage) -> str:
        """Return the output digest of a stage that passed.

        Raises:
            RefusedError: it did not; the gate that holds is named.
            IntegrityError: what is stored of its verdict is not what its audit entry says.
        """
        rows = stage_commits(self.lake, self.recipe.dataset, self.batch)
        commits = latest(rows)
        for commit in commits.values():
            verdicts_of(self.lake, self.recipe.dataset, commit["commit_key"])
        if stage in BATCH_STAGES and not standing(rows).has_passed(stage):
            raise held_back(self.lake, self.recipe.dataset, self.batch, standing(rows))
        if stage not in commits:
            raise RefusedError(
                f"{self.recipe.dataset} {self.batch} has no {stage}",
                where=f"{self.recipe.dataset}/{stage}",
                fix=f"materialize {stage} first, or `synth run {self.recipe.dataset} --batch {self.batch}`",
            )
        return str(commits[stage]["output_digest"])

    def finish(self, stage: Stage, verdicts: Sequence[Verdict], written: Written) -> Finished:
        """Commit what a stage wrote together with its verdicts, and return it finished.

        Raises:
            RefusedError: the claim was lost, or a swap found something else than expected.
            StoppedError: the disk is full or the catalog cannot be reached; nothing was changed.
        """
        wrote, stop = written.wrote, written.stop
        recipe = self.lake.put(self.recipe.canonical, ".json")
        row, judged = self.finishing(stage, verdicts, written, recipe.sha256)
        key, passed = row["commit_key"][0], bool(row["passed"][0])
        keep, word = (written.keep, "revision") if passed else (written.end, "ended")
        kept = keep(row, judged) if keep is not None else None
        self.lake.commit(
            Commit(
                dataset=self.recipe.dataset,
                key=key,
                action=str(stage),
                run_id=self.run_id,
                details={
                    **written.audit,
                    **({word: kept.facts} if kept else {}),
                    "batch": self.batch,
                    "passed": passed,
                    "input": written.read,
                    "output": wrote,
                    "gate_set": GATE_SET,
                    "gates": {verdict.gate: verdict.passed for verdict in verdicts if verdict.is_blocking},
                },
                changes=[
                    *written.changes,
                    *(kept.changes if kept else ()),
                    Change("stage_commits", row),
                    Change("verdicts", judged),
                ],
                swaps=[*self.guards(), *written.swaps],
                payload=[*written.payload, *(kept.payload if kept else ()), ("recipe", None, recipe)],
            )
        )
        return Finished(stage=stage, verdicts=verdicts, output_digest=wrote, facts=written.facts, stop=stop)

    def told_before(self, stage: Stage, stop: SynthError) -> Finished | None:
        """Return what a stage said when it last finished, for one that now stops before it does anything.

        None if it never finished; a stop then is all there is to tell.
        """
        entry = self.lake.chain(self.recipe.dataset).latest(stage, self.batch)
        if entry is None:
            return None
        rows = verdicts_of(self.lake, self.recipe.dataset, entry.key).sort("gate").to_dicts()
        same = ("gate", "passed", "is_blocking", "value", "least", "most")
        verdicts = [
            Verdict(**{name: row[name] for name in same}, facts=orjson.loads(row["facts"]), version=row["gate_version"])
            for row in rows
        ]
        return Finished(stage, verdicts, str(entry.details["output"]), {}, stop=stop)

    def finishing(
        self, stage: Stage, verdicts: Sequence[Verdict], written: Written, recipe_object: str
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the row of `stage_commits` and the rows of `verdicts` a stage is about to commit."""
        row = {
            "dataset": self.recipe.dataset,
            "partition": self.batch,
            "stage": stage,
            "commit_key": f"{stage}:{self.recipe.dataset}:{self.batch}:{self.run_id}:{written.wrote[:16]}",
            "commit_seq": self.lake.chain(self.recipe.dataset).length + 1,  # at least; the lake sets it
            "passed": all_passed(verdicts) and written.stop is None,
            "input_digest": written.read,
            "output_digest": written.wrote,
            "recipe_sha256": self.recipe.sha256,
            "recipe_object": recipe_object,
            "run_id": self.run_id,
            "committed_at": self.now(),
        }
        judged = verdict_rows(self.recipe.dataset, self.batch, stage, row["commit_key"], verdicts, self.now())
        return TABLES["stage_commits"].frame([row]), TABLES["verdicts"].frame(judged)


def verdict_rows(
    dataset: str, partition: str, stage: Stage, key: str, verdicts: Sequence[Verdict], at: datetime
) -> list[Mapping[str, Any]]:
    """Return verdicts as rows of `verdicts`."""
    return [
        {
            "dataset": dataset,
            "partition": partition,
            "stage": stage,
            "gate": verdict.gate,
            "passed": verdict.passed,
            "is_blocking": verdict.is_blocking,
            "facts": stored_json(verdict.facts),
            "commit_key": key,
            "judged_at": at,
            "gate_version": verdict.version,
            "value": verdict.value,
            "least": verdict.least,
            "most": verdict.most,
        }
        for verdict in verdicts
    ]


def held_back(lake: Lake, dataset: str, batch: str, where: Standing) -> RefusedError:
    """Say which gate holds a batch back, and how to go on."""
    stage = where.first_not_passed
    entry = lake.chain(dataset).latest(str(stage), batch)
    judged = verdicts_of(lake, dataset, entry.key) if entry else TABLES["verdicts"].frame([])
    gates = sorted(judged.filter(~pl.col("passed"))["gate"])
    because = f" at {', '.join(gates)}" if gates else ""
    return RefusedError(
        f"{dataset} {batch} is held back: {stage} is {where.states[stage] if stage else 'green'}{because}",
        where=f"{dataset}/{stage}, partition {batch}",
        fix=f"`synth run {dataset} --batch {batch}` tops it up; `synth status {dataset}` shows the funnel",
    )
