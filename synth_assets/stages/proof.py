"""Proof that a release folder still is what was released, for whoever reads from it or builds on it.

A version that was released is proven, never judged: against the audit entry that cut it, and nothing else decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import sha256
from synth_assets.checks.proof import prove_state
from synth_assets.domain.chain import RESTORE, Released
from synth_assets.domain.release import told_content
from synth_assets.domain.settling import settling
from synth_assets.domain.transactions import Lake
from synth_assets.domain.versioning import MEMBER, digest_of
from synth_assets.errors import IntegrityError, UsageError

MANIFEST, LINES = "manifest.json", "samples.jsonl"


@dataclass(frozen=True)
class ProvenRelease:
    """A version whose files are what its audit entry says.

    Attributes:
        row: of `dataset_versions`.
        released: what the entry says.
        files: bytes by path inside the folder.
        folder: where they were read.
    """

    row: Mapping[str, Any]
    released: Released
    files: Mapping[str, bytes]
    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the manifest says."""
        return dict(orjson.loads(self.files[MANIFEST]))

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines of `samples.jsonl`, each with its line break."""
        return self.files[LINES].splitlines(keepends=True)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The same, read."""
        return [orjson.loads(line) for line in self.lines]

    @cached_property
    def members(self) -> pl.DataFrame:
        """Members by the lines, columns of `versioning.MEMBER`, sorted by sample_id."""
        return members_in(self.rows)


def members_in(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the members that lines name, columns of `versioning.MEMBER`, sorted by sample_id."""
    told = [{name: row[name] for name in MEMBER} for row in rows]
    return pl.DataFrame(told, schema=dict.fromkeys(MEMBER, pl.String)).sort("sample_id")


@settling
def proven_release(lake: Lake, releases: Path, dataset: str, number: int) -> ProvenRelease:
    """Return a released version, proven.

    Args:
        lake: the lake.
        releases: folder of all releases.
        dataset: whose.
        number: of the version.

    Raises:
        UsageError: the chain knows no such version.
        IntegrityError: folder, files, lines, or the catalog's row about it are not what was released.
    """
    chain = lake.chain(dataset)
    released = chain.releases.get(number)
    if released is None:
        raise UsageError(
            f"{dataset[:64]} has no version v{number}",
            where=f"{dataset[:64]}@v{number}",
            fix=f"`synth versions {dataset[:64]}` lists what there is",
        )
    rows = lake.read("dataset_versions", dataset=dataset, version=number).to_dicts()
    prove_state(chain, "dataset_versions", rows, {"dataset": dataset, "version": number})
    if [row["manifest_sha256"] for row in rows] != [released.manifest_sha256]:
        raise IntegrityError(
            f"the catalog has another manifest of v{number} than the audit",
            where=f"dataset_versions, {dataset} version {number}",
            fix=RESTORE,
        )
    folder, files = proven_lines(releases / dataset, number, str(rows[0]["digest"]), released.manifest_sha256)
    proven = ProvenRelease(rows[0], released, files, folder)
    if len(proven.rows) != proven.row["num_samples"]:
        raise _broken("the release has another number of lines than was recorded", folder / LINES)
    return proven


def proven_lines(folder: Path, number: int, digest: str, manifest_sha256: str) -> tuple[Path, dict[str, bytes]]:
    """Return the folder of a version and its files, whose lines are what their content hashes and the digest say.

    Raises:
        IntegrityError: a file, a line's content or the membership is not what was recorded.
    """
    target = adopted(folder, number, digest)
    files = proven_files(target, manifest_sha256)
    rows = [orjson.loads(line) for line in files.get(LINES, b"").splitlines()]
    changed = next((row["sample_id"] for row in rows if told_content(row) != row["content_sha256"]), None)
    if changed is not None:
        raise _broken(f"the content of sample {changed} is not what its hash says", target / LINES)
    members = pl.DataFrame(
        [{name: row[name] for name in MEMBER} for row in rows], schema=dict.fromkeys(MEMBER, pl.String)
    )
    if digest_of(members) != digest:
        raise _broken("the lines of the release are not those its digest was made of", target / LINES)
    return target, files


def adopted(folder: Path, number: int, digest: str) -> Path:
    """Return a version's folder; one whose process died between its commit and its rename gets its name now."""
    target, staged = folder / f"v{number}", folder / staged_name(digest)
    if target.exists() or target.is_symlink() or not staged.is_dir() or staged.is_symlink():
        return target
    try:
        staged.rename(target)
    except OSError:  # a disk that is only read: the bytes are proven where they lie
        return staged
    return target


def staged_name(digest: str) -> str:
    """Return what a release folder is called until its commit."""
    return f".staged-{digest[:16]}"


def proven_files(folder: Path, manifest_sha256: str) -> dict[str, bytes]:
    """Return the files of a release folder by their path inside.

    Raises:
        IntegrityError: the folder is not what its manifest says, or the manifest is not the one that was recorded.
    """
    files = read_folder(folder)
    if MANIFEST not in files:
        raise _broken("the manifest of the release is gone", folder / MANIFEST)
    if sha256(files[MANIFEST]) != manifest_sha256:
        raise _broken("the manifest of the release is not the one that was recorded", folder / MANIFEST)
    promised = orjson.loads(files[MANIFEST])["files"]
    for name in sorted(set(promised) | (set(files) - {MANIFEST})):
        if name not in files:
            raise _broken("a file of the release is gone", folder / name)
        if name not in promised:
            raise _broken("the release folder holds a file its manifest does not name", folder / name)
        if len(files[name]) != promised[name]["bytes"] or sha256(files[name]) != promised[name]["sha256"]:
            raise _broken("a file of the release was changed", folder / name)
    return files


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return every file under a release folder by its path inside.

    Raises:
        IntegrityError: the folder, or something in there, is a link or anything else than a plain file or folder.
    """
    if folder.is_symlink():
        raise _broken("the release folder is a link", folder)
    files: dict[str, bytes] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise _broken("a release holds plain files only, and this is none", file)
        if file.is_file():
            files[file.relative_to(folder).as_posix()] = file.read_bytes()
    return files


def _broken(what: str, where: Path) -> IntegrityError:
    return IntegrityError(what, where=str(where), fix="restore the release folder from a backup")
