"""Where Dagster keeps the project's runs, events, artifacts and logs.

``dagster.yaml`` names the three classes below. Web server, daemon, run workers and the command line each build them
and read the same environment, so all of them find the same place whatever the current folder is. The address of a
server stays in the environment: Dagster hands instance configuration to its children on their command lines.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from filelock import FileLock

from resources.places import PROJECT, synth_home
from synth_assets.errors import UsageError

_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?://")


def dagster_home() -> Path:
    """Return the folder of everything local to Dagster; with a server, runs and events are not in it."""
    named = os.environ.get("SYNTH_INSTANCE", "")
    if named and "://" not in named:
        return Path(named).expanduser().absolute()
    return synth_home() / "dagster"


def server_url() -> str | None:
    """Return the address of the Postgres server for runs and events, or None when they are files.

    ``SYNTH_INSTANCE`` decides; without it, a ``SYNTH_CATALOG`` on Postgres is shared. A bare ``postgresql://`` gets the
    one driver that dagster-postgres works with.

    Raises:
        UsageError: ``SYNTH_INSTANCE`` is the address of something else.
    """
    named = os.environ.get("SYNTH_INSTANCE")
    address = named or os.environ.get("SYNTH_CATALOG", "")
    if _POSTGRES.match(address):
        return _POSTGRES.sub("postgresql+psycopg2://", address, count=1)
    if named and "://" in named:
        raise UsageError(
            f"runs cannot be kept in a {named.partition('://')[0]} server",
            where="SYNTH_INSTANCE",
            fix="set it to a folder or to postgresql+psycopg2://user:password@host/database, or unset it",
        )
    return None


def instance_for(home: Path) -> dg.DagsterInstance:
    """Open the instance that the project's ``dagster.yaml`` describes, from any current folder.

    What a run of this process prints stays in its terminal: Dagster's capture would send the progress bar through a
    file and a child ``tail``, which outlives a killed parent and keeps its pipes open.

    Args:
        home: folder of what is local, usually `dagster_home`; made if it is missing. Use the result in a ``with``
            block, or call its ``dispose``.

    Raises:
        UsageError: there is no ``dagster.yaml``, so this is not a checkout.
    """
    if not (PROJECT / "dagster.yaml").is_file():
        raise UsageError(
            "the project's dagster.yaml is missing",
            where=str(PROJECT),
            fix="run from a checkout: `make install` there installs the packages in place",
        )
    here = {"home": str(home.absolute())}
    overrides = {
        "storage": {"custom": _pointer(InstanceStorage, here)},
        "local_artifact_storage": _pointer(InstanceArtifacts, here),
        "compute_logs": {
            "module": NoOpComputeLogManager.__module__,
            "class": NoOpComputeLogManager.__name__,
            "config": {},
        },
    }
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), config_dir=str(PROJECT), overrides=overrides))


class _AtHome(ConfigurableClass):
    """The one setting the three classes share; without it they use `dagster_home`."""

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """Return the settings ``dagster.yaml`` may give."""
        return {"home": dg.Field(dg.StringSource, is_required=False, description="An absolute folder.")}


class InstanceStorage(_AtHome, DagsterStorage):
    """Runs, events and schedules: SQLite files, or the Postgres server the environment names."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping) -> DagsterStorage:
        """Return Dagster's own storage of the chosen kind; this class is never instantiated itself.

        One process at a time: the constructors create missing tables, and two that do so at once leave two rows in
        ``alembic_version``, after which nobody can open the files again.
        """
        home, url = _home(config_value), server_url()
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "storage.lock"):
            if url is None:
                return DagsterSqliteStorage.from_local(str(home), inst_data=inst_data)
            from dagster_postgres import DagsterPostgresStorage

            return DagsterPostgresStorage(url, inst_data=inst_data)


class InstanceArtifacts(_AtHome, LocalArtifactStorage):
    """Files that a run leaves for Dagster."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping) -> LocalArtifactStorage:
        """Return Dagster's storage on an absolute folder."""
        return LocalArtifactStorage(str(_home(config_value)), inst_data=inst_data)


class InstanceLogs(_AtHome, LocalComputeLogManager):
    """What a run printed."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping
    ) -> LocalComputeLogManager:
        """Return Dagster's log files on an absolute folder."""
        return LocalComputeLogManager(str(_home(config_value) / "storage"), inst_data=inst_data)


def _home(config: Mapping) -> Path:
    return Path(config["home"]) if "home" in config else dagster_home()


def _pointer(cls: type[_AtHome], config: dict[str, str]) -> dict[str, object]:
    return {"module": cls.__module__, "class": cls.__name__, "config": config}
