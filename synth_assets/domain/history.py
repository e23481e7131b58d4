"""The revisions of a batch: one for every state its stages left behind, derived from what they committed.

Nothing of it is stored: the same commits and verdicts give the same revisions, and later ones never lower the number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import polars as pl

from synth_assets.vocabulary import BATCH_STAGES, Stage

CHAIN = (Stage.GENERATION_PLAN, *BATCH_STAGES)

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Revision:
    """A state of a batch.

    Attributes:
        number: from 1, in the order of commits.
        causes: what made it differ from the revision before.
        stage: the last stage that finished in it.
        passed: whether that stage passed.
        failed_gates: the gates that hold it there; empty if it passed or was stopped.
        accepted: accepted samples; None if nothing was decided on what it holds.
        run_id: run of that stage.
        at: when that stage finished.
        output_digest: what that stage wrote.
    """

    number: int
    causes: tuple[str, ...]
    stage: Stage
    passed: bool
    failed_gates: tuple[str, ...]
    accepted: int | None
    run_id: str
    at: datetime
    output_digest: str

    @property
    def state(self) -> str:
        """Where the revision ends, in words."""
        if self.passed:
            return "green" if self.stage is Stage.TRAINING_READY else f"unfinished after {self.stage}"
        gates = ", ".join(self.failed_gates)
        return f"red at {self.stage}: {gates}" if gates else f"stopped at {self.stage}"


@dataclass(frozen=True)
class _Said:
    """What a stage said when it finished; only another output or verdict is another state."""

    output_digest: str
    passed: bool
    failed_gates: tuple[str, ...]
    recipe_sha256: str = field(compare=False)
    promise: Facts = field(compare=False)


def revisions(stage_commits: pl.DataFrame, verdicts: pl.DataFrame, *, is_ingested: bool) -> list[Revision]:
    """Return the revisions of a batch, oldest first; the last one is the present.

    A pass over the chain ends where a stage fails or at `training_ready`; a pass that was interrupted goes on with the
    next commit. A pass in which some stage wrote something else, or judged otherwise, than when it finished last is a
    revision; looking again is none.

    Args:
        stage_commits: all stage commits of the batch, shape (n, 12).
        verdicts: all its verdicts, shape (m, 9).
        is_ingested: whether its samples were made elsewhere.
    """
    found: list[Revision] = []
    held: dict[Stage, _Said] = {}
    causes: tuple[str, ...] = ()
    attempts, accepted = 0, None
    for stage, commit, said in _in_order(stage_commits, verdicts):
        before, held[stage] = held.get(stage), said
        attempts += stage is Stage.GENERATION_PLAN
        is_under_way = bool(causes)
        if said != before:
            accepted = None if stage in CHAIN[:3] else accepted
            made = _causes(stage, before, said, attempts, is_ingested=is_ingested, known=causes)
            causes = tuple(dict.fromkeys([*causes, *made]))
        if stage is Stage.CURATED:
            accepted = said.promise.get("accepted")
        if causes:
            number = len(found) + (not is_under_way)
            end = (said.passed, said.failed_gates, accepted, commit["run_id"], commit["committed_at"])
            found[number - 1 :] = [Revision(number, causes, stage, *end, said.output_digest)]
        if not said.passed or stage is Stage.TRAINING_READY:
            causes = ()
    return found


def _in_order(stage_commits: pl.DataFrame, verdicts: pl.DataFrame) -> Iterator[tuple[Stage, Facts, _Said]]:
    """Yield what the stages said, by commit order; commits of one transaction in the order data flows."""
    failed, promise = _failed(verdicts), _promises(verdicts)
    commits = stage_commits.to_dicts()
    for commit in sorted(commits, key=lambda each: (each["commit_seq"], CHAIN.index(each["stage"]))):
        key = commit["commit_key"]
        said = _Said(
            output_digest=commit["output_digest"],
            passed=commit["passed"],
            failed_gates=failed.get(key, ()),
            recipe_sha256=commit["recipe_sha256"],
            promise=promise.get(key, {}),
        )
        yield Stage(commit["stage"]), commit, said


def _failed(verdicts: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the gates that held a stage commit back, sorted, by its key."""
    red = verdicts.filter(~pl.col("passed") & pl.col("is_blocking")).group_by("commit_key").agg(pl.col("gate").sort())
    return {key: tuple(gates) for key, gates in red.iter_rows()}


def _promises(verdicts: pl.DataFrame) -> dict[str, Facts]:
    """Return what the gate `minimum_count` counted, by commit key: accepted, promised, accepted_short."""
    asked = verdicts.filter(pl.col("gate") == "minimum_count").select("commit_key", "facts")
    return {key: orjson.loads(facts) for key, facts in asked.iter_rows()}


def _causes(
    stage: Stage, before: _Said | None, now: _Said, attempts: int, *, is_ingested: bool, known: tuple[str, ...]
) -> Iterator[str]:
    """Yield why a stage said something else than before; ``known`` are the causes of the pass so far."""
    if stage is Stage.GENERATION_PLAN:
        yield "samples ingested" if is_ingested else f"attempt {attempts} opened"
        return
    if before is None:
        reasons = {}
    else:
        then, since = before.promise, now.promise
        has_more = stage is Stage.GENERATED and before.output_digest != now.output_digest
        reasons = {
            f"attempt {attempts} went on": has_more and not known,
            "judged again under another recipe": now.recipe_sha256 != before.recipe_sha256,
            "accepted short": bool(since.get("accepted_short")) and not then.get("accepted_short"),
            f"promise of {since.get('promised')}": {"promised"} <= {*then, *since}
            and since.get("promised") != then.get("promised"),
        }
    made = [reason for reason, holds in reasons.items() if holds]
    yield from made if made or known else ["judged again"]
