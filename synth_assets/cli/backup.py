"""`synth backup` and `synth restore`: a whole home into a folder while work goes on, and back."""

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth_assets.cli.output import as_json, counted, note, print_json, say

if TYPE_CHECKING:
    from resources.backups import Manifest, Restored
    from synth_assets.reports.restored import Lost

GOING_ON = (
    "  until that is settled, whatever proves a chain ends with exit 4: look for a newer backup first; without one, "
    "keep the file of heads as evidence and go on with a new one, as docs/backup.md says"
)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@as_json
def backup(*, folder: Path, is_json: bool) -> None:
    """Copy the home into DIR, new or empty, as it is at one moment; generating, releasing and training may go on.

    DIR gets `home/`, `instance/` (what Dagster keeps) and `backup.json`: every file with its sha256, and the head of
    every audit chain. Keep what --json prints where nobody who writes here can write.
    """
    from resources.backups import back_up
    from resources.instance import dagster_home
    from resources.places import synth_home

    swept: list[Path] = []
    try:
        manifest = back_up(synth_home(), dagster_home(), folder, os.environ, swept)
    finally:
        _tell_swept(swept)
    if is_json:
        print_json(manifest.document())
        return
    say(f"{counted(len(manifest.files), 'file')}, {manifest.num_bytes / 1e6:,.1f} MB in {folder.absolute()}")
    _say_heads(manifest)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@as_json
def restore(*, folder: Path, is_json: bool) -> None:
    """Bring the backup in DIR to SYNTH_HOME, which is new or empty.

    Every file is compared with the backup's manifest and every audit chain is verified before anything is put in its
    place. A batch that was being generated goes on with `synth run`; answers that are in the backup are not paid again.
    """
    from resources.backups import restored
    from resources.backups.backup import refuse_servers
    from resources.instance import dagster_home
    from resources.places import synth_home

    refuse_servers(os.environ)
    home, swept = synth_home(), []
    try:
        with restored(folder.absolute(), home, dagster_home(), swept) as found:
            lost = _proven(found)
            ended = _end_runs(found.instance)
    finally:
        _tell_swept(swept)
    if is_json:
        print_json(
            {"home": str(home), "ended_runs": ended, **_facts(found.manifest), "lost": [asdict(x) for x in lost]}
        )
    else:
        say(f"{counted(len(found.manifest.files), 'file')} of {found.manifest.made_at} restored to {home}")
        _say_heads(found.manifest)
        if ended:
            say(f"{counted(ended, 'run')} that went on when the backup was made: ended, and `synth run` goes on")
    _tell_lost(lost)


def _proven(found: "Restored") -> "list[Lost]":
    """Verify a restored home and return what it lacks; heads kept outside may be newer than it."""
    from resources.backups.proof import without_head_file
    from resources.lake import open_lake
    from resources.lake.head_file import head_file
    from synth_assets.reports.restored import lost, prove

    lake = open_lake(found.home, without_head_file(os.environ))
    try:
        prove(lake, found.manifest.heads)
        return lost(lake, found.manifest.heads, head_file(os.environ))
    finally:
        lake.close()


def _end_runs(instance: Path) -> int:
    """End the runs that no process works on any more; a home may have had none."""
    if not instance.is_dir():
        return 0
    from resources.instance import instance_for, storage_errors
    from resources.owners import end_all

    try:
        with instance_for(instance) as opened:
            return end_all(opened)
    except storage_errors() as error:
        note(f"what Dagster keeps cannot be read ({type(error).__name__}); it was backed up like that and is as it was")
        return 0


def _facts(manifest: "Manifest") -> dict[str, Any]:
    document = manifest.document()
    return {"made_at": manifest.made_at, "heads": document["heads"], "files": len(manifest.files)}


def _say_heads(manifest: "Manifest") -> None:
    for dataset, head in sorted(manifest.heads.items()):
        say(f"  {dataset}: entry {head.seq:,}, {head.sha256}")


def _tell_swept(swept: Iterable[Path]) -> None:
    for path in swept:
        note(f"removed what one that was killed had left: {path}")


def _tell_lost(lost: "list[Lost]") -> None:
    for each in lost:
        note(
            f"{each.dataset}: the backup ends at entry {each.restored_seq:,}, the head kept outside is entry "
            f"{each.kept_seq:,}, {each.kept_sha256}: what lies between is lost"
        )
    if lost:
        note(GOING_ON)
