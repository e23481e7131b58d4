"""Tables of the stages that make samples: generations, samples, assessments, decisions and verdicts."""

import pandera.polars as pa
import polars as pl

from synth_assets.tables.contract import INSTANT, column
from synth_assets.vocabulary import CallKind, Decision, Outcome, QuarantineReason, RejectReason, Source, Stage


class Generations(pa.DataFrameModel):
    """How every planned request ended, answered or not."""

    dataset: str = column("Dataset of the request.")
    batch: str = column("Batch of the request.")
    attempt: pl.Int64 = column("Attempt that planned it.", ge=1)
    request_id: str = column("The planned request.", unique=True)
    call_id: str = column("Hash of what was sent.")
    generation_id: str = column("Hash of request_id and call_id.", unique=True)
    outcome: str = column("How it ended.", isin=list(Outcome))
    reason: str = column(
        "Why it was quarantined or not sent; null if answered.", nullable=True, isin=list(QuarantineReason)
    )
    model: str = column("Model that says it answered; null if none did.", nullable=True)
    written_by: str = column(
        "Model that was asked for the last answer, as in requests.model unless another one stood in; null without "
        "answer, or if not recorded.",
        nullable=True,
    )
    finish_reason: str = column("Why the model stopped, in the provider's word; null without answer.", nullable=True)
    input_tokens: pl.Int64 = column(
        "Tokens of the prompt; null if the provider did not say.", unit="tokens", nullable=True, ge=0
    )
    output_tokens: pl.Int64 = column("Tokens of the answer; null if unknown.", unit="tokens", nullable=True, ge=0)
    cost_usd: pl.Float64 = column(
        "What the call cost; null when no price is known, never guessed.", unit="USD", nullable=True, ge=0
    )
    price_as_of: str = column(
        "Day on which the price was true, of several the first; null when the cost is.", nullable=True
    )
    latency_s: pl.Float64 = column("From sending to the last byte; null without answer.", unit="s", nullable=True, ge=0)
    mean_logprob: pl.Float64 = column(
        "Mean log probability of the answer's tokens; null if not given.", unit="nats", nullable=True
    )
    tries: pl.Int64 = column("HTTP requests made for it.", ge=0)
    calls: pl.Int64 = column("Calls made for it: several prompts in a row, or a second chance.", before="1", ge=0)
    generated_at: INSTANT = column("When the last answer was journaled; null without answer.", nullable=True)
    object_sha256: str = column("Payload object with the raw answers; null without answer.", nullable=True)
    cost_bound_usd: pl.Float64 = column(
        "What it cost, or can have cost at most where that is unknown; it counts against the budget; null when no "
        "price is known, or if not recorded.",
        unit="USD",
        nullable=True,
        ge=0,
    )
    lost_calls: pl.Int64 = column(
        "Calls sent for it whose answer nobody waited for; what they cost is unknown.", before="0", ge=0
    )


class Steps(pa.DataFrameModel):
    """The calls of every request that took more than one, in their order; `generations` has their sums."""

    dataset: str = column("Dataset of the request.")
    batch: str = column("Batch of the request.")
    attempt: pl.Int64 = column("Attempt that planned it.", ge=1)
    request_id: str = column("The planned request.")
    position: pl.Int64 = column("Place among the calls of the request, from 0.", ge=0)
    kind: str = column(
        "The prompt, a later prompt, a second chance, or another model in place of one that failed.",
        isin=list(CallKind),
    )
    call_id: str = column("Hash of what was sent.")
    prompt_name: str = column("Template it was rendered from.")
    prompt_version: str = column("Version of that template.")
    template_sha256: str = column("Hash of that template version.")
    prompt_sha256: str = column("Hash of the rendered prompt.")
    asked: str = column("Model it was addressed to, as provider/model; null if not recorded.", nullable=True)
    outcome: str = column("How the call ended.", isin=list(Outcome))
    reason: str = column("Why it gave nothing usable; null if it did.", nullable=True, isin=list(QuarantineReason))
    model: str = column("Model that says it answered; null if none did.", nullable=True)
    finish_reason: str = column("Why the model stopped; null without answer.", nullable=True)
    input_tokens: pl.Int64 = column("Tokens of the prompt; null if unknown.", unit="tokens", nullable=True, ge=0)
    output_tokens: pl.Int64 = column("Tokens of the answer; null if unknown.", unit="tokens", nullable=True, ge=0)
    cost_usd: pl.Float64 = column("What the call cost; null when unknown.", unit="USD", nullable=True, ge=0)
    latency_s: pl.Float64 = column("To the last byte; null without answer.", unit="s", nullable=True, ge=0)
    tries: pl.Int64 = column("HTTP requests made for it.", ge=0)
    generated_at: INSTANT = column("When the answer was journaled; null without answer.", nullable=True)


class Samples(pa.DataFrameModel):
    """Every sample parsed from an answer; none is ever dropped."""

    dataset: str = column("Dataset of the sample.")
    batch: str = column("Batch of the sample.")
    attempt: pl.Int64 = column("Attempt it came from.", ge=1)
    ordinal: pl.Int64 = column("Ordinal of its request.", ge=0)
    position: pl.Int64 = column("Raw position in the answer, from 0.", ge=0)
    sample_id: str = column("Hash of request_id and position.", unique=True)
    request_id: str = column("Request whose answer it was parsed from.")
    generation_id: str = column("Generation it was parsed from.")
    content_sha256: str = column("Hash of its fields and label and nothing else.")
    task_type: str = column("What it trains for.")
    language: str = column("Language asked for, ISO 639-1.")
    label: str = column("Label it is meant to show; null outside classification.", nullable=True)
    parent_id: str = column("Sample it was evolved from; null if from none.", nullable=True)
    ancestry_depth: pl.Int64 = column("How often its line of parents was evolved; 0 without parent.", before="0", ge=0)
    characters: pl.Int64 = column("Length of its text fields.", unit="characters", ge=0)
    object_sha256: str = column("Payload object with the text.")
    repairs: str = column(
        "What had to be cut from its answers or mended to read them, e.g. `thoughts, fence, commas`; empty if nothing.",
        before="",
    )


class Assessments(pa.DataFrameModel):
    """One value per sample and scorer: who measured what."""

    dataset: str = column("Dataset of the sample.")
    batch: str = column("Batch of the sample.")
    sample_id: str = column("The assessed sample.")
    name: str = column("Scorer.")
    value: pl.Float64 = column("Raw value in the scorer's unit; null if it could not be computed.", nullable=True)
    neighbour_id: str = column("Sample or test row it was measured against; null if none.", nullable=True)
    source_type: str = column("What kind of judge.", isin=list(Source))
    source_id: str = column("Scorer and hash of its settings; another hash makes the value outdated.")
    assessed_at: INSTANT = column("When it was computed.")


class Tags(pa.DataFrameModel):
    """What the recipe's rules say a sample is; a rule that finds nothing leaves no row."""

    dataset: str = column("Dataset of the sample.")
    batch: str = column("Batch of the sample.")
    sample_id: str = column("The tagged sample.")
    name: str = column("Tag in the recipe.")
    value: str = column("Its value, a name of the recipe or a language code, never a sample's words.")
    score: pl.Float64 = column(
        "What decided, in the unit of the rule's kind: words found, an assessment, a cosine or a probability; "
        "null where nothing was measured.",
        nullable=True,
    )
    source_id: str = column("Kind of rule, its version and a hash of all it depends on besides the sample.")
    tagged_at: INSTANT = column("When.")


class Decisions(pa.DataFrameModel):
    """What became of every sample, and why."""

    dataset: str = column("Dataset of the sample.")
    batch: str = column("Batch of the sample.")
    sample_id: str = column("The judged sample.")
    decision: str = column("What became of it.", isin=list(Decision))
    reason: str = column("Why it was rejected; null if accepted.", nullable=True, isin=list(RejectReason))
    quality_score: pl.Float64 = column(
        "Weighted mean of normalised assessments; null if none was computable.", unit="0..1", nullable=True, ge=0, le=1
    )
    source_type: str = column("Who decided.", isin=list(Source))
    source_id: str = column("Hash of the rules, or the person.")
    decided_at: INSTANT = column("When.")


class TrainingExamples(pa.DataFrameModel):
    """Accepted samples of a batch, ready for a version."""

    dataset: str = column("Dataset of the sample.")
    batch: str = column("Batch of the sample.")
    sample_id: str = column("The accepted sample.", unique=True)
    content_sha256: str = column("Hash of its content.")
    split: str = column("Part of the data it trains or tests.", isin=["train", "validation", "test"])
    label: str = column("Its label; null outside classification.", nullable=True)
    quality_score: pl.Float64 = column("From its decision.", unit="0..1", nullable=True, ge=0, le=1)


class BatchRevisions(pa.DataFrameModel):
    """One row for every state in which a batch was green: what it held, why, and what it was compared with."""

    dataset: str = column("Dataset.")
    batch: str = column("Batch.")
    revision: pl.Int64 = column("Number among the revisions of the batch, red ones counted.", ge=1)
    causes: str = column("What made it differ from the revision before, as a JSON list.")
    commit_key: str = column("Commit of training_ready that made it green.")
    accepted: pl.Int64 = column("Accepted samples.", unit="samples", ge=0)
    cost_usd: pl.Float64 = column("Cost of all calls of the batch; null if any is unknown.", unit="USD", nullable=True)
    lines_sha256: str = column("Payload object with the lines a release takes from it.")
    card_sha256: str = column("Payload object with its card.")
    compared_with: str = column("Batch its difference is from; null if none was green before it.", nullable=True)
    diff_sha256: str = column("Payload object with that difference; null if there is none.", nullable=True)
    made_at: INSTANT = column("When.")


class StageCommits(pa.DataFrameModel):
    """One row each time a stage finished, passed or not; the latest one of a stage counts."""

    dataset: str = column("Dataset.")
    partition: str = column("Batch, or version number for dataset_version, or model run id for model_run.")
    stage: str = column("Stage that finished.", isin=list(Stage))
    commit_key: str = column("Idempotency key of the transaction.", unique=True)
    commit_seq: pl.Int64 = column("Place in the dataset's audit chain.", ge=1)
    passed: pl.Boolean = column("Whether every blocking gate passed.")
    input_digest: str = column("Hash of what it read.")
    output_digest: str = column("Hash of what it wrote.")
    recipe_sha256: str = column("Hash of the recipe it judged by.")
    recipe_object: str = column("Payload object with that recipe.")
    run_id: str = column("Dagster run.")
    committed_at: INSTANT = column("When.")


class Verdicts(pa.DataFrameModel):
    """What every gate said each time a stage finished."""

    dataset: str = column("Dataset.")
    partition: str = column("Batch, version number or model run id, as in stage_commits.")
    stage: str = column("Stage that was judged.", isin=list(Stage))
    gate: str = column("Name of the gate.")
    passed: pl.Boolean = column("Whether the gate's sentence was true.")
    is_blocking: pl.Boolean = column("Whether failing stops the chain.")
    facts: str = column("Counts and capped ids behind the verdict, canonical JSON, never text.")
    commit_key: str = column("The stage commit it belongs to.")
    judged_at: INSTANT = column("When.")
    gate_version: pl.Int64 = column("Version of the gate; another one may measure something else.", before="1", ge=1)
    value: pl.Float64 = column("The number held against a threshold; null where the gate has none.", nullable=True)
    least: pl.Float64 = column("Lower end of the threshold at that time; null if open.", nullable=True)
    most: pl.Float64 = column("Upper end of the threshold at that time; null if open.", nullable=True)
