"""Everything the gates of a batch may look at, and how it is read back from the lake."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from synth_assets.checks.promises import promise_of
from synth_assets.checks.proof import proven, proven_state, stage_commits
from synth_assets.domain.drafting import TEXTS_SCHEMA
from synth_assets.domain.parsing import readable
from synth_assets.domain.standing import standing
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.tasks import MESSAGES
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Assessment, Decision, Stage

EARLIER_SCHEMA = {
    "sample_id": pl.String,
    "label": pl.String,
    "words": pl.Float64,
    "quality_score": pl.Float64,
    "is_green": pl.Boolean,
    "models": pl.List(pl.String),
}
"""Accepted samples of other batches; a green batch is one the drift gate may compare with, and ``models`` wrote it."""


def _empty(table: str) -> Callable[[], pl.DataFrame]:
    return lambda: TABLES[table].frame([])


@dataclass(frozen=True)
class Evidence:
    """A batch as its gates see it.

    Attributes:
        model: the recipe the batch is judged by.
        batch: its row of `batches`.
        owed: accepted samples it owes by label.
        texts: text of every sample, columns sample_id, text.
        earlier: accepted samples of other batches, as `EARLIER_SCHEMA`.
        protected: texts no training example may resemble.
        protected_before: how many there were at most when batches of the dataset were judged before.
        splits_of_earlier: accepted texts of other batches with their split, columns sample_id, text, split.
    """

    model: RecipeModel
    batch: Mapping[str, Any]
    owed: Mapping[str, int]
    templates: pl.DataFrame = field(default_factory=_empty("prompt_templates"))
    requests: pl.DataFrame = field(default_factory=_empty("requests"))
    generations: pl.DataFrame = field(default_factory=_empty("generations"))
    samples: pl.DataFrame = field(default_factory=_empty("samples"))
    assessments: pl.DataFrame = field(default_factory=_empty("assessments"))
    tags: pl.DataFrame = field(default_factory=_empty("tags"))
    decisions: pl.DataFrame = field(default_factory=_empty("decisions"))
    examples: pl.DataFrame = field(default_factory=_empty("training_examples"))
    texts: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"sample_id": pl.String, "text": pl.String})
    )
    earlier: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EARLIER_SCHEMA))
    protected: tuple[str, ...] = ()
    protected_before: int = 0

    @property
    def is_ingested(self) -> bool:
        """Whether the samples were made elsewhere: nothing was planned, so no rate can be judged."""
        return bool(self.batch["promised"] == 0)

    @property
    def latest_attempt(self) -> int:
        """Number of the latest attempt; 0 before the first."""
        return int(self.batch["attempts"])


def read_evidence(lake: Lake, model: RecipeModel, batch: str, *, protected: tuple[str, ...]) -> Evidence:
    """Return what the lake holds about a batch, every row proven.

    Raises:
        IntegrityError: a row is not what its audit entry bound.
    """
    dataset = model.dataset
    here = {"dataset": dataset, "batch": batch}
    return Evidence(
        model=model,
        batch=proven_batch(lake, **here),
        owed=promise_of(lake, model, batch).owed,
        templates=proven(lake, "prompt_templates", dataset=dataset),
        requests=proven(lake, "requests", **here),
        generations=proven(lake, "generations", **here),
        samples=proven(lake, "samples", **here),
        assessments=proven(lake, "assessments", **here),
        tags=proven(lake, "tags", **here),
        decisions=proven(lake, "decisions", **here),
        examples=proven(lake, "training_examples", **here),
        texts=texts_of(lake, **here),
        earlier=earlier_accepted(lake, dataset, before=batch),
        protected=protected,
        protected_before=_protected_before(lake, dataset),
    )


def _protected_before(lake: Lake, dataset: str) -> int:
    """Return the greatest number of protected texts an entry says a batch was compared with."""
    ready = [entry for entry in lake.chain(dataset).entries if entry.action == Stage.TRAINING_READY]
    return max((int(entry.details.get("protected", 0)) for entry in ready), default=0)


def read_generated(lake: Lake, model: RecipeModel, batch: str) -> Evidence:
    """Return what the gates of `generated` look at; assessments, decisions and texts come later and stay empty."""
    here = {"dataset": model.dataset, "batch": batch}
    return Evidence(
        model=model,
        batch=proven_batch(lake, **here),
        owed=promise_of(lake, model, batch).owed,
        templates=proven(lake, "prompt_templates", dataset=model.dataset),
        requests=proven(lake, "requests", **here),
        generations=proven(lake, "generations", **here),
        samples=proven(lake, "samples", **here),
    )


def proven_batch(lake: Lake, dataset: str, batch: str) -> dict[str, Any]:
    """Return a batch's row of `batches`, as its entries made it; the claim made sure there is one."""
    row = proven_state(lake, "batches", dataset=dataset, batch=batch)
    if row is None:
        raise LookupError(f"{dataset} {batch} was never claimed")
    return row


def texts_of(lake: Lake, **equals: Any) -> pl.DataFrame:
    """Return all text of stored samples as a person would read it, columns sample_id, text, one row per sample."""
    stored = fields_of(lake, **equals)
    is_plain = stored["field"] != MESSAGES
    if not is_plain.all():
        texts = [readable(field, text) for field, text in stored.select("field", "text").iter_rows()]
        stored = stored.with_columns(pl.Series("text", texts, dtype=pl.String))
    return stored.group_by("sample_id", maintain_order=True).agg(pl.col("text").str.join("\n"))


def fields_of(lake: Lake, **equals: Any) -> pl.DataFrame:
    """Return the fields of stored samples as `TEXTS_SCHEMA`, a sample's fields in reading order."""
    stored = lake.payload("texts", TEXTS_SCHEMA, **equals)
    return stored.unique(["sample_id", "field"], keep="last", maintain_order=True)


def earlier_accepted(lake: Lake, dataset: str, *, before: str) -> pl.DataFrame:
    """Return the accepted samples of other batches as `EARLIER_SCHEMA`, in a stable order."""
    decisions = proven(lake, "decisions", dataset=dataset).filter(
        (pl.col("decision") == Decision.ACCEPTED) & (pl.col("batch") != before)
    )
    if decisions.is_empty():
        return pl.DataFrame(schema=EARLIER_SCHEMA)
    words = lake.read("assessments", dataset=dataset, name=str(Assessment.WORDS)).select(
        "sample_id", pl.col("value").alias("words")
    )
    labels = lake.read("samples", dataset=dataset).select("sample_id", "label")
    joined = decisions.join(labels, on="sample_id").join(words, on="sample_id", how="left").sort("batch", "sample_id")
    joined = joined.with_columns(pl.col("batch").is_in(_green(lake, dataset)).alias("is_green"))
    return joined.join(_writers(lake, dataset), on="batch", how="left").select(list(EARLIER_SCHEMA))


def models_of(requests: pl.DataFrame, samples: pl.DataFrame) -> list[str]:
    """Return the models that wrote some samples, sorted.

    Args:
        requests: columns request_id, model.
        samples: column request_id.
    """
    return sorted(requests.join(samples.select("request_id"), on="request_id", how="semi")["model"].unique())


def _writers(lake: Lake, dataset: str) -> pl.DataFrame:
    """Return the models of every generated batch by its entry; those of an earlier time did not say."""
    chain = lake.chain(dataset)
    said = {batch: chain.latest(Stage.GENERATED, batch) for batch in chain.batches()}
    rows = [(batch, entry.details.get("models")) for batch, entry in said.items() if entry is not None]
    return pl.DataFrame(rows, schema={"batch": pl.String, "models": pl.List(pl.String)}, orient="row")


def _green(lake: Lake, dataset: str) -> list[str]:
    commits = stage_commits(lake, dataset).partition_by("partition", as_dict=True)
    return [str(key[0]) for key, rows in commits.items() if standing(rows).is_green]
