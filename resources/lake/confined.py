"""One query in a child process, under limits of the system: whatever the engine does, it ends in time and in bounds.

The engine's own limits do not count everything it allocates, and some functions cannot be interrupted.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import orjson
import polars as pl

from resources.lake.query import THREADS, TIME_LIMIT_S, run_query, too_large, took_too_long
from synth_assets.errors import BY_EXIT_CODE, SynthError

MEMORY_BYTES = 512 * 1024 * 1024
"""What a query may take beyond what the child needs to start; `MEMORY_LIMIT` says it to the engine."""

START_S = 10.0
"""What the child may take to start and to hand over its rows, beyond the time of the query."""

REFUSED = 10
"""Exit code of a child that was refused; its answer says why."""


def run_confined(home: Path, environ: Mapping[str, str], sql: str, limit: int | None) -> pl.DataFrame:
    """Return the result of one SELECT, computed in a child that cannot take more than its share; see `run_query`.

    Raises:
        SynthError: as `run_query` does, also when the system had to end the child.
    """
    asked = orjson.dumps({"home": str(home), "sql": sql, "limit": limit})
    command = [sys.executable, "-m", __name__]
    quiet = {**environ, "RUST_BACKTRACE": "0", "POLARS_MAX_THREADS": str(THREADS)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=quiet, **pipes) as child:  # noqa: S603 - our own interpreter and module
        try:
            answer, _ = child.communicate(asked, timeout=TIME_LIMIT_S + START_S)
        except subprocess.TimeoutExpired:
            raise took_too_long() from None
        finally:
            child.kill()
    if child.returncode == 0:
        return pl.read_ipc(BytesIO(answer))
    if child.returncode == REFUSED:
        told = orjson.loads(answer)
        raise BY_EXIT_CODE[told.pop("exit_code")](**told)
    raise took_too_long() if child.returncode == -signal.SIGXCPU else too_large()


def _confine() -> None:
    """Take away memory beyond what is in use now, and time; where the system cannot say, the engine's limits stay."""
    seconds = int(TIME_LIMIT_S + START_S) * THREADS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _answer(asked: Mapping[str, object]) -> int:
    """Compute a query and write its rows, or why there are none, to stdout; return the exit code."""
    sys.stdout.flush()
    try:
        frame = run_query(Path(str(asked["home"])), os.environ, str(asked["sql"]), asked["limit"], confine=_confine)
    except SynthError as error:
        told = {"exit_code": error.exit_code, "what": error.what, "where": error.where, "fix": error.fix}
        sys.stdout.buffer.write(orjson.dumps(told))
        return REFUSED
    frame.write_ipc(sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says what Ctrl-C did
    code = _answer(orjson.loads(sys.stdin.buffer.read()))
    sys.stdout.flush()
    os._exit(code)  # nothing is left to tidy, and a thread that is stuck must not keep us
