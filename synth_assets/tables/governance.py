"""Tables of who did what: heads, payload objects, usage and the audit chain."""

import pandera.polars as pa
import polars as pl

from synth_assets.tables.contract import INSTANT, column


class Homes(pa.DataFrameModel):
    """The home whose catalog this is; its marker and Dagster's instance say the same."""

    home_id: str = column("Drawn once, when the home was made.")
    made_at: INSTANT = column("When.")


class Heads(pa.DataFrameModel):
    """One row per dataset: the numbers that are taken by compare-and-swap."""

    dataset: str = column("Dataset.")
    head_version: pl.Int64 = column("Latest version; 0 before the first.", ge=0)
    audit_seq: pl.Int64 = column("Entries in the audit chain.", ge=0)
    audit_sha256: str = column("Hash of the last entry.")


class Objects(pa.DataFrameModel):
    """Payload files: everything with text lives in one of them and nowhere else."""

    dataset: str = column("Dataset.")
    batch: str = column("Batch; null for payload outside batches.", nullable=True)
    kind: str = column("What it holds.")
    object_sha256: str = column("Hash of its bytes, and its name.")
    suffix: str = column("File suffix.")
    num_bytes: pl.Int64 = column("Size.", unit="bytes", ge=0)
    stored_at: INSTANT = column("When.")


class UsageLog(pa.DataFrameModel):
    """Who released, exported, loaded or trained on what."""

    dataset: str = column("Dataset.")
    version: pl.Int64 = column("Version used.", ge=1)
    action: str = column("release, export, train or load_dataset.")
    actor: str = column("Who.")
    details: str = column("JSON: digest, run_id, purpose, destination and facts; never a path or sample text.")
    used_at: INSTANT = column("When.")


class AuditLog(pa.DataFrameModel):
    """A hash chain per dataset with one entry for every transaction."""

    dataset: str = column("Dataset.")
    seq: pl.Int64 = column("Place in the chain, from 1.", ge=1)
    previous_sha256: str = column("Hash of the entry before; zeros for the first.")
    entry_sha256: str = column("Hash of this entry and the one before.")
    commit_key: str = column("Idempotency key of the transaction.")
    action: str = column("What was done.")
    actor: str = column("Who did it.")
    run_id: str = column("Dagster run; empty outside one.")
    details: str = column("Canonical JSON of facts and hashes, never text.")
    entered_at: INSTANT = column("When.")
    hmac: str = column("HMAC-SHA256 of entry_sha256 under SYNTH_AUDIT_KEY; null where no key was set.", nullable=True)
