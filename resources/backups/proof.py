"""Whether a copy is whole: its chains are proven against its ledgers, and what they and the catalog name is in it."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from sqlite3 import Connection

from resources.backups.manifest import HOME, Head, Stored, named
from resources.home import CATALOG
from resources.lake import DuckLake
from resources.lake.head_file import VARIABLE as HEAD_FILE
from synth_assets.domain.chain import Chain
from synth_assets.errors import IntegrityError

FIX = "`synth audit verify` says what else is damaged; the backups there are stay as they are"
DATA_FILES = (
    "SELECT path FROM ducklake_data_file WHERE end_snapshot IS NULL "
    "UNION ALL SELECT path FROM ducklake_delete_file WHERE end_snapshot IS NULL"
)


def without_head_file(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables a copy is opened with: heads kept outside are of the home, and compared for themselves."""
    return {name: value for name, value in environ.items() if name != HEAD_FILE}


def data_files(catalog: Connection) -> set[str]:
    """Return the names of the Parquet files that a catalog needs."""
    return {PurePath(path).name for (path,) in catalog.execute(DATA_FILES)}


def proven(folder: Path, files: Mapping[str, Stored], needed: set[str], environ: Mapping[str, str]) -> dict[str, Head]:
    """Prove the copy of a home, and return the head of every chain in it.

    Args:
        folder: the copy.
        files: what is in it, by names in the backup.
        needed: names of Parquet files its catalog needs.
        environ: where the key of the audit is looked up.

    Raises:
        IntegrityError: it contradicts itself, or something is not in it.
    """
    there = {PurePath(name).name for name in files if name.startswith(f"{HOME}/lake/")}
    for name in sorted(needed - there):
        raise IntegrityError("a data file that the catalog names is gone", where=f"lake, {name}", fix=FIX)
    # Beside the copy and not in it: SQLite locks what it opens, and not every disk for backups has locks.
    with tempfile.TemporaryDirectory(prefix="synth-backup-") as beside:
        for part in folder.iterdir():
            if part.name != CATALOG:
                Path(beside, part.name).symlink_to(part)
        shutil.copyfile(folder / CATALOG, Path(beside, CATALOG))
        lake = DuckLake(Path(beside), None, without_head_file(environ), is_read_only=True)
        try:
            names = sorted({*lake.read("heads")["dataset"], *lake.ledger.datasets()})
            chains = [lake.chain(name) for name in names]
        finally:
            lake.close()
    for chain in chains:
        _refuse_unbacked(chain, files)
    return {chain.dataset: Head(chain.length, chain.head) for chain in chains if chain.length}


def _refuse_unbacked(chain: Chain, files: Mapping[str, Stored]) -> None:
    """Refuse a chain that names what is not in the copy."""
    for name in chain.objects:
        stored = files.get(f"{HOME}/objects/{name[:2]}/{name}")
        if stored is None or stored.sha256 != name[:64]:
            what = "is gone" if stored is None else "was changed"
            raise IntegrityError(f"a payload file of {chain.dataset} {what}", where=f"objects, {name}", fix=FIX)
    for (batch, segment), (size, _) in chain.journal.items():
        name = named(Path(HOME, "journal", chain.dataset, batch, segment))
        if name not in files or files[name].num_bytes < size:
            raise IntegrityError(f"a segment of the journal of {chain.dataset} is cut short", where=name, fix=FIX)
    manifests = {stored.sha256 for name, stored in files.items() if name.endswith("/manifest.json")}
    for release in chain.releases.values():
        if release.manifest_sha256 not in manifests:
            what = f"the release folder of {chain.dataset} v{release.version} is gone or was changed"
            raise IntegrityError(what, where="releases", fix=FIX)
