"""Tables of what was released, what was trained on it and how that went."""

import pandera.polars as pa
import polars as pl

from synth_assets.tables.contract import INSTANT, column


class DatasetVersions(pa.DataFrameModel):
    """Every released version of every dataset."""

    dataset: str = column("Dataset.")
    version: pl.Int64 = column("Number, from 1.", ge=1)
    digest: str = column("Hash of the sorted (sample_id, content_sha256, split).")
    parent_version: pl.Int64 = column("Version it came after; null for the first.", nullable=True, ge=1)
    cause: str = column("Why it was cut.", isin=["release", "disable", "rollback"])
    reason: str = column("What the person said; kept in the audit for ever.", nullable=True)
    num_samples: pl.Int64 = column("Members.", unit="samples", ge=0)
    manifest_sha256: str = column("Hash of the release folder's manifest.json.")
    recipe_sha256: str = column("Recipe in force.")
    is_marked: pl.Boolean = column("Whether a takedown touches it; training on it then needs force.")
    released_by: str = column("Actor.")
    released_at: INSTANT = column("When.")


class VersionMembers(pa.DataFrameModel):
    """Membership as intervals: a sample is in v if added_in <= v and (removed_in is null or v < removed_in)."""

    dataset: str = column("Dataset.")
    sample_id: str = column("Member.")
    content_sha256: str = column("Hash of its content.")
    split: str = column("Part of the data.", isin=["train", "validation", "test"])
    batch: str = column("Batch it came from.")
    added_in: pl.Int64 = column("First version that has it.", ge=1)
    removed_in: pl.Int64 = column("First version that has it no more; null while it is in.", nullable=True, ge=1)
    cause: str = column("Why it left; null while it is in.", nullable=True)


class DatasetAliases(pa.DataFrameModel):
    """Names that point at versions."""

    dataset: str = column("Dataset.")
    alias: str = column("Name, e.g. latest or production.")
    version: pl.Int64 = column("Version it points at.", ge=1)
    moved_by: str = column("Actor.")
    moved_at: INSTANT = column("When.")


class EvaluationDatasets(pa.DataFrameModel):
    """Frozen test sets, known by their hash."""

    name: str = column("Name in the recipe.")
    sha256: str = column("Hash of its rows in order; a changed test set is another test set.")
    num_rows: pl.Int64 = column("Rows.", unit="rows", ge=1)
    source: str = column("Where the rows were read from.")
    registered_at: INSTANT = column("When it was first used.")


class ModelRuns(pa.DataFrameModel):
    """Every training run: what it consumed and what came out."""

    dataset: str = column("Dataset.")
    model_run_id: str = column("Hash of digest, trainer, parameters, seed and test set.", unique=True)
    version: pl.Int64 = column("Version consumed.", ge=1)
    digest: str = column("Digest of that version.")
    trainer: str = column("Trainer.")
    params: str = column("Its parameters as canonical JSON.")
    seed: pl.Int64 = column("Seed of everything random.", ge=0)
    test_set_sha256: str = column("Frozen test set it was measured on.")
    model_sha256: str = column("Hash of the stored model.")
    num_samples: pl.Int64 = column("Training rows consumed.", unit="samples", ge=0)
    train_s: pl.Float64 = column("Time of fitting.", unit="s", ge=0)
    trained_at: INSTANT = column("When.")
    run_id: str = column("Dagster run.")


class ModelRunSamples(pa.DataFrameModel):
    """Which samples a model run consumed."""

    dataset: str = column("Dataset.")
    model_run_id: str = column("The run.")
    sample_id: str = column("A consumed sample.")


class Evaluations(pa.DataFrameModel):
    """Measured quality of a model run and of the baselines beside it."""

    dataset: str = column("Dataset.")
    model_run_id: str = column("The run.")
    subject: str = column("`model`, or the baseline's name.")
    metric: str = column("What was measured.")
    value: pl.Float64 = column("Point estimate.", unit="0..1")
    low: pl.Float64 = column("Lower end of the 95 % bootstrap interval.", unit="0..1")
    high: pl.Float64 = column("Upper end.", unit="0..1")
    train_rows: pl.Int64 = column("Rows it was trained on.", unit="rows", ge=0)
    test_rows: pl.Int64 = column("Rows it was measured on.", unit="rows", ge=1)
