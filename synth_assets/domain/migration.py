"""Binding what was written before entries bound their rows: everything once, if nothing contradicts it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from synth_assets.domain import fingerprints
from synth_assets.domain.binding import Rows, by_scope, fingerprint, state_of
from synth_assets.domain.chain import Chain
from synth_assets.domain.ids import content_sha256
from synth_assets.tables import TABLES, Bound
from synth_assets.vocabulary import Stage

Tables = Mapping[str, pl.DataFrame]
"""Every table's rows of one dataset."""

WRITTEN: dict[Stage, Callable[[Tables], str]] = {
    Stage.GENERATED: lambda rows: fingerprints.of_generated(rows["generations"], rows["samples"]),
    Stage.SCORED: lambda rows: fingerprints.of_scored(rows["assessments"]),
    Stage.CURATED: lambda rows: fingerprints.of_curated(rows["decisions"]),
    Stage.TRAINING_READY: lambda rows: fingerprints.of_training_ready(rows["training_examples"]),
}
"""What entries of the first form say of a batch's rows: a hash of the columns that matter most, by stage."""


def bound(tables: Tables, journal: Iterable[tuple[str, str, int, str]]) -> dict[str, Any]:
    """Return what the entry of a migration binds.

    Args:
        tables: every table's rows of the dataset.
        journal: batch, name, bytes and sha256 of every segment.

    Returns:
        ``rows`` as [table, scope, count, sha256], ``state`` as [table, values], ``payload`` as [kind, batch, name],
        ``journal`` as [batch, segment, bytes, sha256].
    """
    objects = tables["objects"].select("kind", "batch", pl.col("object_sha256") + pl.col("suffix"))
    return {
        "rows": [
            [name, list(scope), found.count, found.sha256]
            for name, rows in sorted(tables.items())
            if TABLES[name].bound is Bound.ROWS
            for scope, found in scopes(name, rows).items()
        ],
        "state": [
            [name, state_of(name, row)[1]]
            for name, rows in sorted(tables.items())
            if TABLES[name].bound is Bound.STATE
            for row in rows.iter_rows(named=True)
        ],
        "payload": [list(row) for row in sorted(objects.iter_rows(), key=str)],
        "journal": [list(each) for each in journal],
    }


def scopes(table: str, rows: pl.DataFrame) -> dict[tuple[Any, ...], Rows]:
    """Return count and hash of rows by the scope of their table."""
    return {
        scope: Rows(part.height, fingerprint(table, part))
        for scope, part in sorted(by_scope(table, rows).items(), key=str)
    }


def contradiction(chain: Chain, tables: Tables, texts: pl.DataFrame) -> str | None:
    """Return what the rows say against the entries of the first form, as far as those say anything; None if nothing.

    Args:
        chain: of the dataset, with no entry but of the first form.
        tables: every table's rows of the dataset.
        texts: their text, columns sample_id, field, text, in reading order.
    """
    wrong = [*_commits(chain, tables["stage_commits"]), *_objects(chain, tables["objects"])]
    wrong += _versions(chain, tables["dataset_versions"]) if not wrong else []
    return (
        next(iter(wrong), None)
        or next(_batches(chain, tables), None)
        or next(_contents(tables["samples"], texts), None)
    )


def _commits(chain: Chain, commits: pl.DataFrame) -> list[str]:
    said = {key: entry for key, entry in chain.keys.items() if entry.partition is not None}
    wrong = []
    for row in commits.iter_rows(named=True):
        entry = said.pop(row["commit_key"], None)
        told = None if entry is None else (entry.details.get("passed"), entry.details.get("output"), entry.seq)
        if told != (row["passed"], row["output_digest"], row["commit_seq"]):
            wrong.append(f"stage_commits says of {row['partition']} {row['stage']} what its entry does not say")
    return wrong + [f"stage_commits lacks entry {entry.seq}" for entry in said.values()]


def _objects(chain: Chain, objects: pl.DataFrame) -> list[str]:
    names = (objects["object_sha256"] + objects["suffix"]).to_list()
    return [f"objects names a file that no entry names: {name}" for name in names if name not in chain.objects]


def _versions(chain: Chain, versions: pl.DataFrame) -> list[str]:
    stored = dict(zip(versions["version"], versions["manifest_sha256"], strict=True))
    told = {number: released.manifest_sha256 for number, released in chain.releases.items()}
    return [] if stored == told else ["dataset_versions names other manifests than the chain"]


def _batches(chain: Chain, tables: Tables) -> Iterator[str]:
    by_batch = {
        name: tables[name].partition_by("batch", as_dict=True)
        for name in ("generations", "samples", "assessments", "decisions", "training_examples")
    }
    for batch in chain.batches():
        rows = {name: parts.get((batch,), tables[name].clear()) for name, parts in by_batch.items()}
        for stage, written in WRITTEN.items():
            entry = chain.latest(stage, batch)
            if entry is not None and entry.details.get("output") != written(rows):
                yield f"the rows that {stage} wrote for {batch} are not those its entry hashed"


def _contents(samples: pl.DataFrame, texts: pl.DataFrame) -> Iterator[str]:
    """Entries hashed the content hashes of samples, and not the labels these were made of."""
    fields: dict[str, dict[str, str]] = {}
    for sample, field, text in texts.select("sample_id", "field", "text").iter_rows():
        fields.setdefault(sample, {})[field] = text
    for sample, content, label in samples.select("sample_id", "content_sha256", "label").iter_rows():
        if sample in fields and content_sha256(fields[sample], label) != content:
            yield f"the label or the text of sample {sample} is not the one its content hash was made of"
