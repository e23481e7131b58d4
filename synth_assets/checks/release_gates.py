"""The gates of a version and of a model run."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pandera.polars as pa
import polars as pl

from synth_assets.canonical import sha256
from synth_assets.checks.verdict import Verdict, asked, judged
from synth_assets.domain.scoring.copies import contamination
from synth_assets.domain.versioning import digest_of
from synth_assets.vocabulary import Decision, Stage

VERSION_GATES = {
    "digest": "The digest recorded for the version is that of its members.",
    "manifest": "The manifest is the recorded one, and every file of the release has the bytes it names.",
    "counts": "Members, lines of samples.jsonl and the recorded number agree.",
    "nothing_disabled": "Every member is an accepted sample.",
    "verdicts_rederived": "Every verdict of every batch inside comes out the same under the recipe it recorded.",
}
MODEL_RUN_GATES = {
    "frozen_test_set": "The model was measured on a registered test set, row for row.",
    "no_contamination": "No consumed sample resembles a row of the test or validation sets.",
    "version_not_marked": "No takedown touches the version it consumed.",
}
"""Names and sentences of the gates after the batch; the check specs are made from them."""

SENTENCES: dict[Stage, dict[str, str]] = {Stage.DATASET_VERSION: VERSION_GATES, Stage.MODEL_RUN: MODEL_RUN_GATES}
EXACTLY_ONE = pa.Check.eq(1)


@dataclass(frozen=True)
class Release:
    """A version as its gates see it.

    Attributes:
        digest: as recorded.
        num_samples: as recorded.
        manifest_sha256: as recorded; otherwise a manifest changed together with its files would go unseen.
        members: by the intervals, columns sample_id, content_sha256, split, batch.
        files: bytes of every file in the release folder by path.
        decisions: of the members.
        rederived: one row per verdict of the batches inside: id, recorded, derived.
    """

    digest: str
    num_samples: int
    manifest_sha256: str
    members: pl.DataFrame
    files: Mapping[str, bytes]
    decisions: pl.DataFrame
    rederived: pl.DataFrame


def judge_release(release: Release) -> list[Verdict]:
    """Ask every gate of a version; one that raises, on files that were tampered with, has failed."""
    gates = (_digest, _manifest, _counts, _nothing_disabled, _rederived)
    return [asked(name, gate, release) for name, gate in zip(VERSION_GATES, gates, strict=True)]


def _digest(release: Release) -> Verdict:
    derived = digest_of(release.members)
    frame = pl.DataFrame({"measure": ["digest"], "same": [int(derived == release.digest)]})
    return judged(
        "digest", frame, _schema("same"), id_column="measure", facts={"recorded": release.digest, "derived": derived}
    )


def _manifest(release: Release) -> Verdict:
    stored = release.files.get("manifest.json", b"{}")
    named = orjson.loads(stored).get("files", {})
    rows = [{"file": "manifest.json", "same": int(sha256(stored) == release.manifest_sha256)}]
    rows += [
        {"file": name, "same": int(name in release.files and sha256(release.files[name]) == entry["sha256"])}
        for name, entry in sorted(named.items())
    ]
    strays = sorted(set(release.files) - set(named) - {"manifest.json"})
    rows += [{"file": name, "same": 0} for name in strays]
    frame = pl.DataFrame(rows, schema={"file": pl.String, "same": pl.Int64})
    return judged("manifest", frame, _schema("same"), id_column="file", facts={"files": len(named)}, at_least=2)


def _counts(release: Release) -> Verdict:
    lines = release.files.get("samples.jsonl", b"").count(b"\n")
    facts = {"members": release.members.height, "lines": lines, "recorded": release.num_samples}
    frame = pl.DataFrame({"measure": ["counts"], "same": [int(len(set(facts.values())) == 1)]})
    return judged("counts", frame, _schema("same"), id_column="measure", facts=facts)


def _nothing_disabled(release: Release) -> Verdict:
    accepted = release.decisions.filter(pl.col("decision") == Decision.ACCEPTED).select(
        "sample_id", pl.lit(1, pl.Int64).alias("accepted")
    )
    frame = release.members.join(accepted, on="sample_id", how="left").with_columns(pl.col("accepted").fill_null(0))
    return judged("nothing_disabled", frame, _schema("accepted"), id_column="sample_id", facts={}, at_least=1)


def _rederived(release: Release) -> Verdict:
    frame = release.rederived.with_columns((pl.col("recorded") == pl.col("derived")).cast(pl.Int64).alias("same"))
    return judged("verdicts_rederived", frame, _schema("same"), id_column="id", facts={}, at_least=1)


@dataclass(frozen=True)
class Consumption:
    """A model run as its gates see it.

    Attributes:
        texts: columns sample_id, text: what was trained on.
        protected: texts no training sample may resemble.
        resemblance_at_most: from the recipe.
        evaluated_rows: rows each subject was measured on.
        test_rows: rows of the registered test set with the recorded hash; None if it is not registered.
        is_marked: whether a takedown touches the version.
    """

    texts: pl.DataFrame
    protected: tuple[str, ...]
    resemblance_at_most: float
    evaluated_rows: tuple[int, ...]
    test_rows: int | None
    is_marked: bool


def judge_consumption(run: Consumption) -> list[Verdict]:
    """Ask every gate of a model run; one that raises has failed."""
    gates = (_frozen_test_set, _no_contamination, _not_marked)
    return [asked(name, gate, run) for name, gate in zip(MODEL_RUN_GATES, gates, strict=True)]


def _frozen_test_set(run: Consumption) -> Verdict:
    evaluated = pl.DataFrame(
        {"row": range(len(run.evaluated_rows)), "rows": run.evaluated_rows}, schema={"row": pl.Int64, "rows": pl.Int64}
    )
    exactly = pa.DataFrameSchema({"rows": pa.Column(pl.Int64, pa.Check.eq(run.test_rows or -1))})
    facts = {"test_rows": run.test_rows}
    return judged("frozen_test_set", evaluated, exactly, id_column="row", facts=facts, at_least=1)


def _no_contamination(run: Consumption) -> Verdict:
    found = contamination(run.texts["text"].to_list(), list(run.protected))
    resembling = run.texts.select("sample_id").with_columns(found["value"].alias("resemblance"))
    at_most = pa.DataFrameSchema({"resemblance": pa.Column(pl.Float64, pa.Check.le(run.resemblance_at_most))})
    facts = {"compared_with": len(run.protected), "resemblance_at_most": run.resemblance_at_most}
    return judged("no_contamination", resembling, at_most, id_column="sample_id", facts=facts, at_least=1)


def _not_marked(run: Consumption) -> Verdict:
    marked = pl.DataFrame({"measure": ["marked"], "unmarked": [int(not run.is_marked)]})
    return judged("version_not_marked", marked, _schema("unmarked"), id_column="measure", facts={})


def _schema(column: str) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({column: pa.Column(pl.Int64, EXACTLY_ONE)})
