"""Where Dagster keeps the project's runs, events, artifacts and logs.

``dagster.yaml`` names the three classes below. Web server, daemon, run workers and the command line each build them
and read the same environment, so all of them find the same place whatever the current folder is. The address of a
server stays in the environment: Dagster hands instance configuration to its children on their command lines.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import orjson
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from resources.home import Identity, refuse_other, strangers
from resources.locks import holding, instance_lock
from resources.places import PROJECT, synth_home
from resources.postgres import INSTANCE, instance_server
from resources.storage import SqliteStorage, postgres_storage
from synth_assets.errors import UsageError

LOCK_WAIT_S = 120
RETRYING = "Retrying failed database connection"
"""How Dagster begins a page of SQLAlchemy's advice, once for each of the five times it tries."""


def dagster_home() -> Path:
    """Return the folder of everything local to Dagster; with a server, runs and events are not in it."""
    named = os.environ.get(INSTANCE, "")
    if named and "://" not in named:
        return Path(named).expanduser().absolute()
    return synth_home() / "dagster"


def storage_place() -> str:
    """Return where runs and events are, for a person."""
    server = instance_server(os.environ)
    return f"{server.variable}, {server.shown}" if server else str(dagster_home())


def storage_errors() -> tuple[type[Exception], ...]:
    """Return what Dagster raises when its disk is full or its server is gone."""
    from sqlalchemy.exc import SQLAlchemyError

    if instance_server(os.environ) is None:
        return (SQLAlchemyError,)
    from dagster_postgres.utils import DagsterPostgresException

    return (SQLAlchemyError, DagsterPostgresException)


@contextmanager
def retries_in_one_line() -> Iterator[None]:
    """Say once, and shortly, that the server of runs and events does not answer; Dagster says it at length."""
    told = []

    def shortened(record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(RETRYING):
            return True
        record.msg, record.args = "the server of Dagster's runs does not answer; trying again for a while", ()
        told.append(record)
        return len(told) == 1

    root = logging.getLogger()
    root.addFilter(shortened)
    try:
        yield
    finally:
        root.removeFilter(shortened)


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


KNOWN = "synth/home"
"""Where an instance keeps which home its runs are of."""


def refuse_stranger(instance: dg.DagsterInstance, home: Identity | None) -> None:
    """Refuse to work on a home with the instance of another one: schedules there would make all its batches again.

    An instance that knows none yet is told.

    Raises:
        IntegrityError: it knows another.
    """
    storage = instance.run_storage
    if home is None:
        return
    said = storage.get_cursor_values({KNOWN}).get(KNOWN)
    if said is None:
        storage.set_cursor_values({KNOWN: orjson.dumps(asdict(home)).decode()})
    elif (other := Identity(**orjson.loads(said))) != home:
        raise strangers(home, other, which="Dagster's instance", where=storage_place())


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
        home, server = _home(config_value), instance_server(os.environ)
        refuse_other(synth_home(), os.environ)
        home.mkdir(parents=True, exist_ok=True)
        with holding(instance_lock(home, server), wait_s=LOCK_WAIT_S):
            if server is None:
                return SqliteStorage.from_local(str(home), inst_data=inst_data)
            return postgres_storage(server, inst_data=inst_data)


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
