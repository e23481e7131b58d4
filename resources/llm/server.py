"""The embedded model's server: a child process that runs llama.cpp on a loopback port.

Run as a plain script by `resources.llm.embedded`, so it imports nothing of the project. It ends when nobody needed it
for a while and when its port file is gone, be it deleted, replaced or lost with its folder.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TICK_S = 0.2
"""How often the server looks whether it is still needed."""

NONCE = "SYNTH_LLM_SERVER_NONCE"
"""Names the key of this one server in its environment: a command line is readable by everybody on the host."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until unneeded; exit code 3 if another server lives already."""
    options = _options(argv)
    alive = os.open(options.alive, os.O_RDWR | os.O_CREAT, 0o600)
    if not _try_lock(alive):
        return 3
    signal.alarm(options.start_limit_s)  # a load that hangs ends here, whatever it holds
    server = _serve(options)
    signal.alarm(0)
    _publish(options, f"{server.listening_address}/v1")
    _stay(options)
    os._exit(0)  # the runtime's threads hold nothing worth waiting for


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the embedded model on a loopback port.")
    for name in ("model", "alive", "lease", "start-lock", "port-file"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--alias", required=True)
    for name in ("threads", "slots", "context", "start-limit-s"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--idle-s", type=float, required=True)
    options = parser.parse_args(argv)
    options.nonce = os.environ[NONCE]
    return options


def _serve(options: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.alias}  # or answers would carry the file's path
    params.offline = True
    params.port = 0
    params.api_keys = [options.nonce]  # keeps web pages and other users out
    params.n_parallel = options.slots
    params.n_ctx = options.context * options.slots  # divided among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.ui = params.endpoint_slots = False
    params.verbosity = 1  # errors only: prompts have no place in a log
    return xllamacpp.Server(params)


def _publish(options: argparse.Namespace, base_url: str) -> None:
    """Make the port file appear whole, readable by its owner only."""
    staged = options.port_file.with_suffix(f".{os.getpid()}")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"base_url": base_url, "api_key": options.nonce, "pid": os.getpid()}, file)
    staged.replace(options.port_file)


def _stay(options: argparse.Namespace) -> None:
    """Return once the port file is not ours any more, or nobody held the lease for ``idle_s`` seconds."""
    lease = os.open(options.lease, os.O_RDWR | os.O_CREAT, 0o600)
    needed_at = time.monotonic()
    while _is_ours(options):
        if not _is_free(lease):
            needed_at = time.monotonic()
        elif time.monotonic() - needed_at >= options.idle_s and _leave(options, lease):
            return
        time.sleep(TICK_S)


def _leave(options: argparse.Namespace, lease: int) -> bool:
    """Withdraw the port file unless somebody is just looking for the server."""
    start = os.open(options.start_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(start) or not _is_free(lease):
            return False
        options.port_file.unlink(missing_ok=True)
        return True
    finally:
        os.close(start)


def _is_ours(options: argparse.Namespace) -> bool:
    try:
        return bool(json.loads(options.port_file.read_bytes())["api_key"] == options.nonce)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_free(handle: int) -> bool:
    if not _try_lock(handle):
        return False
    fcntl.flock(handle, fcntl.LOCK_UN)
    return True


if __name__ == "__main__":
    sys.exit(main())
