"""Replays: what the next run would ask must be in the journal, or the run does not begin."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from synth_assets.domain.planning import PROMPTS_SCHEMA, calls_of, plan_attempt, requests_for
from synth_assets.domain.ports import Call, NotRecordedError, Routing
from synth_assets.domain.transactions import Lake
from synth_assets.errors import StoppedError
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.journaled import prove_journal
from synth_assets.stages.precedents import past_of
from synth_assets.stages.prospects import next_attempt


def rehearse(
    lake: Lake,
    recipe: Recipe,
    batch: str,
    *,
    routing: Routing,
    has_all: Callable[[Sequence[Call]], None],
    regenerate: bool,
) -> None:
    """Look up the first call of each request of the open attempt, or of the one that would be opened.

    Nothing is stored.

    Args:
        lake: the store.
        recipe: the dataset, under the promise the batch would get.
        batch: partition key.
        routing: whom the requests are addressed to.
        has_all: raises NotRecordedError if the journal knows nothing of a call.
        regenerate: whether the run would open an attempt for the whole promise.

    Raises:
        StoppedError: a call is missing; the first one is named.
    """
    here = {"dataset": recipe.dataset, "batch": batch}
    opened = lake.read("batches", **here)["open_attempt"].drop_nulls()
    if regenerate or opened.is_empty():
        prospect = next_attempt(lake, recipe, batch)
        model = prospect.recipe.model
        missing = prospect.promise.owed if regenerate else {} if prospect.because else prospect.missing
        wanted = requests_for(model, missing)
        past = past_of(lake, prospect.recipe, routing, batch)
        planned = plan_attempt(prospect.recipe, routing, batch=batch, attempt=prospect.number, wanted=wanted, past=past)
        requests, prompts = planned.requests, planned.prompts
    else:
        prove_journal(lake, **here)
        requests = lake.read("requests", **here, attempt=opened[0])
        prompts = lake.payload("prompts", PROMPTS_SCHEMA, **here)
    with every_call_recorded(requests):
        has_all(calls_of(requests, prompts))


@contextmanager
def every_call_recorded(requests: pl.DataFrame) -> Iterator[None]:
    """Say of a call that a replay misses which request it belongs to.

    Raises:
        StoppedError: the journal knows nothing of a call.
    """
    try:
        yield
    except NotRecordedError as missing:
        row = requests.row(by_predicate=pl.col("request_id") == missing.request_id, named=True)
        raise StoppedError(
            f"the journal knows nothing of request {row['request_id']}, number {row['ordinal']} of attempt "
            f"{row['attempt']}, prompt '{row['prompt_name']}', and SYNTH_LLM_MODE=replay asks nobody",
            where=f"journal/{row['dataset']}/{row['batch']} in SYNTH_HOME",
            fix="bring the journal this batch was recorded in, with the recipe and the SYNTH_LLM_* variables of then, "
            "or unset SYNTH_LLM_MODE",
        ) from None
