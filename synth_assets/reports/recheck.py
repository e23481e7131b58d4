"""What today's gates and recipe would say of what is stored; nothing is changed, and nothing is judged anew by it."""

from dataclasses import dataclass
from typing import Any

from synth_assets.checks.evidence import proven_batch, read_evidence
from synth_assets.checks.gates import judge
from synth_assets.checks.proof import standing_of, verdicts_of
from synth_assets.checks.verdict import Verdict
from synth_assets.domain.greenness import opened
from synth_assets.domain.standing import Standing, State
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import BATCH_STAGES, Stage


@dataclass(frozen=True)
class Rechecked:
    """What was looked at, and what would come out otherwise.

    Attributes:
        batches: that were judged.
        gates: verdicts that were compared.
        differing: one mapping each: batch, stage, gate, then and now, both with passed and value.
    """

    batches: list[str]
    gates: int
    differing: list[dict[str, Any]]


def recheck(lake: Lake, recipe: Recipe, batches: list[str] | None, *, protected: tuple[str, ...]) -> Rechecked:
    """Judge stored batches by today's gates and recipe and compare with the verdicts of their time.

    Gates that read other batches are compared with what those hold now.

    Args:
        lake: the lake.
        recipe: as it is now.
        batches: which; None takes all that were planned.
        protected: texts no training example may resemble.

    Raises:
        IntegrityError: what is stored is not what the audit bound.
    """
    chain = lake.chain(recipe.dataset)
    chosen = opened(chain) if batches is None else batches
    compared, differing = 0, []
    for batch in chosen:
        promised = proven_batch(lake, recipe.dataset, batch)["promised"]
        evidence = read_evidence(lake, recipe.promising(promised).model, batch, protected=protected)
        for stage in _judged(standing_of(lake, recipe.dataset, batch)):
            entry = chain.latest(stage, batch)
            if entry is None:
                continue
            stored = {row["gate"]: row for row in verdicts_of(lake, recipe.dataset, entry.key).iter_rows(named=True)}
            judged = judge(stage, evidence)
            compared += len(judged)
            differing += [
                {"batch": batch, "stage": str(stage), "gate": verdict.gate, **_both(stored.get(verdict.gate), verdict)}
                for verdict in judged
                if stored.get(verdict.gate, {}).get("passed") is not verdict.passed
            ]
    return Rechecked(chosen, compared, differing)


def _judged(where: Standing) -> list[Stage]:
    """Return the stages that have judged what is there now: those behind a red or outdated one have not."""
    judged = []
    for stage in BATCH_STAGES:
        if where.states[stage] in (State.PASSED, State.FAILED):
            judged.append(stage)
        if where.states[stage] is not State.PASSED:
            break
    return judged


def _both(stored: dict[str, Any] | None, verdict: Verdict) -> dict[str, Any]:
    then = None if stored is None else {"passed": stored["passed"], "value": stored["value"]}
    return {"then": then, "now": {"passed": verdict.passed, "value": verdict.value}}
