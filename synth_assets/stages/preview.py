"""A look at what the next attempt of a batch would bring: asked, scored and decided on, but committed nowhere.

The answers are journaled like any other, so the run that follows does not pay for them again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import polars as pl

from synth_assets.checks.evidence import read_evidence
from synth_assets.domain.conversations import Step
from synth_assets.domain.curation import decide
from synth_assets.domain.drafting import Drafts
from synth_assets.domain.parsing import readable
from synth_assets.domain.planning import PROMPTS_SCHEMA, Plan, plan_attempt, requests_for
from synth_assets.domain.ports import Embedder, Generator, LabelledTexts, Routing, Stop
from synth_assets.errors import RefusedError
from synth_assets.recipe.loader import template_sha256
from synth_assets.stages.asking import Questions, ask, money_left, planned_templates
from synth_assets.stages.breaking import breaker_of
from synth_assets.stages.judgement import measure
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt
from synth_assets.stages.work import Work


@dataclass(frozen=True)
class Preview:
    """The first requests of an attempt with everything that became of them.

    Attributes:
        attempt: its number.
        planned: how many requests it has altogether.
        rows: one mapping per request looked at, in plan order: ordinal, label, axes, prompt, outcome, reason, fields,
            decision, rejected_because, quality_score, assessments, tags.
        stop: why the model was not asked for all of them.
        paid_now: calls paid for this look.
    """

    attempt: int
    planned: int
    rows: list[dict[str, Any]]
    stop: Stop | None
    paid_now: int


def preview(
    work: Work,
    generator: Generator,
    embedder: Embedder,
    protected: LabelledTexts,
    *,
    count: int,
    progress: Callable[[int, int], None],
) -> Preview:
    """Ask, score and decide on the first requests of the open attempt, or of the one that would be opened.

    Args:
        work: the bench; its claim keeps others from asking the same.
        generator: the model.
        embedder: as for `scored`.
        protected: as for `scored`.
        count: requests to look at; fewer if the attempt has fewer.
        progress: called with (ended, total) now and then.

    Raises:
        RefusedError: no attempt is open and none would be opened.
    """
    is_new = work.row()["open_attempt"] is None
    plan, attempt = _planned(work, generator.routing)
    requests = plan.requests.sort("ordinal").head(count)
    evidence = read_evidence(work.lake, work.recipe.model, work.batch, protected=())
    if is_new:
        templates = {(each.name, each.version): Step(each, template_sha256(each)) for each in work.recipe.templates}
    else:
        templates = planned_templates(work.lake, work.recipe, evidence.templates, requests, plan.prompts)
    money = money_left(work, evidence, attempt)
    breaker = breaker_of(work.lake, work.recipe, work.row(), requests, plan.prompts)
    questions = Questions(requests, plan.prompts, templates, breaker, quarantined={})
    asked = ask(work, questions, generator, money_usd=money, progress=progress)
    drafts = asked.drafts
    evidence = replace(
        evidence,
        requests=requests.with_columns(pl.lit("").alias("object_sha256")),
        generations=drafts.generations,
        samples=drafts.samples,
        assessments=evidence.assessments.clear(),
        texts=_texts(drafts.texts),
    )
    measured = measure(work, evidence, embedder, protected, may_store=False)
    decisions = decide(
        drafts.samples,
        measured.assessments,
        model=work.recipe.model,
        superseded_before=0,
        human=evidence.decisions.clear(),
        at=work.now(),
        owed=None,
    )
    found = {"assessments": measured.assessments, "tags": measured.tags, "decisions": decisions}
    return Preview(attempt, plan.requests.height, _rows(requests, drafts, found), asked.stop, asked.paid_now)


def _planned(work: Work, routing: Routing) -> tuple[Plan, int]:
    """Return the open attempt's plan as it is stored, or the one the next attempt would have."""
    attempt = work.row()["open_attempt"]
    if attempt is not None:
        requests = work.lake.read("requests", **work.here, attempt=attempt)
        prompts = work.lake.payload("prompts", PROMPTS_SCHEMA, **work.here)
        return Plan(requests, prompts, work.lake.read("prompt_allocations", **work.here, attempt=attempt)), attempt
    prospect = next_attempt(work.lake, work.recipe, work.batch)
    if prospect.because is not None:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch} would open no attempt: {prospect.because}",
            where=f"{work.recipe.dataset}, partition {work.batch}",
            fix="name another batch with --batch",
        )
    planned = plan_attempt(
        prospect.recipe,
        routing,
        batch=work.batch,
        attempt=prospect.number,
        wanted=requests_for(prospect.recipe.model, prospect.missing),
        past=past_of(work.lake, prospect.recipe, routing, work.batch),
    )
    return planned, prospect.number


def _texts(texts: pl.DataFrame) -> pl.DataFrame:
    shown = pl.Series("text", [readable(*row) for row in texts.select("field", "text").iter_rows()], dtype=pl.String)
    return texts.with_columns(shown).group_by("sample_id", maintain_order=True).agg(pl.col("text").str.join("\n"))


def _rows(requests: pl.DataFrame, drafts: Drafts, found: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Put everything about a request side by side."""
    fields: dict[str, dict[str, str]] = {}
    for sample, name, text in drafts.texts.iter_rows():
        fields.setdefault(sample, {})[name] = readable(name, text)
    sample_of = dict(drafts.samples.select("request_id", "sample_id").iter_rows())
    ended = {row["request_id"]: row for row in drafts.generations.iter_rows(named=True)}
    decided = {row["sample_id"]: row for row in found["decisions"].iter_rows(named=True)}
    values: dict[str, dict[str, dict[str, Any]]] = {"assessments": {}, "tags": {}}
    for kind, by_sample in values.items():
        for sample, name, value in found[kind].select("sample_id", "name", "value").iter_rows():
            by_sample.setdefault(sample, {})[name] = value
    rows = []
    for request in requests.iter_rows(named=True):
        sample = sample_of.get(request["request_id"], "")
        generation, decision = ended[request["request_id"]], decided.get(sample, {})
        rows.append(
            {key: request[key] for key in ("ordinal", "label")}
            | {"axes": orjson.loads(request["axes"]), "prompt": f"{request['prompt_name']}@{request['prompt_version']}"}
            | {key: generation[key] for key in ("outcome", "reason", "cost_usd")}
            | {"fields": fields.get(sample, {}), "decision": decision.get("decision")}
            | {"rejected_because": decision.get("reason"), "quality_score": decision.get("quality_score")}
            | {kind: by_sample.get(sample, {}) for kind, by_sample in values.items()}
        )
    return rows
