"""One measured piece of work in a process of its own; the last line it prints is JSON.

``plan`` makes a home with a planned batch; ``stage`` and ``whole`` work it off with `stages.generation.generate`,
``dagster`` with a run that materializes `generated`; ``openai`` and ``aiohttp`` send as many requests without anything
around them. Times are read from the clock all processes of the machine share.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DATASET, BATCH = "tiny", "2026-11-01"
MODEL = "mock-1"
PROMPT = """\
---
name: talk
version: "1"
mode: chat
reply:
  format: text
---
## system
You write about houses, in plain words, and never repeat yourself.
## user
Write one {{ label }} paragraph, {{ tone }}, about {{ part }}. Mood: {{ rows.words[0].text }}, {{ rows.words[1].text }}.
"""


def cpu_s() -> float:
    """Return the CPU seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_mb(kind: str) -> float:
    """Return VmRSS (now) or VmHWM (at most so far) in MB; `ru_maxrss` would include the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    raise ValueError(kind)


def plan(home: Path, rows: int) -> dict[str, Any]:
    """Write a recipe, register its inputs and plan one batch."""
    from resources.claims import Claims
    from resources.lake import open_lake
    from synth_assets.recipe import load_recipe
    from synth_assets.stages import generation
    from synth_assets.stages.inputs import register_seeds, register_templates
    from synth_assets.stages.work import Work
    from tests.fakes.recipes import CHATS, write_recipe

    folder = write_recipe(
        home,
        files={"prompts/talk.md": PROMPT},
        batch={"accept": rows, "overdraw": 1.0},
        generator={"model": MODEL, "concurrency": 64, "max_tokens": 200},
    )
    recipe = load_recipe(folder)
    lake = open_lake(home, {})
    now = lambda: datetime.now(UTC)  # noqa: E731
    register_templates(recipe, lake, run_id="bench", at=now())
    register_seeds(recipe, lake, run_id="bench", at=now())
    claims = Claims(lake, home)
    work = Work(recipe, BATCH, lake, claims.hold(recipe.model, BATCH), "bench", now)
    provider = replace(CHATS, model=MODEL, model_id=MODEL)
    generation.plan(work, provider, generation.Wish())
    claims.release()
    return {"planned": rows}


def stage(home: Path, concurrency: int, *, is_all_loaded: bool) -> dict[str, Any]:
    """Work off the planned batch; what is imported late is loaded before the measuring starts, or when it is due."""
    from resources.llm import make_generator, warm_up

    if not is_all_loaded:
        warm_up()
    from resources.claims import Claims
    from resources.lake import open_lake
    from synth_assets.checks.verdict import prepare
    from synth_assets.recipe import load_recipe
    from synth_assets.stages import generation
    from synth_assets.stages.work import Work

    if is_all_loaded:
        import resources.llm.wire  # noqa: F401

        prepare()
    imported_mb = memory_mb("VmRSS")
    recipe = load_recipe(home / DATASET)
    settings = recipe.model.generator.model_copy(update={"concurrency": concurrency})
    lake = open_lake(home, {})
    claims = Claims(lake, home)
    work = Work(recipe, BATCH, lake, claims.hold(recipe.model, BATCH), "measured", lambda: datetime.now(UTC))
    generator = make_generator(settings, home=home, environ=os.environ)
    before = cpu_s()
    finished = generation.generate(work, generator, progress=lambda *_: None)
    ended_at, cpu = time.monotonic(), cpu_s() - before
    claims.release()
    lake.close()
    return {
        "ended_at": ended_at,
        "cpu_s": cpu,
        "peak_mb": memory_mb("VmHWM") - imported_mb,
        "passed": finished.passed,
        "answered": finished.facts["answered"],
        "samples": finished.facts["samples"],
    }


def through_dagster(home: Path) -> dict[str, Any]:
    """Materialize `generated` in a run on the project's own instance."""
    import warnings

    import dagster as dg

    warnings.simplefilter("ignore")
    from resources.instance import instance_for
    from synth_assets.definitions import build_defs
    from synth_assets.recipe import load_recipe

    recipe = load_recipe(home / DATASET)
    job = build_defs([recipe], home=str(home)).resolve_job_def(f"{DATASET}_batch")
    with instance_for(home / "dagster") as instance:
        started = time.monotonic()
        result = job.execute_in_process(
            instance=instance,
            partition_key=BATCH,
            asset_selection=[dg.AssetKey([DATASET, "generated"])],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        ended_at = time.monotonic()
    return {"ended_at": ended_at, "run_s": ended_at - started, "passed": result.success}


async def _in_flight(send: Callable[[int], Awaitable[object]], rows: int, concurrency: int) -> None:
    numbers = iter(range(rows))

    async def worker() -> None:
        for number in numbers:
            await send(number)

    await asyncio.gather(*(worker() for _ in range(concurrency)))


def _messages(number: int) -> list[dict[str, str]]:
    """As long as those of the batch."""
    return [
        {"role": "system", "content": "You write about houses, in plain words, and never repeat yourself."},
        {"role": "user", "content": f"Write one positive paragraph, wry, about the old roof. Mood: warm, {number}."},
    ]


async def _openai(base_url: str, rows: int, concurrency: int) -> None:
    import openai

    async with openai.AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0) as client:

        async def send(number: int) -> object:
            return await client.chat.completions.create(model=MODEL, messages=_messages(number), seed=number)

        await _in_flight(send, rows, concurrency)


async def _aiohttp(base_url: str, rows: int, concurrency: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(number: int) -> object:
            body = {"model": MODEL, "messages": _messages(number), "seed": number}
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                return await response.json()

        await _in_flight(send, rows, concurrency)


def peer(name: str, base_url: str, rows: int, concurrency: int) -> dict[str, Any]:
    """Send the requests with nothing around them."""
    if name == "openai":
        import openai.types.chat  # noqa: F401
    before = cpu_s()
    asyncio.run({"openai": _openai, "aiohttp": _aiohttp}[name](base_url, rows, concurrency))
    return {"ended_at": time.monotonic(), "cpu_s": cpu_s() - before}


def main() -> None:
    """Do what is asked and print what it took."""
    kind, *rest = sys.argv[1:]
    if kind == "plan":
        found = plan(Path(rest[0]), int(rest[1]))
    elif kind == "dagster":
        found = through_dagster(Path(rest[0]))
    elif kind in ("stage", "whole"):
        found = stage(Path(rest[0]), int(rest[1]), is_all_loaded=kind == "stage")
    else:
        found = peer(kind, rest[0], int(rest[1]), int(rest[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
