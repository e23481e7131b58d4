"""Tables that exist before anything is paid: templates, seeds, batches and planned requests."""

import pandera.polars as pa
import polars as pl

from synth_assets.tables.contract import INSTANT, column
from synth_assets.vocabulary import OURS, UNKNOWN


class PromptTemplates(pa.DataFrameModel):
    """Every version of every prompt template that was ever registered."""

    dataset: str = column("Dataset the template belongs to.")
    prompt_name: str = column("Name in the template's front matter.")
    prompt_version: str = column("Version in the front matter; its text never changes under it.")
    template_sha256: str = column("Hash of front matter and body; names the payload object.")
    mode: str = column("How it is sent.", isin=["completion", "chat"])
    object_sha256: str = column("Payload object that holds the text.")
    registered_at: INSTANT = column("When it was first seen.")


class Seeds(pa.DataFrameModel):
    """Rows of the seed tables a recipe draws from."""

    dataset: str = column("Dataset the seed belongs to.")
    seed_table: str = column("Name of the seed table in the recipe.")
    seed_id: str = column("Hash of the seed's content.")
    position: pl.Int64 = column("Row number in its file, from 0.", ge=0)
    object_sha256: str = column("Payload object that holds the rows of the table.")
    registered_at: INSTANT = column("When it was first seen.")


class Batches(pa.DataFrameModel):
    """One row per batch: its promise, its attempts and its fence."""

    dataset: str = column("Dataset of the batch.")
    batch: str = column("Partition key, e.g. 2026-11-21.")
    promised: pl.Int64 = column("Accepted samples the batch owes; 0 for ingested samples.", unit="samples", ge=0)
    max_attempts: pl.Int64 = column("Attempts it may open.", ge=0)
    attempts: pl.Int64 = column("Attempts opened so far.", ge=0)
    open_attempt: pl.Int64 = column("The attempt being worked off; null when none is open.", nullable=True, ge=1)
    current_from: pl.Int64 = column("Samples of earlier attempts are superseded; 0 supersedes none.", ge=0)
    fence: pl.Int64 = column("Raised by every claim; a commit under an older one is refused.", ge=0)
    short_accepted_by: str = column("Who accepted fewer samples than promised; null if nobody did.", nullable=True)
    opened_at: INSTANT = column("When the batch was first planned.")
    asked_with: str = column(
        "Hash of the templates, models and reader of answers the latest attempt was planned with; null before the "
        "first, or if not recorded.",
        nullable=True,
    )
    tripped_attempt: pl.Int64 = column(
        "Attempt that stopped because hardly any of its first answers can be used; null if none waits for a person.",
        nullable=True,
        ge=1,
    )
    anyway_attempt: pl.Int64 = column(
        "Attempt that a person lets go on whatever its answers; null if none.", nullable=True, ge=1
    )
    broken_attempts: pl.Int64 = column(
        "Attempts closed because their prompt was broken; they do not count against max_attempts.", before="0", ge=0
    )


class LabelBalances(pa.DataFrameModel):
    """What every label of a dataset is due from the promises so far; rare labels get their turn by it."""

    dataset: str = column("Dataset of the label.")
    label: str = column("Label of the recipe.")
    due: pl.Float64 = column(
        "Its share of all promises so far, less what was owed of it; negative if that was more.", unit="samples"
    )


class BatchLabels(pa.DataFrameModel):
    """What a batch owes of each label, fixed by its first plan; batches planned before have no rows."""

    dataset: str = column("Dataset of the batch.")
    batch: str = column("Batch that owes.")
    label: str = column("Label of the recipe.")
    owed: pl.Int64 = column("Accepted samples it owes of the label.", unit="samples", ge=0)


class PromptAllocations(pa.DataFrameModel):
    """How each plan divided its requests among the prompts, and why."""

    dataset: str = column("Dataset of the plan.")
    batch: str = column("Batch of the plan.")
    attempt: pl.Int64 = column("Attempt that was planned.", ge=1)
    prompt_name: str = column("Template that was given the requests.")
    prompt_version: str = column("Version of that template.")
    rotation: str = column("What decided.", isin=["weights", "adaptive"])
    share: pl.Float64 = column("Share it was given.", unit="0..1", ge=0, le=1)
    planned_requests: pl.Int64 = column("Requests it got: the share in whole numbers.", unit="requests", ge=0)
    tried_requests: pl.Int64 = column(
        "Its earlier requests that were looked at; null where weights decided.", unit="requests", nullable=True, ge=0
    )
    accepted_samples: pl.Float64 = column(
        "Samples of those that passed every rule, one not yet decided counted as 1 / overdraw; null where weights "
        "decided.",
        unit="samples",
        nullable=True,
        ge=0,
    )
    cost_per_accepted: pl.Float64 = column(
        "What one of these cost; null where weights decided or nothing was accepted.",
        unit="cost_unit",
        nullable=True,
        ge=0,
    )
    cost_unit: str = column(
        "Unit of that: USD where every price is known, else tokens, else requests; null where weights decided.",
        nullable=True,
        isin=["USD", "tokens", "requests"],
    )
    reason: str = column("Why it was given this share, in a sentence.")


class Requests(pa.DataFrameModel):
    """Every planned request, whether it was sent or not."""

    dataset: str = column("Dataset of the request.")
    batch: str = column("Batch of the request.")
    attempt: pl.Int64 = column("Attempt that planned it, from 1.", ge=1)
    ordinal: pl.Int64 = column("Place in the attempt, from 0.", ge=0)
    request_id: str = column("Hash of dataset, batch, attempt and ordinal.", unique=True)
    call_id: str = column("Hash of all that is sent, or of an ingested row; an answer to it is paid once.")
    seed: pl.Int64 = column("Sampling seed, derived from request_id.", ge=0)
    prompt_name: str = column("Template it was rendered from.")
    prompt_version: str = column("Version of that template.")
    template_sha256: str = column("Hash of that template version.")
    prompt_sha256: str = column("Hash of the rendered prompt.")
    label: str = column("Label the answer is asked to show; null outside classification.", nullable=True)
    parent_id: str = column("Sample it evolves; null if it evolves none.", nullable=True)
    ancestry_depth: pl.Int64 = column("How often its line of parents was evolved; 0 without parent.", before="0", ge=0)
    axes: str = column(
        "Drawn control axes as canonical JSON: by axis a value's name, a number, a day, or the seed_id of a row."
    )
    opening: str = column("Sha256 of the seeded opening the answer continues; null if none.", nullable=True)
    generator: str = column("Who wrote the answer: synth-assets, or the tool an ingested row came from.", before=OURS)
    provider: str = column(
        "Endpoint it is addressed to: embedded, a name of providers.yaml or a host; unknown if ingested.",
        before=UNKNOWN,
    )
    model: str = column("Model the request is addressed to; unknown if an ingested row does not say.")
    generation_params: str = column("Sampling parameters as canonical JSON.")
    object_sha256: str = column("Payload object that holds the rendered prompts of the attempt.")
