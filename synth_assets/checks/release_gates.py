"""The gates of a version and of a model run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pandera.polars as pa
import polars as pl

from synth_assets.canonical import sha256
from synth_assets.checks.verdict import Verdict, asked, judged
from synth_assets.domain.duplicates import duplicate_groups
from synth_assets.domain.parsing import readable
from synth_assets.domain.release import told_content, told_fields
from synth_assets.domain.scoring.copies import contamination
from synth_assets.domain.versioning import digest_of
from synth_assets.vocabulary import Stage

VERSION_GATES = {
    "digest": "The digest recorded for the version is that of its members.",
    "manifest": "The manifest is the recorded one, and every file of the release has the bytes it names.",
    "counts": "Members, lines of samples.jsonl and the recorded number agree.",
    "content": "The content hash of every line is that of its fields and label.",
    "verdicts_proven": "Every stage of every batch inside passed, and its audit entry says so.",
    "splits_apart": "No two near-duplicates lie in different splits, whatever batches they come from.",
}
LOOKED_AT = {
    name: "proven anew against the audit"
    if name in ("digest", "manifest", "counts", "content")
    else "judged when it was cut"
    for name in VERSION_GATES
}
"""What the gates of a version say when it is looked at: it was judged once, and is proven ever since."""

MODEL_RUN_GATES = {
    "frozen_test_set": "The model was measured on a registered test set, row for row.",
    "no_contamination": "No consumed sample resembles a row of the test or validation sets.",
    "version_not_marked": "No takedown touches the version it consumed.",
}
"""Names and sentences of the gates after the batch; the check specs are made from them."""

SENTENCES: dict[Stage, dict[str, str]] = {Stage.DATASET_VERSION: VERSION_GATES, Stage.MODEL_RUN: MODEL_RUN_GATES}
SHINGLE_WIDTH = 3
"""Words per shingle, as in the gates of a batch."""

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
        stages: of every batch inside, one row per stage: id, and passed as its audit entry says.
        resemblance_at_most: from the recipe; texts that resemble each other more are copies.
    """

    digest: str
    num_samples: int
    manifest_sha256: str
    members: pl.DataFrame
    files: Mapping[str, bytes]
    stages: pl.DataFrame
    resemblance_at_most: float

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of `samples.jsonl`, read."""
        return [orjson.loads(line) for line in self.files.get("samples.jsonl", b"").splitlines()]


def judge_release(release: Release) -> list[Verdict]:
    """Ask every gate of a version; one that raises, on files that were tampered with, has failed."""
    gates = (_digest, _manifest, _counts, _content, _stages_passed, _splits_apart)
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


def _content(release: Release) -> Verdict:
    lines = release.lines
    rows = [
        {"sample_id": line["sample_id"], "same": int(told_content(line) == line["content_sha256"])} for line in lines
    ]
    frame = pl.DataFrame(rows, schema={"sample_id": pl.String, "same": pl.Int64})
    return judged("content", frame, _schema("same"), id_column="sample_id", facts={}, at_least=1)


def _stages_passed(release: Release) -> Verdict:
    frame = release.stages.with_columns(pl.col("passed").cast(pl.Int64))
    return judged("verdicts_proven", frame, _schema("passed"), id_column="id", facts={}, at_least=1)


def _splits_apart(release: Release) -> Verdict:
    lines, groups = release.lines, 0
    crossing: dict[str, int] = {}
    if len({line["split"] for line in lines}) > 1:
        texts = ["\n".join(readable(name, value) for name, value in told_fields(line).items()) for line in lines]
        limit = min(math.nextafter(release.resemblance_at_most, math.inf), 1.0)
        found = duplicate_groups(texts, width=SHINGLE_WIDTH, threshold=limit)
        splits: dict[int, set[str]] = {}
        for line, group in zip(lines, found, strict=True):
            splits.setdefault(group, set()).add(line["split"])
        crossing = {line["sample_id"]: len(splits[group]) for line, group in zip(lines, found, strict=True)}
        groups = len(splits)
    rows = [{"sample_id": line["sample_id"], "splits": crossing.get(line["sample_id"], 1)} for line in lines]
    frame = pl.DataFrame(rows, schema={"sample_id": pl.String, "splits": pl.Int64})
    return judged("splits_apart", frame, _schema("splits"), id_column="sample_id", facts={"groups": groups}, at_least=1)


@dataclass(frozen=True)
class Consumption:
    """A model run as its gates see it.

    Attributes:
        texts: columns sample_id, text: what was trained on.
        protected: texts no training sample may resemble.
        resemblance_at_most: from the recipe.
        evaluated_rows: rows each subject was measured on.
        registered: sha256 and rows of the test set, as they were registered when a model of the dataset was first
            measured on a set of that name; as they are now if none was.
        test_set: sha256 of the rows it was measured on, computed from them, and their number.
        is_marked: whether a takedown touches the version.
    """

    texts: pl.DataFrame
    protected: tuple[str, ...]
    resemblance_at_most: float
    evaluated_rows: tuple[int, ...]
    registered: tuple[str, int]
    test_set: tuple[str, int]
    is_marked: bool


def judge_consumption(run: Consumption) -> list[Verdict]:
    """Ask every gate of a model run; one that raises has failed."""
    gates = (_frozen_test_set, _no_contamination, _not_marked)
    return [asked(name, gate, run) for name, gate in zip(MODEL_RUN_GATES, gates, strict=True)]


def _frozen_test_set(run: Consumption) -> Verdict:
    rows = [
        {"measured": f"subject {place}", "same": int(each == run.registered[1])}
        for place, each in enumerate(run.evaluated_rows)
    ]
    rows.append({"measured": "test set", "same": int(run.test_set == run.registered)})
    frame = pl.DataFrame(rows, schema={"measured": pl.String, "same": pl.Int64})
    facts = {"test_rows": run.test_set[1], "registered_rows": run.registered[1], "test_set_sha256": run.test_set[0]}
    return judged("frozen_test_set", frame, _schema("same"), id_column="measured", facts=facts, at_least=2)


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
