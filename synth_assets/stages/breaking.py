"""What the breaker has to know of the past, and what a person is told when it stopped an attempt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import digest, sha256
from synth_assets.domain import fences, parsing, thoughts, tolerant_json
from synth_assets.domain.breaker import FEWEST, PAIR, USELESS, Breaker, Pair, Trip
from synth_assets.domain.planning import sampling_params
from synth_assets.domain.ports import Routing
from synth_assets.domain.transactions import Lake
from synth_assets.errors import StoppedError
from synth_assets.recipe.loader import Recipe, template_sha256
from synth_assets.vocabulary import Outcome, QuarantineReason, Stage

BATCHES_READ = 3
"""Latest batches that are read for prompts and models that answered well before."""

WELL = 0.5
"""Share of a pair's answers that must have been usable for that."""

READERS = (fences, parsing, thoughts, tolerant_json)
"""Modules that decide whether an answer can be used."""


def asked_with(recipe: Recipe, routing: Routing) -> str:
    """Hash all that decides whether answers can be used: templates, models, what they are sent, and the reader."""
    templates = sorted([each.name, each.version, template_sha256(each)] for each in recipe.templates)
    models = sorted(
        [each.name, each.model_id, each.mode, str(each.takes_schema), str(each.spelling), stored]
        for each in routing.providers
        for stored in [digest(sampling_params(recipe.model, each))]
    )
    readers = [sha256(Path(str(each.__file__)).read_bytes()) for each in READERS]
    return digest(["asked_with", templates, models, readers])


def breaker_of(
    lake: Lake, recipe: Recipe, batch: Mapping[str, Any], requests: pl.DataFrame, prompts: pl.DataFrame
) -> Breaker:
    """Return the breaker of an attempt.

    Args:
        lake: the store.
        recipe: the dataset.
        batch: its row of `batches`.
        requests: of the attempt, in plan order.
        prompts: their payload.
    """
    attempt = None if requests.is_empty() else requests["attempt"][0]
    stood_in = prompts.join(requests, on="request_id", how="semi")["fallback"].drop_nulls().unique()
    return Breaker(
        requests,
        models_each=1 + max((len(orjson.loads(each)) for each in stood_in), default=0),
        proven=_proven(lake, recipe, requests),
        is_off=attempt is not None and batch["anyway_attempt"] == attempt,
    )


def _proven(lake: Lake, recipe: Recipe, requests: pl.DataFrame) -> frozenset[Pair]:
    """Return the pairs of an attempt that answered well in earlier attempts of the latest batches."""
    planned = lake.read("batches", dataset=recipe.dataset).filter(pl.col("attempts") > 0).sort("batch")
    here = {"dataset": recipe.dataset, "batch": planned["batch"].tail(BATCHES_READ).to_list()}
    if requests.is_empty() or not here["batch"]:
        return frozenset()
    hashes = requests["template_sha256"].unique().to_list()
    asked = lake.read("requests", **here, template_sha256=hashes).select("request_id", *PAIR)
    asked = asked.join(requests, on="request_id", how="anti").join(requests, on=list(PAIR), how="semi")
    if asked.is_empty():
        return frozenset()
    ended = lake.read("generations", **here).select("request_id", "outcome", "reason")
    is_useful = pl.col("outcome") == Outcome.ANSWERED
    is_judged = is_useful | pl.col("reason").is_in([str(each) for each in USELESS])
    counts = (
        asked.join(ended.filter(is_judged), on="request_id")
        .group_by(*PAIR)
        .agg(pl.len().alias("judged"), is_useful.mean().alias("share"))
        .filter(pl.col("judged") >= FEWEST, pl.col("share") >= WELL)
    )
    return frozenset(Pair(*row) for row in counts.select(PAIR).iter_rows())


def stop_of(trip: Trip, recipe: Recipe, batch: str, *, attempt: int, unsent: int) -> StoppedError:
    """Say what the breaker found, and how to go on."""
    useless = sum(trip.reasons.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(trip.reasons.items(), key=_often))
    whose = f" of {' and of '.join(map(str, trip.pairs))}" if trip.pairs else f" of attempt {attempt}"
    return broken(
        recipe.dataset,
        batch,
        f"{useless} of the first {trip.judged} answers{whose} cannot be used ({reasons}); "
        f"{unsent:,} {'request was' if unsent == 1 else 'requests were'} not sent",
    )


def still_broken(lake: Lake, recipe: Recipe, batch: str, attempt: int) -> StoppedError:
    """Say that an attempt waits for a person: nothing of what it was asked with has changed since it stopped."""
    ended = lake.read("generations", dataset=recipe.dataset, batch=batch, attempt=attempt)
    useless = ended.filter(pl.col("reason").is_in([str(each) for each in USELESS]))
    counts = {str(reason): count for reason, count in useless.group_by("reason").len().iter_rows()}
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=_often))
    what = f"attempt {attempt} stopped because its first answers cannot be used ({reasons or 'none came'})"
    return broken(recipe.dataset, batch, f"{what}, and neither template nor model has changed since; nobody was asked")


def broken(dataset: str, batch: str, what: str) -> StoppedError:
    """Return the stop of a broken prompt with its cure."""
    is_strange = str(QuarantineReason.MALFORMED_ANSWER) in what
    address = "a web page or another protocol answers so: check the base URL first; " if is_strange else ""
    return StoppedError(
        what,
        where=f"{dataset}/{Stage.GENERATED}, partition {batch}",
        fix=f"{address}`synth status {dataset} --answers` shows them; mend the prompt and raise its version, or change "
        f"the model or its parameters, then `synth run {dataset} --batch {batch}` (with --anyway it goes on as it is)",
    )


def _often(item: tuple[Any, int]) -> tuple[int, str]:
    return -item[1], str(item[0])
