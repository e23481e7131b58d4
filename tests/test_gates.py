"""Every gate says yes to good evidence and no to evidence with one fault, and never repeats a text."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
import pytest

from synth_assets.canonical import sha256, stored_json
from synth_assets.checks.evidence import EARLIER_SCHEMA, Evidence
from synth_assets.checks.gates import GATES, all_passed, judge
from synth_assets.checks.release_gates import (
    MODEL_RUN_GATES,
    VERSION_GATES,
    Consumption,
    Release,
    judge_consumption,
    judge_release,
)
from synth_assets.checks.verdict import MAX_SHOWN, Verdict
from synth_assets.domain.ids import content_sha256
from synth_assets.domain.planning import owed
from synth_assets.domain.versioning import digest_of
from synth_assets.recipe.model import RecipeModel, Rule
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Assessment, Stage
from tests.fakes.recipes import RECIPE

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
CANARY = "quokka"
TEXTS = (
    f"The {CANARY} on the poster promises more than the tired script can ever keep.",
    f"A warm and funny evening in which every {CANARY} gets the ending it deserves.",
    f"Nobody leaves this courtroom unmoved, least of all the {CANARY} in the second row.",
    f"Two hours of rain, one good joke and a {CANARY} who cannot act.",
)
SAMPLES = [f"s{number}" for number in range(len(TEXTS))]
HERE = {"dataset": "tiny", "batch": "2026-11-01"}
MODEL = RecipeModel.model_validate(RECIPE)


def labels(number: int) -> str:
    return ("positive", "negative")[number % 2]


def rows(table: str, count: int, row: Callable[[int], Mapping[str, Any]]) -> pl.DataFrame:
    """Return ``count`` rows by contract; what ``row`` leaves out is null."""
    columns = dict.fromkeys(TABLES[table].dtypes)
    known = {"dataset": "tiny", "batch": "2026-11-01", "attempt": 1}
    return TABLES[table].frame(
        [{**columns, **{k: v for k, v in known.items() if k in columns}, **row(number)} for number in range(count)]
    )


def request(number: int) -> dict[str, Any]:
    row = {
        "ordinal": number,
        "request_id": f"r{number}",
        "call_id": f"c{number}",
        "seed": number,
        "axes": "{}",
        "ancestry_depth": 0,
    }
    row |= {"prompt_name": "lines", "prompt_version": "1", "template_sha256": "t", "prompt_sha256": "p"}
    return row | {
        "label": labels(number),
        "generator": "synth-assets",
        "provider": "fake",
        "model": "fake",
        "generation_params": "{}",
        "object_sha256": "o",
    }


def generation(number: int) -> dict[str, Any]:
    row = {"request_id": f"r{number}", "call_id": f"c{number}", "generation_id": f"g{number}", "outcome": "answered"}
    row |= {
        "model": "fake",
        "finish_reason": "stop",
        "tries": 1,
        "calls": 1,
        "lost_calls": 0,
        "generated_at": NOON,
        "object_sha256": "o",
    }
    return row | {"input_tokens": 10, "output_tokens": 20, "cost_usd": 0.25, "latency_s": 0.1, "mean_logprob": -0.5}


def sample(number: int) -> dict[str, Any]:
    row = {"ordinal": number, "position": 0, "sample_id": f"s{number}", "request_id": f"r{number}"}
    row |= {"generation_id": f"g{number}", "content_sha256": f"{number}" * 64, "task_type": "classification"}
    return row | {
        "language": "en",
        "label": labels(number),
        "characters": 60,
        "repairs": "",
        "object_sha256": "o",
        "ancestry_depth": 0,
    }


def assessment(number: int) -> dict[str, Any]:
    name = list(Assessment)[number % len(Assessment)]
    row = {"sample_id": f"s{number // len(Assessment)}", "name": str(name), "value": 10.0, "neighbour_id": None}
    return row | {"source_type": "CODE", "source_id": f"{name}@1:0", "assessed_at": NOON}


def decision(number: int) -> dict[str, Any]:
    row = {"sample_id": f"s{number}", "decision": "accepted", "reason": None, "quality_score": 0.5}
    return row | {"source_type": "CODE", "source_id": "rules:0", "decided_at": NOON}


def example(number: int) -> dict[str, Any]:
    row = {"sample_id": f"s{number}", "content_sha256": f"{number}" * 64, "split": "train"}
    return row | {"label": labels(number), "quality_score": 0.5}


def texts(*said: str) -> pl.DataFrame:
    return pl.DataFrame({"sample_id": [f"s{number}" for number in range(len(said))], "text": list(said)})


def batch(**changes: Any) -> dict[str, Any]:
    row = HERE | {"promised": 4, "max_attempts": 3, "attempts": 1, "open_attempt": None, "current_from": 0}
    return row | {"fence": 1, "short_accepted_by": None, "opened_at": NOON, "broken_attempts": 0} | changes


def recipe(**changes: Any) -> RecipeModel:
    return RecipeModel.model_validate(RECIPE | changes)


def good(count: int = len(TEXTS)) -> Evidence:
    template = {"prompt_name": "lines", "prompt_version": "1", "template_sha256": "t", "mode": "completion"}
    template |= {"object_sha256": "o", "registered_at": NOON}
    before = {"sample_id": ["e0", "e1"], "label": ["positive", "negative"], "words": [10.0, 10.0]}
    return Evidence(
        model=recipe(batch=RECIPE["batch"] | {"budget_usd": 0.25 * count}),
        batch=batch(promised=count),
        owed=owed(MODEL),
        templates=rows("prompt_templates", 1, lambda number: template),
        requests=rows("requests", count, request),
        generations=rows("generations", count, generation),
        samples=rows("samples", count, sample),
        assessments=rows("assessments", count * len(Assessment), assessment),
        decisions=rows("decisions", count, decision),
        examples=rows("training_examples", count, example),
        texts=texts(*TEXTS) if count == len(TEXTS) else texts(*[f"{word} {CANARY}" for word in map(str, range(count))]),
        earlier=pl.DataFrame(
            before | {"quality_score": [0.5, 0.5], "is_green": [True, True], "models": [["fake"], ["fake"]]},
            schema=EARLIER_SCHEMA,
        ),
        protected=(f"Not one {CANARY} in this test set says anything of the kind.",),
    )


def empty() -> Evidence:
    return Evidence(model=MODEL, batch=batch(promised=1), owed=owed(MODEL))


def told(verdicts: list[Verdict], gate: str) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.gate == gate)


def first(frame: pl.DataFrame, rows: int = 1, **values: Any) -> pl.DataFrame:
    """Return the frame with other values in its first rows."""
    is_first = pl.int_range(pl.len()) < rows
    return frame.with_columns(
        pl.when(is_first).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.head(1)])


Fault = Callable[[Evidence], Evidence]


def fault(table: str, bend: Callable[[pl.DataFrame], pl.DataFrame]) -> Fault:
    return lambda evidence: replace(evidence, **{table: bend(getattr(evidence, table))})


NONE = Rule(max=0.0, because="Every row tells where it is from.")
REJECTED = {"decision": "rejected", "reason": "length"}
NOT_SENT = {"outcome": "not_sent", "reason": "stopped", "cost_usd": None}
PHONED = f"Call the {CANARY} at +1 202 555 0143 or write to jane.doe@cinema-club.net."
ALMOST = TEXTS[0].replace("ever keep", "keep")

FAULTS: dict[Stage, dict[str, dict[str, Fault]]] = {
    Stage.GENERATED: {
        "contract": {
            "a request planned twice": fault("requests", twice),
            "an outcome of no list": fault("generations", lambda frame: first(frame, outcome="lost")),
            "tokens below zero": fault("generations", lambda frame: first(frame, input_tokens=-1)),
            "a sample without content": fault("samples", lambda frame: first(frame, content_sha256=None)),
        },
        "provenance_complete": {
            "a template nobody registered": fault("templates", lambda frame: frame.head(0)),
            "a template with another text": fault("templates", lambda frame: first(frame, template_sha256="x")),
            "a sample nobody asked for": fault("samples", lambda frame: first(frame, request_id="r99")),
            "an answer without a time": fault("generations", lambda frame: first(frame, generated_at=None)),
        },
        "first_sum": {
            "a request without an end": fault("generations", lambda frame: frame.tail(-1)),
            "a request that ended twice": fault("generations", twice),
            "an end nobody planned": fault("requests", lambda frame: frame.tail(-1)),
            "nothing planned": lambda evidence: empty(),
        },
        "answered_share": {
            "three of four failed": fault(
                "generations", lambda frame: first(frame, 3, outcome="quarantined", reason="server_error")
            ),
            "one was not sent": fault("generations", lambda frame: first(frame, **NOT_SENT)),
            "an attempt without requests": fault("generations", lambda frame: frame.head(0)),
        },
        "provenance_known": {
            "a tool that does not name its model": lambda evidence: replace(
                evidence,
                model=MODEL.model_copy(update={"gates": MODEL.gates.model_copy(update={"unknown_provenance": NONE})}),
                requests=first(evidence.requests, generator="scribe", model="unknown"),
            ),
        },
        "budget": {"a cent too much": fault("generations", lambda frame: first(frame, cost_usd=0.26))},
    },
    Stage.SCORED: {
        "contract": {"a judge of no list": fault("assessments", lambda frame: first(frame, source_type="ORACLE"))},
        "every_sample_is_assessed": {
            "one assessment too few": fault("assessments", lambda frame: frame.tail(-1)),
            "one assessment twice": fault("assessments", twice),
            "one instead of another": fault("assessments", lambda frame: first(frame, name="refusal")),
            "an assessment of a stranger": fault("samples", lambda frame: frame.tail(-1)),
            "a sample nobody looked at": fault("assessments", lambda frame: frame.filter(pl.col("sample_id") != "s0")),
        },
    },
    Stage.CURATED: {
        "contract": {"a score above one": fault("decisions", lambda frame: first(frame, quality_score=1.5))},
        "second_sum": {
            "a sample without decision": fault("decisions", lambda frame: frame.tail(-1)),
            "a sample with two": fault("decisions", twice),
            "a rejection without reason": fault("decisions", lambda frame: first(frame, decision="rejected")),
            "an acceptance with one": fault("decisions", lambda frame: first(frame, reason="length")),
            "a decision on a stranger": fault("samples", lambda frame: frame.tail(-1)),
        },
        "acceptance_share": {
            "one of four was good": fault("decisions", lambda frame: first(frame, 3, **REJECTED)),
            "all good ones were superseded": lambda evidence: replace(
                evidence, batch=batch(attempts=2, current_from=2)
            ),
        },
        "minimum_count": {
            "one too few": fault("decisions", lambda frame: first(frame, **REJECTED)),
            "one waits for a person": fault("decisions", lambda frame: first(frame, decision="pending_review")),
            "none, accepted short": lambda evidence: replace(
                evidence,
                batch=batch(short_accepted_by="me"),
                decisions=first(evidence.decisions, len(TEXTS), **REJECTED),
            ),
        },
        "label_balance": {
            "three to one": fault("samples", lambda frame: first(frame, 2, label="positive")),
            "a label is missing": fault("samples", lambda frame: first(frame, 4, label="positive")),
        },
        "drift": {
            "longer than before": fault("earlier", lambda frame: frame.with_columns(pl.lit(3.0).alias("words"))),
            "better than before": fault(
                "earlier", lambda frame: frame.with_columns(pl.lit(0.1).alias("quality_score"))
            ),
            "other labels than before": fault("earlier", lambda frame: frame.with_columns(label=pl.lit("neutral"))),
        },
    },
    Stage.TRAINING_READY: {
        "no_pii": {"a number and an address": lambda evidence: replace(evidence, texts=texts(PHONED, *TEXTS[1:]))},
        "no_contamination": {"a row of the test set": lambda evidence: replace(evidence, protected=(TEXTS[0],))},
        "no_duplicates": {
            "two in other cases": lambda evidence: replace(evidence, texts=texts(TEXTS[1].upper(), *TEXTS[1:]))
        },
        "splits_are_apart": {
            "near copies in train and test": lambda evidence: replace(
                evidence, texts=texts(ALMOST, TEXTS[0], *TEXTS[2:]), examples=first(evidence.examples, split="test")
            )
        },
    },
}
CASES = [
    pytest.param(stage, gate, bend, id=f"{stage}-{gate}-{name}")
    for stage, gates in FAULTS.items()
    for gate, faults in gates.items()
    for name, bend in faults.items()
]


def test_every_gate_of_a_batch_is_asked_here() -> None:
    assert {stage: set(gates) for stage, gates in FAULTS.items()} == {
        stage: {gate.name for gate in gates} for stage, gates in GATES.items()
    }


@pytest.mark.parametrize("stage", list(GATES))
def test_good_evidence_passes_every_gate_of_a_stage(stage: Stage) -> None:
    verdicts = judge(stage, good())

    assert [verdict.gate for verdict in verdicts if not verdict.passed] == []
    assert all_passed(verdicts)
    assert all(verdict.is_blocking for verdict in verdicts)


@pytest.mark.parametrize(("stage", "gate", "bend"), CASES)
def test_one_fault_fails_its_gate(stage: Stage, gate: str, bend: Fault) -> None:
    verdicts = judge(stage, bend(good()))

    verdict = told(verdicts, gate)
    assert not verdict.passed
    assert "the gate itself failed" not in str(verdict.facts.get("problem"))
    assert not all_passed(verdicts)


@pytest.mark.parametrize(("stage", "gate", "bend"), CASES)
def test_facts_hold_counts_and_ids_but_never_a_text(stage: Stage, gate: str, bend: Fault) -> None:
    for evidence in (good(), bend(good())):
        for verdict in judge(stage, evidence):
            said = stored_json(verdict.facts)
            assert not any(text in said for text in (CANARY, "Call the", "202 555", "jane.doe", "test set says"))


def test_failing_rows_are_counted_whole_and_named_up_to_a_limit() -> None:
    count = MAX_SHOWN + 5
    evidence = replace(good(count), decisions=good(count).decisions.head(0))

    facts = told(judge(Stage.CURATED, evidence), "second_sum").facts

    assert (facts["checked"], facts["failed"], facts["accepted"]) == (count, count, 0)
    assert facts["failing"] == sorted(facts["failing"])
    assert len(facts["failing"]) == MAX_SHOWN
    assert set(facts["failing"]) <= {f"s{number}" for number in range(count)}


@pytest.mark.parametrize("stage", list(GATES))
def test_a_gate_that_raises_has_failed_and_the_others_are_still_asked(stage: Stage) -> None:
    broken = replace(good(), batch={}, model=None, **dict.fromkeys(("requests", "assessments", "examples")))
    broken = replace(broken, **dict.fromkeys(("generations", "samples", "decisions")))

    verdicts = judge(stage, broken)

    assert [verdict.gate for verdict in verdicts] == [gate.name for gate in GATES[stage]]
    assert not any(verdict.passed for verdict in verdicts)
    assert all("the gate itself failed with" in verdict.facts["problem"] for verdict in verdicts)


@pytest.mark.parametrize(
    ("stage", "gate", "rule"),
    [
        (Stage.GENERATED, "answered_share", MODEL.gates.answered_share),
        (Stage.CURATED, "acceptance_share", MODEL.gates.acceptance_share),
        (Stage.CURATED, "label_balance", MODEL.gates.label_deviation),
        (Stage.CURATED, "drift", MODEL.gates.drift),
    ],
)
def test_a_threshold_is_shown_with_its_reason(stage: Stage, gate: str, rule: Any) -> None:
    assert told(judge(stage, good()), gate).facts["threshold"] == {
        "min": rule.min,
        "max": rule.max,
        "because": rule.because,
    }


@pytest.mark.parametrize(
    ("stage", "gates"),
    [
        (Stage.GENERATED, {"first_sum", "answered_share"}),
        (Stage.CURATED, {"acceptance_share", "minimum_count", "label_balance"}),
    ],
)
def test_an_empty_batch_passes_no_stage_that_counts(stage: Stage, gates: set[str]) -> None:
    assert {verdict.gate for verdict in judge(stage, empty()) if not verdict.passed} == gates


def test_labels_need_not_be_spread_more_evenly_than_whole_samples_allow() -> None:
    """Five of two labels are three and two; four and one is another thing."""
    narrow = RECIPE["gates"] | {"label_deviation": {"max": 0.02, "because": "As near as whole samples allow."}}
    model = recipe(batch=RECIPE["batch"] | {"accept": 5}, gates=narrow)
    even = replace(good(5), model=model, owed=owed(model))
    assert told(judge(Stage.CURATED, even), "label_balance").passed

    uneven = replace(even, samples=first(even.samples, 2, label="positive"))
    assert not told(judge(Stage.CURATED, uneven), "label_balance").passed


@pytest.mark.parametrize(
    ("attempts", "answered", "passed"),
    [
        ([1, 1, 1, 2], [True, True, True, False], True),  # a top-up of one says little
        ([1, 1, 1, 2], [False, False, False, True], True),  # nor what a mended prompt left behind
        ([1, 1, 2, 2], [True, False, True, False], True),
        ([1, 1, 1, 2], [True, False, False, False], False),
    ],
)
def test_a_share_is_judged_by_the_latest_attempt_or_by_all_that_count(
    attempts: list[int], answered: list[bool], passed: bool
) -> None:
    outcomes = pl.Series("outcome", ["answered" if each else "quarantined" for each in answered])
    generations = good().generations.with_columns(pl.Series("attempt", attempts), outcomes)
    evidence = replace(good(), generations=generations, batch=batch(attempts=2))

    verdict = told(judge(Stage.GENERATED, evidence), "answered_share")

    latest = [one for one, attempt in zip(answered, attempts, strict=True) if attempt == 2]
    assert verdict.passed == passed
    assert verdict.value == max(sum(latest) / len(latest), sum(answered) / len(answered))


def test_what_a_red_batch_holds_is_no_yardstick_for_drift() -> None:
    far = fault("earlier", lambda frame: frame.with_columns(pl.lit(300.0).alias("words")))(good())
    assert not told(judge(Stage.CURATED, far), "drift").passed

    red = fault("earlier", lambda frame: frame.with_columns(pl.lit(value=False).alias("is_green")))(far)
    assert told(judge(Stage.CURATED, red), "drift").passed


def test_drift_is_measured_from_batches_of_the_same_models_where_there_are_any() -> None:
    """Rows of another model lie far away, those of the same one near; both are green."""
    near = good().earlier
    far = near.with_columns(pl.lit(300.0).alias("words"), pl.Series("models", [["other"]] * near.height))

    both = told(judge(Stage.CURATED, replace(good(), earlier=pl.concat([near, far]))), "drift")
    assert (both.passed, both.facts["compared_with"], both.facts["is_same_models"]) == (True, near.height, True)

    first = told(judge(Stage.CURATED, replace(good(), earlier=far)), "drift")
    assert (first.passed, first.facts["models"], first.facts["is_same_models"]) == (False, ["fake"], False)

    unsaid = far.with_columns(pl.lit(None, pl.List(pl.String)).alias("models"))
    assert not told(judge(Stage.CURATED, replace(good(), earlier=unsaid)), "drift").passed


def test_a_promise_of_something_is_not_kept_by_nothing() -> None:
    assert not told(judge(Stage.CURATED, empty()), "minimum_count").passed


def test_a_batch_accepted_short_keeps_its_promise_with_what_it_has() -> None:
    short = fault("decisions", lambda frame: first(frame, **REJECTED))(good())

    assert not told(judge(Stage.CURATED, short), "minimum_count").passed
    accepted = replace(short, batch=batch(short_accepted_by="me"))
    verdict = told(judge(Stage.CURATED, accepted), "minimum_count")
    assert verdict.passed
    assert (verdict.facts["accepted"], verdict.facts["promised"], verdict.facts["accepted_short"]) == (3, 4, True)


def test_surplus_counts_as_good() -> None:
    surplus = fault("decisions", lambda frame: first(frame, 3, decision="rejected", reason="surplus"))(good())

    assert told(judge(Stage.CURATED, surplus), "acceptance_share").passed


def test_rates_judge_the_latest_attempt_only() -> None:
    older = first(good().generations, 3, outcome="quarantined", reason="server_error")
    newer = good().generations.with_columns(pl.lit(2, pl.Int64).alias("attempt"))
    evidence = replace(good(), batch=batch(attempts=2), generations=pl.concat([older, newer]))

    assert told(judge(Stage.GENERATED, evidence), "answered_share").passed


def test_without_a_budget_the_cost_is_only_reported() -> None:
    evidence = replace(good(), model=MODEL, generations=first(good().generations, cost_usd=None))

    verdict = told(judge(Stage.GENERATED, evidence), "budget")
    assert verdict.passed
    assert (verdict.facts["spent_usd"], verdict.facts["unpriced_calls"]) == (0.75, 1)


def test_a_first_batch_has_nothing_to_drift_from() -> None:
    evidence = replace(good(), earlier=pl.DataFrame(schema=EARLIER_SCHEMA))

    assert told(judge(Stage.CURATED, evidence), "drift").passed


SIX, ALSO_SIX = "one two three four five six", "one two three four five seven"
"""Three shared runs of three words among five: a resemblance of exactly 0.6."""


@pytest.mark.parametrize(("limit", "passes"), [(0.6, True), (0.59, False), (0.0, False), (1.0, True)])
def test_gates_draw_the_line_where_the_rules_draw_it(limit: float, passes: bool) -> None:
    rule = {"max": limit, "because": "What a rule admits no gate may hold."}
    model = recipe(rules=RECIPE["rules"] | {"near_duplicate": rule, "contamination": rule})
    evidence = replace(good(2), model=model, texts=texts(SIX, ALSO_SIX), protected=("one two three four five eight",))
    evidence = replace(evidence, examples=first(evidence.examples, split="test"))

    verdicts = judge(Stage.TRAINING_READY, evidence)

    assert model.rules[Assessment.NEAR_DUPLICATE].admits(0.6) is passes
    for gate in ("no_duplicates", "no_contamination", "splits_are_apart"):
        assert told(verdicts, gate).passed is passes, gate
        assert "problem" not in told(verdicts, gate).facts


def test_texts_that_share_nothing_pass_the_strictest_rule() -> None:
    rule = {"max": 0, "because": "Not a single run of words in common."}
    model = recipe(rules=RECIPE["rules"] | {"near_duplicate": rule, "contamination": rule})

    assert all_passed(judge(Stage.TRAINING_READY, replace(good(), model=model)))


def members(count: int = 3) -> pl.DataFrame:
    columns = {"sample_id": [f"s{number}" for number in range(count)], "split": ["train"] * count}
    hashes = [content_sha256({"text": text}, "good") for text in LINES[:count]]
    return pl.DataFrame(columns | {"content_sha256": hashes, "batch": ["b"] * count})


LINES = (f"The first of them holds {CANARY} and more.", "A second one, about a bridge.", "Something else in between.")


def jsonl(*texts: str, splits: Sequence[str] = ("train",) * 3) -> bytes:
    return b"".join(
        orjson.dumps(
            {
                "sample_id": f"s{number}",
                "content_sha256": content_sha256({"text": text}, "good"),
                "split": splits[number],
                "label": "good",
                "fields": {"text": text},
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for number, text in enumerate(texts)
    )


def released(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files with a manifest that names them."""
    named = {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in files.items()}
    return {**files, "manifest.json": orjson.dumps({"files": named})}


def good_release() -> Release:
    files = released({"samples.jsonl": jsonl(*LINES), "README.md": b"# Tiny"})
    return Release(
        digest=digest_of(members()),
        num_samples=3,
        manifest_sha256=sha256(files["manifest.json"]),
        members=members(),
        files=files,
        stages=pl.DataFrame({"id": ["b:scored", "b:curated"], "passed": [True, True]}),
        resemblance_at_most=0.8,
    )


def altered(**files: bytes | None) -> Callable[[Release], Release]:
    """Replace, add or remove files; dots are written as double underscores."""
    changes = {name.replace("__", "."): data for name, data in files.items()}

    def bend(release: Release) -> Release:
        kept = {name: data for name, data in {**release.files, **changes}.items() if data is not None}
        return replace(release, files=kept)

    return bend


def forged(release: Release) -> Release:
    """Change a file and write a manifest that fits it."""
    return replace(release, files=released({"samples.jsonl": jsonl(*LINES[::-1]), "README.md": b"# Tiny"}))


RELEASE_FAULTS: dict[str, dict[str, Callable[[Release], Release]]] = {
    "digest": {
        "another digest": lambda release: replace(release, digest="0" * 64),
        "a member too few": lambda release: replace(release, members=members(2)),
        "a member in another split": lambda release: replace(release, members=first(members(), split="test")),
    },
    "manifest": {
        "a changed file": altered(README__md=b"# Tiny?"),
        "a file is gone": altered(README__md=None),
        "a stray file": altered(notes__txt=b"hello"),
        "no manifest": altered(manifest__json=None),
        "no folder": lambda release: replace(release, files={}),
        "a changed file and a manifest that fits it": forged,
        "a manifest of nothing": lambda release: replace(
            release, files=released({}), manifest_sha256=sha256(released({})["manifest.json"])
        ),
    },
    "counts": {
        "a line too few": altered(samples__jsonl=jsonl(*LINES[:2])),
        "another number recorded": lambda release: replace(release, num_samples=4),
    },
    "content": {
        "a changed word": altered(samples__jsonl=jsonl(*LINES).replace(b"bridge", b"tunnel")),
        "another label": altered(samples__jsonl=jsonl(*LINES).replace(b'"label":"good"', b'"label":"bad"', 1)),
        "no lines": altered(samples__jsonl=b""),
    },
    "verdicts_proven": {
        "a stage that was red": lambda release: replace(release, stages=first(release.stages, passed=False)),
        "no stages": lambda release: replace(release, stages=release.stages.head(0)),
    },
    "splits_apart": {
        "a copy in another split": altered(
            samples__jsonl=jsonl(LINES[0], LINES[1], LINES[1].upper(), splits=("train", "train", "test"))
        ),
        "no lines": altered(samples__jsonl=b""),
    },
}


def test_every_gate_of_a_version_is_asked_here() -> None:
    assert set(RELEASE_FAULTS) == set(VERSION_GATES)
    assert [verdict.gate for verdict in judge_release(good_release())] == list(VERSION_GATES)


def test_a_good_release_passes_every_gate() -> None:
    assert [verdict.gate for verdict in judge_release(good_release()) if not verdict.passed] == []


@pytest.mark.parametrize(
    ("gate", "bend"),
    [
        pytest.param(gate, bend, id=f"{gate}-{name}")
        for gate, faults in RELEASE_FAULTS.items()
        for name, bend in faults.items()
    ],
)
def test_one_fault_of_a_release_fails_its_gate(gate: str, bend: Callable[[Release], Release]) -> None:
    verdicts = judge_release(bend(good_release()))

    verdict = told(verdicts, gate)
    assert not verdict.passed
    assert "the gate itself failed" not in str(verdict.facts.get("problem"))
    assert CANARY not in stored_json([verdict.facts for verdict in verdicts])


@pytest.mark.parametrize("manifest", [b"{", b"[]", b'{"files": {"README.md": {}}}'])
def test_a_manifest_that_cannot_be_read_fails_its_gate_and_the_others_are_still_asked(manifest: bytes) -> None:
    verdicts = judge_release(altered(manifest__json=manifest)(good_release()))

    assert [verdict.gate for verdict in verdicts if not verdict.passed] == ["manifest"]


def good_run() -> Consumption:
    return Consumption(
        texts=texts(*TEXTS),
        protected=("Nothing here is like any of them at all.",),
        resemblance_at_most=0.5,
        evaluated_rows=(100, 100),
        registered=("sha", 100),
        test_set=("sha", 100),
        is_marked=False,
    )


RUN_FAULTS: dict[str, dict[str, Callable[[Consumption], Consumption]]] = {
    "frozen_test_set": {
        "some rows left out": lambda run: replace(run, evaluated_rows=(100, 99)),
        "measured on nothing": lambda run: replace(run, evaluated_rows=()),
        "other rows under the same name": lambda run: replace(run, test_set=("another", 100)),
        "a row too few": lambda run: replace(run, test_set=("sha", 99)),
    },
    "no_contamination": {
        "a row of the test set": lambda run: replace(run, protected=(TEXTS[2],)),
        "a run that ate nothing": lambda run: replace(run, texts=run.texts.head(0)),
    },
    "version_not_marked": {"a takedown": lambda run: replace(run, is_marked=True)},
}


def test_every_gate_of_a_model_run_is_asked_here() -> None:
    assert set(RUN_FAULTS) == set(MODEL_RUN_GATES)
    assert [verdict.gate for verdict in judge_consumption(good_run())] == list(MODEL_RUN_GATES)


@pytest.mark.parametrize("limit", [0.0, 0.5, 1.0])
def test_a_good_model_run_passes_every_gate(limit: float) -> None:
    verdicts = judge_consumption(replace(good_run(), resemblance_at_most=limit))

    assert [verdict.gate for verdict in verdicts if not verdict.passed] == []


@pytest.mark.parametrize(
    ("gate", "bend"),
    [
        pytest.param(gate, bend, id=f"{gate}-{name}")
        for gate, faults in RUN_FAULTS.items()
        for name, bend in faults.items()
    ],
)
def test_one_fault_of_a_model_run_fails_its_gate(gate: str, bend: Callable[[Consumption], Consumption]) -> None:
    verdicts = judge_consumption(bend(good_run()))

    assert [verdict.gate for verdict in verdicts if not verdict.passed] == [gate]
    assert CANARY not in stored_json([verdict.facts for verdict in verdicts])


def test_every_gate_is_described_by_a_sentence() -> None:
    sentences = [gate.sentence for gates in GATES.values() for gate in gates]
    sentences += [*VERSION_GATES.values(), *MODEL_RUN_GATES.values()]

    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in sentences)
    assert json.dumps(sentences).isascii()
