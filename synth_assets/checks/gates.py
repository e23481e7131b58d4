"""The gates of a batch: each is a sentence that must be true, asked of the evidence."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandera.polars as pa
import polars as pl

from synth_assets.canonical import digest
from synth_assets.checks.evidence import Evidence, models_of
from synth_assets.checks.verdict import Verdict, asked, judged
from synth_assets.domain.comparison import accepted_values
from synth_assets.domain.drafting import COUNTS_USD, MAY_HAVE_COST
from synth_assets.domain.drift import distances
from synth_assets.domain.duplicates import duplicate_groups
from synth_assets.domain.ingestion import unknown_provenance
from synth_assets.domain.scoring.copies import contamination
from synth_assets.domain.scoring.pii import find_pii
from synth_assets.domain.standing import accepted_by_label
from synth_assets.recipe.model import RecipeModel, Rule
from synth_assets.recipe.regions import regions_of
from synth_assets.tables import TABLES
from synth_assets.vocabulary import OURS, Assessment, Decision, Outcome, RejectReason, Stage

SHINGLE_WIDTH = 3
"""Words per shingle in duplicate gates, as in the scorers."""

FOREIGN = 0.5
"""Share of shingles a training text may have in common with a protected row where the recipe does not say."""

TEMPLATE = ("prompt_name", "prompt_version", "template_sha256")


@dataclass(frozen=True)
class Gate:
    """A named sentence about a batch.

    Attributes:
        reads_other_batches: its verdict depends on what other batches held at that time, so it cannot be derived again.
        is_rate: it compares what came out with what was planned, so ingested samples are only measured by it.
        rule: the threshold a recipe has for it; none where it has none.
        is_cured_by_more: whether another attempt may cure it, with the prompts and rules as they are.
    """

    name: str
    sentence: str
    ask: Callable[[Evidence], Verdict]
    reads_other_batches: bool = False
    is_rate: bool = False
    rule: Callable[[RecipeModel], Rule | None] | None = None
    is_cured_by_more: bool = False


def within(rule: Rule) -> list[pa.Check]:
    """Return a recipe's threshold as Pandera checks."""
    checks = [] if rule.min is None else [pa.Check.ge(rule.min)]
    return checks if rule.max is None else [*checks, pa.Check.le(rule.max)]


def _one_number(gate: str, name: str, value: float, rule: Rule, facts: dict[str, object]) -> Verdict:
    """Judge one measured number against a recipe's threshold."""
    frame = pl.DataFrame({"measure": [name], name: [float(value)]})
    bounds = {"min": rule.min, "max": rule.max, "because": rule.because}
    schema = pa.DataFrameSchema({name: pa.Column(pl.Float64, within(rule))})
    verdict = judged(
        gate, frame, schema, id_column="measure", facts={name: round(float(value), 4), **facts, "threshold": bounds}
    )
    return _measured(verdict, float(value), rule)


def _measured(verdict: Verdict, value: float | None, rule: Rule) -> Verdict:
    """Add the number a verdict rests on, and the threshold it was held against."""
    return replace(verdict, value=value, least=rule.min, most=rule.max)


def _contract(gate: str, tables: dict[str, pl.DataFrame]) -> Verdict:
    """Every frame satisfies its table's contract."""
    facts: dict[str, object] = {}
    for name, frame in tables.items():
        verdict = judged(gate, frame, TABLES[name].schema, id_column=TABLES[name].key[0], facts={})
        facts[name] = frame.height
        if not verdict.passed:
            return Verdict(gate, passed=False, facts={**verdict.facts, "table": name})
    return Verdict(gate, passed=True, facts=facts)


def generated_contract(evidence: Evidence) -> Verdict:
    """Requests, generations and samples satisfy their contracts."""
    tables = {"requests": evidence.requests, "generations": evidence.generations, "samples": evidence.samples}
    return _contract("contract", tables)


def provenance_complete(evidence: Evidence) -> Verdict:
    """Every sample leads to a request and an answer with model and time, and one made here to a registered template."""
    is_ingested = pl.col("generator") != OURS
    needed = ["call_id", "prompt_sha256", "model", "generation_params"]
    known = evidence.templates.select(
        "prompt_name", "prompt_version", pl.col("template_sha256").alias("registered_sha256")
    )
    chain = (
        evidence.samples.select("sample_id", "request_id")
        .join(evidence.requests.select("request_id", *TEMPLATE, "generator", *needed), on="request_id", how="left")
        .join(known, on=["prompt_name", "prompt_version"], how="left")
        .join(evidence.generations.select("request_id", "generated_at", "finish_reason"), on="request_id", how="left")
        .with_columns(
            is_registered=(pl.col("template_sha256") == pl.col("registered_sha256")).fill_null(value=False)
            | is_ingested,
            is_dated=pl.col("generated_at").is_not_null() | is_ingested,
        )
    )
    columns = {name: pa.Column(nullable=False) for name in needed}
    holds = {name: pa.Column(pl.Boolean, pa.Check.eq(True)) for name in ("is_registered", "is_dated")}
    return judged(
        "provenance_complete", chain, pa.DataFrameSchema({**columns, **holds}), id_column="sample_id", facts={}
    )


def provenance_is_known(evidence: Evidence) -> Verdict:
    """Of ingested rows no larger share is of unknown prompt, model, parameters or time than the recipe admits."""
    ingested = evidence.requests.filter(pl.col("generator") != OURS)
    unknown = unknown_provenance(ingested, evidence.generations)
    fields = unknown.drop("request_id")
    share = fields.select(pl.any_horizontal(pl.all())).to_series().mean() if ingested.height else 0.0
    facts = {"ingested": ingested.height, **{f"unknown_{name}": int(fields[name].sum()) for name in fields.columns}}
    rule = evidence.model.gates.unknown_provenance
    if rule is None:
        return Verdict("provenance_known", passed=True, facts={**facts, "unknown_share": round(float(share), 4)})
    return _one_number("provenance_known", "unknown_share", float(share), rule, facts)


def every_request_has_one_outcome(evidence: Evidence) -> Verdict:
    """Planned = answered + quarantined + not sent, one by one."""
    endings = evidence.generations.group_by("request_id").len("endings")
    both = evidence.requests.select("request_id").join(endings, on="request_id", how="full", coalesce=True)
    planned = evidence.requests.select("request_id", pl.lit(1, pl.Int64).alias("planned"))
    frame = both.join(planned, on="request_id", how="left").with_columns(
        pl.col("endings").fill_null(0).cast(pl.Int64), pl.col("planned").fill_null(0)
    )
    schema = pa.DataFrameSchema(
        {"endings": pa.Column(pl.Int64, pa.Check.eq(1)), "planned": pa.Column(pl.Int64, pa.Check.eq(1))}
    )
    outcomes = {str(each): evidence.generations.filter(pl.col("outcome") == each).height for each in Outcome}
    return judged(
        "first_sum",
        frame,
        schema,
        id_column="request_id",
        facts={"planned": evidence.requests.height, **outcomes},
        at_least=1,
    )


def answered_share(evidence: Evidence) -> Verdict:
    """Enough requests were answered, of the latest attempt or of all that count, and none was left unsent.

    A small top-up says little by itself, and what a mended prompt left behind says nothing of what it does now.
    """
    attempt = evidence.generations.filter(pl.col("attempt") == evidence.latest_attempt)
    answered = attempt.filter(pl.col("outcome") == Outcome.ANSWERED).height
    whole = evidence.generations.filter(pl.col("attempt") >= evidence.batch["current_from"])
    in_all = whole.filter(pl.col("outcome") == Outcome.ANSWERED).height / max(1, whole.height)
    unsent = attempt.filter(pl.col("outcome") == Outcome.NOT_SENT).height
    reasons = attempt.drop_nulls("reason").group_by("reason").len().sort("reason")
    facts = {"attempt": evidence.latest_attempt, "planned": attempt.height, "answered": answered, "not_sent": unsent}
    facts["reasons"] = dict(zip(reasons["reason"], reasons["len"], strict=True))
    facts |= {"share_of_attempt": round(answered / max(1, attempt.height), 4), "share_of_batch": round(in_all, 4)}
    verdict = _one_number(
        "answered_share",
        "answered_share",
        max(answered / max(1, attempt.height), in_all),
        evidence.model.gates.answered_share,
        facts,
    )
    return replace(verdict, passed=verdict.passed and unsent == 0)


def within_budget(evidence: Evidence) -> Verdict:
    """The batch cost no more than its budget, unknown costs at their most; without a budget this only reports."""
    limit = evidence.model.batch.budget_usd
    rows = evidence.generations.filter(MAY_HAVE_COST)
    spent, most = math.fsum(rows["cost_usd"].drop_nulls()), math.fsum(rows.select(COUNTS_USD).to_series())
    facts = {"spent_usd": spent, "spent_at_most_usd": most, "unpriced_calls": rows["cost_usd"].null_count()}
    facts["budget_usd"] = limit
    frame = pl.DataFrame({"measure": ["spent_usd"], "spent_usd": [most]})
    checks = [] if limit is None else [pa.Check.le(limit)]
    return judged(
        "budget",
        frame,
        pa.DataFrameSchema({"spent_usd": pa.Column(pl.Float64, checks)}),
        id_column="measure",
        facts=facts,
    )


def scored_contract(evidence: Evidence) -> Verdict:
    """Assessments and tags satisfy their contracts."""
    return _contract("contract", {"assessments": evidence.assessments, "tags": evidence.tags})


def every_sample_is_assessed(evidence: Evidence) -> Verdict:
    """Every sample has each assessment exactly once, and there is no assessment of anything else."""
    counts = evidence.assessments.group_by("sample_id").agg(
        pl.col("name").n_unique().cast(pl.Int64).alias("names"), pl.len().cast(pl.Int64).alias("rows")
    )
    frame = evidence.samples.select("sample_id", "attempt").join(counts, on="sample_id", how="full", coalesce=True)
    frame = frame.with_columns(pl.col("names", "rows").fill_null(0))
    exactly = pa.Check.eq(len(Assessment))
    schema = pa.DataFrameSchema(
        {
            "names": pa.Column(pl.Int64, exactly),
            "rows": pa.Column(pl.Int64, exactly),
            "attempt": pa.Column(pl.Int64, nullable=False),
        }
    )
    facts = {"samples": evidence.samples.height, "assessments": evidence.assessments.height, "scorers": len(Assessment)}
    return judged("every_sample_is_assessed", frame, schema, id_column="sample_id", facts=facts)


def curated_contract(evidence: Evidence) -> Verdict:
    """Decisions satisfy their contract."""
    return _contract("contract", {"decisions": evidence.decisions})


def every_sample_has_one_decision(evidence: Evidence) -> Verdict:
    """Samples = accepted + rejected + pending review, one by one, and every rejection has a reason."""
    counts = evidence.decisions.group_by("sample_id").agg(
        pl.len().cast(pl.Int64).alias("decisions"),
        ((pl.col("decision") == Decision.REJECTED) == pl.col("reason").is_not_null())
        .all()
        .alias("has_reason_if_rejected"),
    )
    frame = evidence.samples.select("sample_id", "attempt").join(counts, on="sample_id", how="full", coalesce=True)
    frame = frame.with_columns(
        pl.col("decisions").fill_null(0), pl.col("has_reason_if_rejected").fill_null(value=False)
    )
    schema = pa.DataFrameSchema(
        {
            "decisions": pa.Column(pl.Int64, pa.Check.eq(1)),
            "has_reason_if_rejected": pa.Column(pl.Boolean, pa.Check.eq(True)),
            "attempt": pa.Column(pl.Int64, nullable=False),
        }
    )
    sums = {str(each): evidence.decisions.filter(pl.col("decision") == each).height for each in Decision}
    return judged(
        "second_sum", frame, schema, id_column="sample_id", facts={"samples": evidence.samples.height, **sums}
    )


def acceptance_share(evidence: Evidence) -> Verdict:
    """Enough samples passed every rule, of the latest attempt or of all that count; surplus ones passed too."""
    ids = evidence.samples.filter(pl.col("attempt") == evidence.latest_attempt).select("sample_id")
    whole = evidence.samples.filter(pl.col("attempt") >= evidence.batch["current_from"]).select("sample_id")
    judgements = evidence.decisions.join(ids, on="sample_id", how="semi")
    is_good = (pl.col("decision") == Decision.ACCEPTED) | (pl.col("reason") == RejectReason.SURPLUS)
    good = judgements.filter(is_good).height
    of_batch = evidence.decisions.join(whole, on="sample_id", how="semi").filter(is_good).height / max(1, whole.height)
    share = good / max(1, ids.height)
    reasons = judgements.drop_nulls("reason").group_by("reason").len().sort("reason")
    facts = {"samples": ids.height, "good": good, "reasons": dict(zip(reasons["reason"], reasons["len"], strict=True))}
    facts |= {"share_of_attempt": round(share, 4), "share_of_batch": round(of_batch, 4)}
    rule = evidence.model.gates.acceptance_share
    return _one_number("acceptance_share", "acceptance_share", max(share, of_batch), rule, facts)


def promise_is_kept(evidence: Evidence) -> Verdict:
    """As many samples were accepted as the batch owes, or a person accepted it short."""
    accepted = evidence.decisions.filter(pl.col("decision") == Decision.ACCEPTED).height
    promised, short_by = int(evidence.batch["promised"]), evidence.batch["short_accepted_by"]
    facts = {
        "accepted": accepted,
        "promised": promised,
        "accepted_short": short_by is not None,
        "attempts": evidence.latest_attempt,
    }
    least = 1 if short_by is not None else promised
    frame = pl.DataFrame({"measure": ["accepted"], "accepted": [accepted]})
    schema = pa.DataFrameSchema({"accepted": pa.Column(pl.Int64, pa.Check.ge(least))})
    return judged("minimum_count", frame, schema, id_column="measure", facts=facts)


def labels_are_balanced(evidence: Evidence) -> Verdict:
    """No label's share among the accepted strays from the share the recipe wants; without labels there is none."""
    rule = evidence.model.gates.label_deviation
    if rule is None:
        return Verdict("label_balance", passed=True, facts={"labels": 0})
    counts = accepted_by_label(evidence.samples, evidence.decisions)
    total = max(1, sum(counts.values()))
    promised = evidence.owed  # whole samples: eight of six labels cannot be spread evenly
    wanted = {name: count / sum(promised.values()) for name, count in promised.items()}
    rows = [{"label": name, "deviation": abs(counts.get(name, 0) / total - share)} for name, share in wanted.items()]
    schema = pa.DataFrameSchema({"deviation": pa.Column(pl.Float64, within(rule))})
    facts = {"accepted": {name: counts.get(name, 0) for name in wanted}, "threshold": rule.model_dump()}
    verdict = judged("label_balance", pl.DataFrame(rows), schema, id_column="label", facts=facts, at_least=len(wanted))
    return _measured(verdict, max(row["deviation"] for row in rows), rule)


def distributions_are_stable(evidence: Evidence) -> Verdict:
    """Lengths, quality and labels of the accepted lie near those of other green batches, of the same models if any."""
    before = evidence.earlier.filter(pl.col("is_green"))  # what a red batch holds is no yardstick
    models = models_of(evidence.requests, evidence.samples)
    alike = before.filter(pl.col("models").list.join("\n") == "\n".join(models))
    before = alike if alike.height else before
    between = distances(accepted_values(evidence.samples, evidence.assessments, evidence.decisions), before)
    rule = evidence.model.gates.drift
    frame = pl.DataFrame({"measure": list(between), "distance": list(between.values())})
    schema = pa.DataFrameSchema({"distance": pa.Column(pl.Float64, within(rule))})
    facts = {"compared_with": before.height, "models": models, "is_same_models": alike.height == before.height}
    facts |= {name: round(value, 4) for name, value in between.items()}
    verdict = judged("drift", frame, schema, id_column="measure", facts={**facts, "threshold": rule.model_dump()})
    return _measured(verdict, max(between.values(), default=None), rule)


def _accepted_texts(evidence: Evidence) -> pl.DataFrame:
    """Accepted examples with their text: sample_id, text, split, in the order of the examples."""
    return evidence.examples.select("sample_id", "split").join(
        evidence.texts, on="sample_id", how="left", maintain_order="left"
    )


def no_pii(evidence: Evidence) -> Verdict:
    """No accepted text holds personal data; looked for anew, whatever the assessments say."""
    accepted = _accepted_texts(evidence).join(
        evidence.samples.select("sample_id", "language"), on="sample_id", how="left", maintain_order="left"
    )
    named = evidence.model.pii_regions
    findings = [
        len(find_pii(text or "", regions=regions_of(language or "", named)))
        for text, language in accepted.select("text", "language").iter_rows()
    ]
    frame = accepted.select("sample_id").with_columns(pl.Series("findings", findings, dtype=pl.Int64))
    schema = pa.DataFrameSchema({"findings": pa.Column(pl.Int64, pa.Check.eq(0))})
    return judged("no_pii", frame, schema, id_column="sample_id", facts={})


def no_contamination(evidence: Evidence) -> Verdict:
    """No accepted text resembles a row of the test or validation sets; sets that were there before may not be gone."""
    limit = contamination_at_most(evidence.model)
    accepted = _accepted_texts(evidence)
    found = contamination(accepted["text"].fill_null("").to_list(), list(evidence.protected))
    frame = accepted.select("sample_id").with_columns(found["value"].alias("resemblance"))
    schema = pa.DataFrameSchema({"resemblance": pa.Column(pl.Float64, pa.Check.le(limit))})
    facts = {"compared_with": len(evidence.protected), "compared_before": evidence.protected_before}
    facts |= {"protected_sha256": protected_sha256(evidence.protected), "resemblance_at_most": limit}
    verdict = judged("no_contamination", frame, schema, id_column="sample_id", facts=facts)
    is_gone = evidence.protected_before > 0 and not evidence.protected
    return replace(verdict, passed=verdict.passed and not is_gone, value=frame["resemblance"].max(), most=limit)


def no_duplicates(evidence: Evidence) -> Verdict:
    """No two accepted samples of the batch resemble each other."""
    limit = _upper(evidence, Assessment.NEAR_DUPLICATE)
    accepted = _accepted_texts(evidence)
    groups = duplicate_groups(accepted["text"].fill_null("").to_list(), width=SHINGLE_WIDTH, threshold=_above(limit))
    counted = accepted.select("sample_id").with_columns(pl.Series("group", groups, dtype=pl.Int64))
    frame = counted.with_columns(pl.len().over("group").cast(pl.Int64).alias("group_size"))
    schema = pa.DataFrameSchema({"group_size": pa.Column(pl.Int64, pa.Check.eq(1))})
    return judged("no_duplicates", frame, schema, id_column="sample_id", facts={"resemblance_at_most": limit})


def splits_are_apart(evidence: Evidence) -> Verdict:
    """No two near-duplicates lie in different splits."""
    limit = _upper(evidence, Assessment.NEAR_DUPLICATE)
    accepted = _accepted_texts(evidence)
    groups = duplicate_groups(accepted["text"].fill_null("").to_list(), width=SHINGLE_WIDTH, threshold=_above(limit))
    grouped = (
        accepted.with_columns(pl.Series("group", groups, dtype=pl.Int64))
        .group_by("group")
        .agg(pl.col("split").n_unique().cast(pl.Int64).alias("splits"), pl.col("sample_id").min())
    )
    schema = pa.DataFrameSchema({"splits": pa.Column(pl.Int64, pa.Check.eq(1))})
    return judged(
        "splits_are_apart", grouped.sort("sample_id"), schema, id_column="sample_id", facts={"groups": grouped.height}
    )


def protected_sha256(protected: Sequence[str]) -> str:
    """Return one hash of the texts that samples are compared with."""
    return digest(list(protected))


def contamination_at_most(model: RecipeModel) -> float:
    """The resemblance to a protected row up to which a text may be trained on: the recipe's rule, or `FOREIGN`."""
    rule = model.rules.get(Assessment.CONTAMINATION)
    return FOREIGN if rule is None or rule.max is None else rule.max


def _upper(evidence: Evidence, name: Assessment) -> float:
    """The resemblance from which two texts count as the same; 1.0 if the recipe has no such rule."""
    rule = evidence.model.rules.get(name)
    return 1.0 if rule is None or rule.max is None else rule.max


def _above(limit: float) -> float:
    """The smallest resemblance a rule with this upper bound rejects; the bound itself is still admitted."""
    return min(math.nextafter(limit, math.inf), 1.0)


def _gate(name: str, ask: Callable[[Evidence], Verdict], **kind: Any) -> Gate:
    return Gate(name, (ask.__doc__ or "").strip().splitlines()[0], ask, **kind)


GATES: dict[Stage, tuple[Gate, ...]] = {
    Stage.GENERATED: (
        _gate("contract", generated_contract),
        _gate("provenance_complete", provenance_complete),
        _gate("provenance_known", provenance_is_known, rule=lambda model: model.gates.unknown_provenance),
        _gate("first_sum", every_request_has_one_outcome),
        _gate(
            "answered_share",
            answered_share,
            is_rate=True,
            is_cured_by_more=True,
            rule=lambda model: model.gates.answered_share,
        ),
        _gate("budget", within_budget),
    ),
    Stage.SCORED: (_gate("contract", scored_contract), _gate("every_sample_is_assessed", every_sample_is_assessed)),
    Stage.CURATED: (
        _gate("contract", curated_contract),
        _gate("second_sum", every_sample_has_one_decision),
        _gate("acceptance_share", acceptance_share, is_rate=True, rule=lambda model: model.gates.acceptance_share),
        _gate("minimum_count", promise_is_kept, is_cured_by_more=True),
        _gate(
            "label_balance",
            labels_are_balanced,
            is_rate=True,
            is_cured_by_more=True,
            rule=lambda model: model.gates.label_deviation,
        ),
        _gate("drift", distributions_are_stable, reads_other_batches=True, rule=lambda model: model.gates.drift),
    ),
    Stage.TRAINING_READY: (
        _gate("no_pii", no_pii),
        _gate("no_contamination", no_contamination, rule=lambda model: model.rules.get(Assessment.CONTAMINATION)),
        _gate("no_duplicates", no_duplicates),
        _gate("splits_are_apart", splits_are_apart),
    ),
}
"""Which sentences must be true of a stage before the next one may read it."""


def judge(stage: Stage, evidence: Evidence) -> list[Verdict]:
    """Ask every gate of a stage; a gate that raises has failed."""
    return [asked(gate.name, partial(_asked, gate), evidence) for gate in GATES[stage]]


def _asked(gate: Gate, evidence: Evidence) -> Verdict:
    verdict = gate.ask(evidence)
    if not (gate.is_rate and evidence.is_ingested):
        return verdict
    return replace(verdict, passed=True, facts={**verdict.facts, "not_judged": "nothing was planned for these samples"})


def would_fail(verdicts: pl.DataFrame, model: RecipeModel, *, is_ingested: bool) -> list[dict[str, Any]]:
    """Return stored numbers that a recipe's thresholds would not admit, though those of their time did.

    Args:
        verdicts: rows of `verdicts`.
        model: the recipe that judges now.
        is_ingested: whether the samples were made elsewhere, so that no rate is judged.

    Returns:
        One mapping each: stage, gate, value, then (the threshold of the time) and now, both as ``[least, most]``.
    """
    found = []
    for row in verdicts.drop_nulls("value").sort("stage", "gate").iter_rows(named=True):
        gate = next((each for each in GATES.get(Stage(row["stage"]), ()) if each.name == row["gate"]), None)
        is_judged = gate is not None and gate.rule is not None and not (gate.is_rate and is_ingested)
        rule = gate.rule(model) if is_judged else None
        if rule is None or not row["passed"]:
            continue
        if not rule.admits(row["value"]):
            bounds = {"then": [row["least"], row["most"]], "now": [rule.min, rule.max]}
            found.append({"stage": row["stage"], "gate": row["gate"], "value": row["value"], **bounds})
    return found


def all_passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether nothing blocks."""
    return all(verdict.passed or not verdict.is_blocking for verdict in verdicts)
