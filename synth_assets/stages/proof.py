"""Proof that a release folder still is what was released, for whoever reads from it or builds on it."""

from pathlib import Path

import orjson

from synth_assets.canonical import sha256
from synth_assets.errors import IntegrityError
from synth_assets.stages.versions import read_folder

MANIFEST = "manifest.json"


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


def _broken(what: str, where: Path) -> IntegrityError:
    return IntegrityError(what, where=str(where), fix="restore the release folder from a backup")
