"""`synth export`: a copy of a released version for somebody else, proven against its manifest and written down."""

import shutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resources.objects import naming_the_disk
from synth_assets.cli.output import as_json, counted, print_json, say
from synth_assets.cli.project import Project
from synth_assets.domain.references import split_version
from synth_assets.errors import RefusedError, StoppedError, UsageError

if TYPE_CHECKING:
    from synth_assets.domain.transactions import Commit

ALWAYS = ("README.md", "manifest.json", "meta.json")
FORMATS = {"jsonl": ("samples.jsonl",), "parquet": ("data/",)}
"""Format to the files of a release, or the folders, that it takes beside those every export has."""


@click.command()
@click.argument("version")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), required=True, help="What the files are.")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="A folder that is new or empty.")
@click.option(
    "--force",
    is_flag=True,
    help="Export a version marked by a takedown (no command makes one yet); needs --reason.",
)
@click.option("--reason", default="", help="Why. It stays in the audit for ever.")
@as_json
def export(*, version: str, form: str, target: Path, force: bool, reason: str, is_json: bool) -> None:
    """Copy VERSION (DATASET@v1 or DATASET@latest) into a folder and write down who took it.

    The release is checked against its manifest first. The manifest comes along, so that whoever has the files can
    check them too.
    """
    from synth_assets.reports.releases import version_number
    from synth_assets.stages.proof import proven_release

    dataset, name = split_version(version)
    if force and not reason.strip():
        raise UsageError("--force needs a reason", where="--reason", fix="say why with --reason TEXT")
    project = Project()
    number = version_number(project.lake, dataset, name)
    release = proven_release(project.lake, project.home / "releases", dataset, number)
    row = release.row
    if row["is_marked"] and not force:
        raise RefusedError(
            f"{dataset} v{number} holds samples that were taken down",
            where=f"{dataset}@v{number}",
            fix=f"export a later version (`synth versions {dataset}`), or --force --reason TEXT",
        )
    files = _chosen(release.files, form)
    target = target.resolve()
    staged = _staged(files, target)
    try:  # written down before anybody can have the files
        facts = {"format": form, "files": len(files), "manifest_sha256": row["manifest_sha256"], "forced": force}
        project.lake.commit(_usage(row, facts, actor=project.lake.actor, purpose=reason))
        _put_in_place(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    if is_json:
        print_json({"dataset": dataset, "version": f"v{number}", "to": str(target), "files": sorted(files)})
    else:
        say(f"{dataset} v{number}: {counted(row['num_samples'], 'sample')} in {target} ({', '.join(sorted(files))})")


def _chosen(files: Mapping[str, bytes], form: str) -> dict[str, bytes]:
    wanted = FORMATS[form]
    return {name: data for name, data in files.items() if name in ALWAYS or name.startswith(wanted)}


def _staged(files: Mapping[str, bytes], target: Path) -> Path:
    """Write the files beside the target; it appears whole or not at all."""
    _refuse_taken(target)
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with naming_the_disk(target.parent):
            for name, data in files.items():
                file = staged / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
    except (OSError, StoppedError):
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return staged


def _refuse_taken(target: Path) -> None:
    is_empty = target.is_dir() and next(target.iterdir(), None) is None
    if target.exists() and not is_empty:
        raise RefusedError(
            "the target is not an empty folder", where=str(target), fix="name a folder that is new or empty"
        )


def _put_in_place(staged: Path, target: Path) -> None:
    """Rename the staged folder over a missing or empty one; the system refuses if somebody filled it meanwhile."""
    try:
        staged.replace(target)
    except OSError:
        _refuse_taken(target)
        raise


def _usage(version: Mapping[str, Any], facts: Mapping[str, Any], *, actor: str, purpose: str) -> "Commit":
    from synth_assets.domain.transactions import Commit
    from synth_assets.domain.usage import Usage

    used = Usage(
        dataset=version["dataset"],
        version=version["version"],
        action="export",
        actor=actor,
        at=datetime.now(UTC),
        digest=version["digest"],
        run_id="",
        purpose=purpose,
        destination="folder",
    )
    return Commit(
        dataset=used.dataset,
        key=f"export:{used.dataset}:v{used.version}:{uuid.uuid4().hex}",
        action="export",
        run_id="",
        details={**used.facts, **facts},
        changes=[used.row(**facts)],
    )
