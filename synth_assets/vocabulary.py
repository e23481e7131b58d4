"""The closed lists of words every room shares: stages, outcomes, decisions and their reasons."""

from enum import StrEnum

OURS = "synth-assets"
"""The generator of every sample that was not ingested."""

UNLABELLED = ""
"""Stands for the label where quotas are counted and a dataset has no labels; stored as null."""

UNKNOWN = "unknown"
"""Provenance that an ingested row does not tell."""


class Stage(StrEnum):
    """The stages of a batch and of a version, in the order data flows."""

    GENERATION_PLAN = "generation_plan"
    GENERATED = "generated"
    SCORED = "scored"
    CURATED = "curated"
    TRAINING_READY = "training_ready"
    DATASET_VERSION = "dataset_version"
    MODEL_RUN = "model_run"


BATCH_STAGES = (Stage.GENERATED, Stage.SCORED, Stage.CURATED, Stage.TRAINING_READY)
"""The stages whose gates decide whether a batch is green, in order."""


class Outcome(StrEnum):
    """How a planned request ends: planned = answered + quarantined + not_sent."""

    ANSWERED = "answered"
    QUARANTINED = "quarantined"
    NOT_SENT = "not_sent"


class QuarantineReason(StrEnum):
    """Why a request has no sample; the last group stops the batch and may later change."""

    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    CONNECTION_FAILED = "connection_failed"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    MALFORMED_ANSWER = "malformed_answer"
    EMPTY_ANSWER = "empty_answer"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    CONTENT_FILTER = "content_filter"
    TOOL_CALL = "tool_call"
    WRONG_SCHEMA = "wrong_schema"
    THOUGHTS_ONLY = "thoughts_only"
    CONTROL_TOKENS = "control_tokens"
    UNRENDERABLE = "unrenderable"
    UNAUTHORIZED = "unauthorized"
    QUOTA_EXHAUSTED = "quota_exhausted"
    UNREACHABLE = "unreachable"
    BUDGET_SPENT = "budget_spent"
    STOPPED = "stopped"
    BROKEN_PROMPT = "broken_prompt"


FALLS_BACK = frozenset(
    {
        QuarantineReason.NOT_FOUND,
        QuarantineReason.RATE_LIMITED,
        QuarantineReason.SERVER_ERROR,
        QuarantineReason.CONNECTION_FAILED,
        QuarantineReason.DEADLINE_EXCEEDED,
        QuarantineReason.MALFORMED_ANSWER,
        QuarantineReason.REFUSED,
        QuarantineReason.CONTENT_FILTER,
        QuarantineReason.UNAUTHORIZED,
        QuarantineReason.QUOTA_EXHAUSTED,
        QuarantineReason.UNREACHABLE,
    }
)
"""What a provider did to a call that another one may not do: the next model of the request's fallback is asked.

The others are the call's own: a bad request, an answer cut off or of the wrong shape would be so elsewhere too.
"""

MAY_BE_PAID = frozenset(
    {QuarantineReason.MALFORMED_ANSWER, QuarantineReason.CONNECTION_FAILED, QuarantineReason.DEADLINE_EXCEEDED}
)
"""Ends of a call without an answer that the provider may ask money for all the same."""

STOPS_ALL = frozenset({QuarantineReason.BUDGET_SPENT, QuarantineReason.STOPPED})
"""Stops that concern every provider of a batch; any other is that of one."""


class CallKind(StrEnum):
    """Why a call of a request was made.

    Its prompt, a later prompt of the same recipe entry, a second chance, or another model in place of one that failed.
    """

    PROMPT = "prompt"
    STEP = "step"
    REPAIR = "repair"
    FALLBACK = "fallback"


class Decision(StrEnum):
    """What becomes of a sample: samples = accepted + rejected + pending_review."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PENDING_REVIEW = "pending_review"


class RejectReason(StrEnum):
    """Why a sample was rejected; the order is the order in which the rules are asked."""

    SUPERSEDED = "superseded"
    LENGTH = "length"
    REFUSAL = "refusal"
    REPETITION = "repetition"
    LANGUAGE = "language"
    PII = "pii"
    COPIED_SHOT = "copied_shot"
    CONTAMINATION = "contamination"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NEAREST_NEIGHBOUR = "nearest_neighbour"
    LOW_LOGPROB = "low_logprob"
    LABEL_MISMATCH = "label_mismatch"
    SURPLUS = "surplus"


class Assessment(StrEnum):
    """What is measured of every sample; the order is the order in which the rules are asked."""

    WORDS = "words"
    REFUSAL = "refusal"
    REPETITION = "repetition"
    LANGUAGE = "language"
    PII = "pii"
    COPIED_SHOT = "copied_shot"
    CONTAMINATION = "contamination"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NEAREST_NEIGHBOUR = "nearest_neighbour"
    MEAN_LOGPROB = "mean_logprob"
    LABEL_CONSISTENCY = "label_consistency"


class Source(StrEnum):
    """What kind of judge an assessment or a decision comes from."""

    CODE = "CODE"
    LLM_JUDGE = "LLM_JUDGE"
    HUMAN = "HUMAN"
