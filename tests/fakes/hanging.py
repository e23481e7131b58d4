"""A Dagster run in a process of its own that hangs until its input ends or it is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANGS = """
import sys, time
from pathlib import Path
import dagster as dg
from resources.instance import instance_for

@dg.op
def hangs():
    print("started", flush=True)
    sys.stdin.read()

@dg.job(executor_def=dg.in_process_executor)
def tiny_batch():
    hangs()

with instance_for(Path(sys.argv[1])) as instance:
    tiny_batch.execute_in_process(instance=instance, tags={"dagster/partition": "2026-11-01"}, raise_on_error=False)
"""
"""A run as any process executes it: its first event and its last go through the project's instance."""


@contextmanager
def hanging_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HANGS, str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process
    finally:
        process.kill()
        process.communicate()
