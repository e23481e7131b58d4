"""`synth ui`: the web UI and the daemon of this home, on a port that is free, and nothing left behind when it ends."""

import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import yaml

from resources.daemon import refuse_second
from resources.home import MEANT
from resources.places import PROJECT
from synth_assets.cli.project import Project
from synth_assets.cli.services import Service, keep_running
from synth_assets.errors import StoppedError, UsageError

HOST = "127.0.0.1"
HIGHEST_PORT = 65_535
PORTS_TRIED = 100
OUTLIVES_S = "60"
"""How long the process that holds the code does without its server: on a busy machine Dagster's 20 s are too few."""


@click.command()
@click.option("--port", type=click.IntRange(1, HIGHEST_PORT), default=3000, show_default=True, help="Port on loopback.")
def ui(*, port: int) -> None:
    """Start the web UI with schedules and sensors on 127.0.0.1, until Ctrl-C.

    INT, TERM and HUP end it with everything it started; under nohup HUP is ignored. A second signal ends at once.
    """
    refuse_taken(port)
    home_id = Project(may_begin=True).begin()
    refuse_second()
    with TemporaryDirectory(prefix="synth-ui-") as folder:
        ended = keep_running(_services(Path(folder), port), {MEANT: home_id})
    if ended is not None:
        raise StoppedError(
            f"the {ended.name} could not be kept running (exit {ended.code}); everything was ended",
            where=f"http://{HOST}:{port}",
            fix="its last lines above say why; `synth doctor` looks at the rest",
        )


def _services(folder: Path, port: int) -> list[Service]:
    """Return what the web UI is made of: the code it shows, the daemon that acts on it, and the pages.

    Each lives and dies alone, as in a deployment: batches that run are children of the code servers only. Modules of
    ``workspace.yaml`` get a server each; what else it names is handed on as it is.

    Args:
        folder: for the code servers' sockets and the file that names them to the others.
        port: of the pages.
    """
    named = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    servers, entries = [], []
    for number, entry in enumerate(named):
        module = entry.get("python_module")
        at = folder / f"code-{number}.sock"
        servers += [_code_server(module, at)] if module else []
        entries += [{"grpc_server": {"socket": str(at), "location_name": module["location_name"]}} if module else entry]
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": entries}), encoding="utf-8")
    daemon = [sys.executable, "-m", "resources.daemon", "run", "--workspace", str(workspace)]
    pages = [sys.executable, "-m", "dagster_webserver", "--host", HOST, "--port", str(port), "-w", str(workspace)]
    return [*servers, Service("daemon", daemon), Service("web server", pages)]


def _code_server(module: dict[str, str], at: Path) -> Service:
    name, location = module["module_name"], module["location_name"]
    command = [sys.executable, "-m", "dagster", "code-server", "start", "-m", name, "--location-name", location]
    return Service(
        f"code server of {location}",
        [*command, "--socket", str(at), "--log-level", "warning", "--heartbeat-ttl", OUTLIVES_S],
        is_ready=lambda: _answers(at),
    )


def _answers(socket_file: Path) -> bool:
    """Whether the code server has loaded the project and answers."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    if not socket_file.exists():
        return False
    try:
        DagsterGrpcClient(socket=str(socket_file)).list_repositories()
    except DagsterUserCodeUnreachableError:
        return False
    return True


def refuse_taken(port: int) -> None:
    """Refuse a port that nothing could listen on, naming one that is free.

    Raises:
        UsageError: somebody listens there, or the system does not let us.
    """
    if is_free(port):
        return
    others = range(port + 1, min(port + PORTS_TRIED, HIGHEST_PORT) + 1)
    free = next((other for other in others if is_free(other)), 0) or any_free()
    raise UsageError(
        f"port {port} cannot be listened on: it is taken or not allowed; nothing was started",
        where=f"{HOST}:{port}",
        fix=f"`make ui PORT={free}` (or `synth ui --port {free}`), which is free now, or end what listens there",
    )


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of this machine's loopback now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: an ended one's port is free
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            return False
    return True


def any_free() -> int:
    """Return a port of the system's choice."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
