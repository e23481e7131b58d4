"""What generation costs beside its limits: the `generated` stage against a provider on the loopback.

``python -m benchmarks.generation [--only fixed,faulty,capped,memory,dagster] [--runs N]`` prints one Markdown table
with every figure, its goal and the distance to it: the median over the rounds, and the range. The stage runs on a real
DuckLake and the real generator in a process of its own (`one_batch`), the provider in another (`mock_provider`). A
share of the ideal is rows x latency / concurrency by the time from the provider's first request to the end of the
commit; how fast a plain client gets answers without latency shows that the provider is not what limits.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.mock_provider import HEAD_END, Running, mock_provider
from benchmarks.one_batch import MODEL

LATENCY_S = 0.2
CAP = 100.0
FAULTS = {"latency_s": LATENCY_S, "sigma": 0.5, "limited": 0.05, "broken": 0.02, "retry_after": "1"}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what is measured.
        goal: what it should be; None for figures that stand beside the others.
        is_floor: whether more is better.
    """

    name: str
    goal: float | None = None
    is_floor: bool = True
    digits: int = 2

    def line(self, values: Sequence[float]) -> str:
        """Return the Markdown row of the measured values."""
        median = statistics.median(values)
        show = f"{{:,.{self.digits}f}}".format
        goal = distance = ""
        if self.goal is not None:
            goal = f"{'at least' if self.is_floor else 'at most'} {show(self.goal)}"
            ahead = median - self.goal if self.is_floor else self.goal - median
            distance = f"{'met by' if ahead >= 0 else '**short by**'} {show(abs(ahead))}"
        return f"| {self.name} | {show(median)} | {show(min(values))} to {show(max(values))} | {goal} | {distance} |"


@dataclass
class Bench:
    """Homes to start from, and what was measured so far, in the order it was first seen."""

    folder: Path
    measured: dict[Figure, list[float]] = field(default_factory=dict)

    def note(self, figure: Figure, value: float) -> None:
        """Keep a value."""
        self.measured.setdefault(figure, []).append(value)

    def home(self, rows: int) -> Path:
        """Return a fresh copy of a home with so many planned requests."""
        planned = self.folder / f"planned-{rows}"
        if not planned.exists():
            child("plan", str(planned), str(rows))
        used = self.folder / "used"
        shutil.rmtree(used, ignore_errors=True)
        return shutil.copytree(planned, used)

    def batch(self, provider: Running, rows: int, concurrency: int, kind: str = "stage") -> dict[str, Any]:
        """Work off a batch; add what the provider saw and the life of the process."""
        home = self.home(rows)
        started = time.monotonic()
        found = child(kind, str(home), str(concurrency), SYNTH_LLM_BASE_URL=provider.base_url, SYNTH_HOME=str(home))
        found["process_s"] = time.monotonic() - started
        assert found["passed"], f"{kind} of {rows} rows did not pass: {found}"
        return finished(found, provider)


def child(*arguments: str, **variables: str) -> dict[str, Any]:
    """Run `one_batch` in a process of its own and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNTH_", "OPENAI_"))}
    environment = {**kept, "SYNTH_LLM_MODEL": MODEL, "SYNTH_LLM_API_KEY": "none", **variables}
    command = [sys.executable, "-m", "benchmarks.one_batch", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def finished(found: dict[str, Any], provider: Running) -> dict[str, Any]:
    """Add the provider's books and the seconds since its first request."""
    books = provider.stats()
    return {**found, "books": books, "took_s": found["ended_at"] - books["first_at"]}


def fixed(bench: Bench) -> None:
    """Measure with answers that all take as long."""
    for rows, concurrency, goal, kind in ((2_000, 64, 0.94, "stage"), (6_000, 256, 0.88, "stage")):
        ideal_s = rows * LATENCY_S / concurrency
        with mock_provider(latency_s=LATENCY_S) as provider:
            found = bench.batch(provider, rows, concurrency, kind)
        name = f"stage, {rows:,} rows at {concurrency}"
        bench.note(Figure(f"{name}: share of ideal", goal), ideal_s / found["took_s"])
        goal_ms = Figure(f"{name}: client CPU, ms per row", 0.6, is_floor=False)
        bench.note(goal_ms, found["cpu_s"] * 1000 / rows)
        for peer in ("openai", "aiohttp"):
            with mock_provider(latency_s=LATENCY_S) as provider:
                found = finished(child(peer, provider.base_url, str(rows), str(concurrency)), provider)
            label = {"openai": "raw AsyncOpenAI", "aiohttp": "plain aiohttp"}[peer]
            bench.note(Figure(f"{label}, {rows:,} calls at {concurrency}: share of ideal"), ideal_s / found["took_s"])
            bench.note(
                Figure(f"{label}, {rows:,} calls at {concurrency}: CPU, ms per call"), found["cpu_s"] * 1000 / rows
            )
    with mock_provider(latency_s=LATENCY_S) as provider:
        found = bench.batch(provider, 2_000, 64, "whole")
    bench.note(
        Figure("whole process without Dagster, 2,000 rows at 64: share of ideal", 0.80),
        2_000 * LATENCY_S / 64 / found["process_s"],
    )
    with mock_provider() as provider:
        bench.note(Figure("the provider without latency: answers/s to a plain client", 1_280, digits=0), rate(provider))


def rate(provider: Running, *, calls: int = 10_000, concurrency: int = 64) -> float:
    """Return the answers per second that bare sockets get, with a body as long as the batch's."""
    host, port = provider.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    body = b'{"messages": "%s"}' % (b"x" * 350)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nIdempotency-Key: %d\r\n\r\n"

    async def worker(numbers: Any) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            writer.write(head % (len(body), number) + body)
            answered = await reader.readuntil(HEAD_END)
            length = answered.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    async def all_of_them() -> float:
        started, numbers = time.monotonic(), iter(range(calls))
        await asyncio.gather(*(worker(numbers) for _ in range(concurrency)))
        return calls / (time.monotonic() - started)

    return asyncio.run(all_of_them())


def faulty(bench: Bench) -> None:
    """Measure with log-normal latency, 5 % refused for a second and 2 % broken."""
    for rows, goal in ((1_000, 0.65), (10_000, 0.85)):
        with mock_provider(**FAULTS) as provider:
            found = bench.batch(provider, rows, 64)
        name, books = f"faulty provider, {rows:,} rows at 64", found["books"]
        bench.note(Figure(f"{name}: share of ideal", goal), rows * LATENCY_S / 64 / found["took_s"])
        bench.note(Figure(f"{name}: client CPU, ms per row", 1.0, is_floor=False), found["cpu_s"] * 1000 / rows)
        bench.note(Figure(f"{name}: rows not delivered", 0, is_floor=False, digits=0), rows - found["samples"])
        bench.note(Figure(f"{name}: answers paid twice", 0, is_floor=False, digits=0), paid_twice(books))


def paid_twice(books: dict[str, Any]) -> int:
    """Return the answers beyond the first to the same call."""
    return sum((int(times) - 1) * calls for times, calls in books["paid"].items())


def capped(bench: Bench) -> None:
    """Measure at a cap of 100 requests a second while 320 could be sent."""
    rows = 2_000
    with mock_provider(latency_s=LATENCY_S, cap=CAP, burst=CAP) as provider:
        found = bench.batch(provider, rows, 64)
    name, books = f"capped at 100/s, {rows:,} rows at 64", found["books"]
    bench.note(Figure(f"{name}: share of the cap", 0.95), found["samples"] / CAP / found["took_s"])
    without = Figure(f"{name}: share of the cap, without what it lets through at once when rested")
    bench.note(without, (found["samples"] - CAP) / CAP / found["took_s"])
    bench.note(Figure(f"{name}: client CPU, ms per row", 1.0, is_floor=False), found["cpu_s"] * 1000 / rows)
    counts = {
        "rows not delivered": rows - found["samples"],
        "answers paid twice": paid_twice(books),
        "requests of a row inside its own Retry-After": books.get("same row in its window", 0),
        "requests of any row inside a Retry-After, once recognised": books.get("any row in a window", 0),
    }
    for what, count in counts.items():
        bench.note(Figure(f"{name}: {what}", 0, is_floor=False, digits=0), count)
    refused = Figure(f"{name}: refused requests per 1,000 rows", 37, is_floor=False, digits=0)
    bench.note(refused, books.get("refused", 0) * 1000 / rows)


def memory(bench: Bench) -> None:
    """Measure the peak above the imported process, without latency."""
    for rows, goal in ((2_000, 150), (100_000, 300)):
        with mock_provider() as provider:
            found = bench.batch(provider, rows, 64)
        figure = Figure(f"stage, {rows:,} rows: peak above the imported process, MB", goal, is_floor=False, digits=0)
        bench.note(figure, found["peak_mb"])


def dagster(bench: Bench) -> None:
    """Measure a Dagster run of `generated`."""
    rows, concurrency = 2_000, 64
    ideal_s = rows * LATENCY_S / concurrency
    with mock_provider(latency_s=LATENCY_S) as provider:
        found = bench.batch(provider, rows, concurrency, "dagster")
    name = f"through a Dagster run, {rows:,} rows at {concurrency}: share of ideal"
    bench.note(Figure(f"{name}, first request to end of run"), ideal_s / found["took_s"])
    bench.note(Figure(f"{name}, whole run"), ideal_s / found["run_s"])


PARTS: dict[str, Callable[[Bench], None]] = {each.__name__: each for each in (fixed, faulty, capped, memory, dagster)}


def main() -> int:
    """Measure and print; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"any of {','.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=3, help="rounds; each measures every chosen part once")
    asked = parser.parse_args()
    chosen = asked.only.split(",")
    if unknown := sorted(set(chosen) - set(PARTS)):
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for _ in range(asked.runs):
            for name in chosen:
                PARTS[name](bench)
                print(f"{name}: load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print("| figure | median | range | goal | distance |\n|---|---|---|---|---|")
    for figure, values in bench.measured.items():
        print(figure.line(values))
    return int(any("short by" in figure.line(values) for figure, values in bench.measured.items()))


if __name__ == "__main__":
    sys.exit(main())
