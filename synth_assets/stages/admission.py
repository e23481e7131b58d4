"""Which batches a version may take in: those that today's thresholds and test sets would admit, or a person does."""

from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

from synth_assets.checks.evidence import texts_of
from synth_assets.checks.gates import contamination_at_most, protected_sha256, would_fail
from synth_assets.checks.proof import proven, verdicts_of
from synth_assets.domain.chain import Entry
from synth_assets.domain.release import told_fields
from synth_assets.domain.scoring.copies import contamination
from synth_assets.errors import StoppedError
from synth_assets.stages.pending import Pending
from synth_assets.stages.revisions import kept_lines
from synth_assets.stages.work import Facts, Work
from synth_assets.vocabulary import Stage

CONTAMINATION = "no_contamination"


def as_judged(work: Work, next_up: Pending, protected: tuple[str, ...], *, may_enter: bool) -> list[Facts]:
    """Return what today would not admit of the batches that enter and nobody has recorded yet.

    Args:
        work: the bench.
        next_up: what the version would hold.
        protected: texts of the test and validation sets.
        may_enter: whether a person lets them enter by the rules of their time.

    Returns:
        One mapping each: batch, stage, gate, value, then and now, the threshold of the time and today's.

    Raises:
        StoppedError: there is something, and the person has not said that it may enter.
    """
    dataset, model = work.recipe.dataset, work.recipe.model
    chain = work.lake.chain(dataset)
    known = [_place(each) for released in chain.releases.values() for each in released.details.get("as_judged", ())]
    found: list[Facts] = []
    for batch in next_up.fresh:
        is_ingested = chain.state.get("batches", {}).get((dataset, batch), {}).get("promised") == 0
        for entry in next_up.green[batch].values():
            judged = would_fail(verdicts_of(work.lake, dataset, entry.key), model, is_ingested=is_ingested)
            found += [{"batch": batch, **each} for each in judged]
        found += _contaminated(work, batch, next_up.green[batch][Stage.TRAINING_READY], protected)
    found = [each for each in found if _place(each) not in known]
    if found and not may_enter:
        first, more = found[0], f" ({len(found) - 1} more like it)" if len(found) > 1 else ""
        raise StoppedError(
            f"{first['batch']} has {first['gate']} {first['value']:.4g}, which passed {range_of(first['then'])} "
            f"and would not pass {range_of(first['now'])}, as the recipe says today{more}",
            where=f"{dataset}, batch {first['batch']}, {first['stage']}.{first['gate']}",
            fix=f"`synth run {dataset} --batch {first['batch']}` judges it anew; "
            f"`synth release {dataset} --as-judged --reason TEXT` lets it enter by the rules of its time",
        )
    return found


def _place(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return found["batch"], found["gate"], found["now"]


def _contaminated(work: Work, batch: str, entry: Entry, protected: tuple[str, ...]) -> list[Facts]:
    """Compare a batch with the test sets of today, if it was compared with others, or none, at its time."""
    judged = verdicts_of(work.lake, work.recipe.dataset, entry.key).filter(gate=CONTAMINATION)
    facts = orjson.loads(judged["facts"][0]) if judged.height else {}
    if not protected or facts.get("protected_sha256") == protected_sha256(protected):
        return []
    value = contamination(_texts(work, batch, entry), list(protected))["value"].max()
    most = contamination_at_most(work.recipe.model)
    if not isinstance(value, float) or value <= most:
        return []
    then = [None, facts.get("resemblance_at_most")]
    return [
        {"batch": batch, "stage": Stage.TRAINING_READY, "gate": CONTAMINATION, "value": value, "then": then}
        | {"now": [None, most]}
    ]


def _texts(work: Work, batch: str, entry: Entry) -> list[str]:
    """Return the texts of a green batch: of what was kept of it, or of its rows where nothing was kept yet."""
    kept = entry.details.get("revision")
    if kept:
        lines = kept_lines(work.lake, kept["lines"])["line"]
        return ["\n".join(told_fields(orjson.loads(line)).values()) for line in lines]
    here = {"dataset": work.recipe.dataset, "batch": batch}
    examples = proven(work.lake, "training_examples", **here)
    return (
        texts_of(work.lake, **here).filter(pl.col("sample_id").is_in(examples["sample_id"].implode()))["text"].to_list()
    )


def range_of(bounds: list[float | None]) -> str:
    """Return a threshold, ``[least, most]``, in words."""
    low, high = bounds
    if low is None:
        return f"at most {high:g}" if high is not None else "any value"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
