"""Dividing the requests of a plan among prompts by what an accepted sample cost with each so far."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from synth_assets.recipe.rotation import AdaptiveRotation, Rotation
from synth_assets.vocabulary import Decision, Outcome, RejectReason

PRIOR_REQUESTS = 20
"""Requests' worth of average that every prompt starts with: after as many of its own, it counts half for itself."""

SENSITIVITY = 2
"""A prompt that is twice as good gets four times the requests."""

DIGITS = 6


@dataclass(frozen=True)
class Record:
    """What became of the requests of one prompt.

    Attributes:
        requests: that ended, with an answer or without.
        accepted: samples that passed every rule; one of which nothing is decided yet counts as the recipe expects.
        answers: requests that were answered, whatever became of the answer.
        tokens: of these, in and out; None if a count is unknown.
        cost_usd: of these; None if a price is unknown.
    """

    requests: int
    accepted: float
    answers: int
    tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True)
class Allocation:
    """What one prompt is given, and why.

    Attributes:
        share: of the requests; the shares of all prompts add up to 1.
        record: what it rests on; None where weights alone decide.
        cost_per_accepted: as observed, in ``cost_unit``; None if nothing was accepted.
        cost_unit: USD, tokens or requests; None where weights alone decide.
        reason: a sentence for a person.
    """

    share: float
    record: Record | None
    cost_per_accepted: float | None
    cost_unit: str | None
    reason: str


def records(
    requests: pl.DataFrame,
    generations: pl.DataFrame,
    samples: pl.DataFrame,
    decisions: pl.DataFrame,
    *,
    overdraw: float,
) -> dict[str, Record]:
    """Return what became of requests, by the hash of the template they were rendered from.

    Args:
        requests: rows of `requests` to count; those that never ended are left out.
        generations: how they ended; rows of other requests do no harm, here and below.
        samples: what was parsed from their answers.
        decisions: what became of those.
        overdraw: requests per accepted sample that the recipe expects.
    """
    is_good = (pl.col("decision") == Decision.ACCEPTED) | (pl.col("reason") == RejectReason.SURPLUS).fill_null(False)
    is_open = pl.col("decision").is_null() | (pl.col("decision") == Decision.PENDING_REVIEW)
    worth = pl.when(is_open).then(1 / overdraw).otherwise(is_good.cast(pl.Float64))
    judged = samples.select("sample_id", "request_id").join(decisions, on="sample_id", how="left")
    good = judged.group_by("request_id").agg(worth.sum().alias("accepted"))
    has_answer = pl.col("generated_at").is_not_null()
    ended = (
        requests.select("request_id", "template_sha256")
        .join(generations.filter(pl.col("outcome") != Outcome.NOT_SENT), on="request_id")
        .join(good, on="request_id", how="left")
        .with_columns((pl.col("input_tokens") + pl.col("output_tokens")).alias("tokens"))
        .sort("request_id")
    )
    counted = ended.group_by("template_sha256").agg(
        pl.len().alias("requests"),
        pl.col("accepted").sum(),
        has_answer.sum().alias("answers"),
        *(
            pl.when(pl.col(name).filter(has_answer).null_count() == 0).then(pl.col(name).filter(has_answer).sum())
            for name in ("tokens", "cost_usd")
        ),
    )
    return {row.pop("template_sha256"): Record(**row) for row in counted.iter_rows(named=True)}


COSTS: dict[str, Callable[[Record], float | None]] = {
    "USD": lambda record: record.cost_usd,
    "tokens": lambda record: record.tokens,
    "requests": lambda record: record.answers,
}
"""What the answers of a record cost, in each unit; the first unit in which all is known is used."""


def allocate(rotation: Rotation, weights: Mapping[str, float], recorded: Mapping[str, Record]) -> dict[str, Allocation]:
    """Return the share of every prompt.

    A prompt is as good as it brings accepted samples for what it costs: its accepted samples per request by its mean
    cost per answer. Both are pulled towards those of all prompts together, by `PRIOR_REQUESTS` requests' worth, so few
    data move little and a prompt that was never tried counts as average. Shares are in proportion to weight times
    goodness squared; what would fall below the floor gets the floor, and the others give way in proportion. A request
    that brought no answer counts as one that took its place in the plan, at no other cost.

    Args:
        rotation: of the recipe.
        weights: of the prompts, by name; they are the shares while nothing is known.
        recorded: what is known of some of them.

    Source:
        The pull is the posterior mean of a Beta prior around the common rate (B. Efron, C. Morris, "Stein's paradox in
        statistics", 1977); the shares follow the generalised matching law with the weights as bias and `SENSITIVITY`
        as sensitivity (W. Baum, "On two types of deviation from the matching law", 1974).
    """
    whole = math.fsum(weights.values())
    by_weight = {name: weight / whole for name, weight in weights.items()}
    if not isinstance(rotation, AdaptiveRotation):
        reason = "by the weights of the recipe"
        return {name: Allocation(share, None, None, None, reason) for name, share in by_weight.items()}
    tried = {name: recorded.get(name, Record(0, 0.0, 0, 0, 0.0)) for name in weights}
    unit = _unit(tried)
    goodness = _goodness(tried, COSTS[unit])
    pull = {name: share * goodness[name] ** SENSITIVITY for name, share in by_weight.items()}
    shares = _floored({name: each / math.fsum(pull.values()) for name, each in pull.items()}, rotation.floor)
    return {name: _allocation(shares[name], tried[name], unit, goodness[name], rotation.floor) for name in weights}


def _unit(tried: Mapping[str, Record]) -> str:
    for unit, cost in COSTS.items():
        known = [cost(record) for record in tried.values()]
        if None not in known and any(known):
            return unit
    return "requests"


def _goodness(tried: Mapping[str, Record], cost: Callable[[Record], float | None]) -> dict[str, float]:
    """Return accepted samples per cost, shrunk, of each prompt as a multiple of that of all together."""
    requests, accepted = (sum(getattr(each, name) for each in tried.values()) for name in ("requests", "accepted"))
    answers, spent = sum(each.answers for each in tried.values()), sum(cost(each) or 0 for each in tried.values())
    rate = (accepted + 1) / (requests + 2)  # the rule of succession: nothing accepted so far is not never
    price = spent / answers if spent else 1.0
    found = {}
    for name, each in tried.items():
        own_rate = (each.accepted + PRIOR_REQUESTS * rate) / (each.requests + PRIOR_REQUESTS)
        own_price = ((cost(each) or 0) + PRIOR_REQUESTS * price) / (each.answers + PRIOR_REQUESTS)
        found[name] = (own_rate / rate) / (own_price / price)
    return found


def _floored(shares: Mapping[str, float], floor: float) -> dict[str, float]:
    """Raise what lies below the floor; the others share what is left in proportion."""
    low: set[str] = set()
    while True:
        left, free = 1 - floor * len(low), math.fsum(share for name, share in shares.items() if name not in low)
        found = {name: floor if name in low else share * left / free for name, share in shares.items()}
        below = {name for name, share in found.items() if share < floor}
        if not below:
            return found
        low |= below


def _allocation(share: float, record: Record, unit: str, goodness: float, floor: float) -> Allocation:
    spent = record.requests if unit == "requests" else COSTS[unit](record)
    per_accepted = round(spent / record.accepted, DIGITS) if spent and record.accepted else None
    if record.requests:
        said = f"{record.accepted:.4g} of {record.requests} requests accepted"
        said += f", {per_accepted:.4g} {unit} per accepted sample" if per_accepted is not None else ""
        said += f"; {goodness:.2f} times as good as all prompts together, after the pull to their average"
    else:
        said = "never tried: it counts as average"
    reason = said + (f"; kept at the floor of {floor:g}" if math.isclose(share, floor) else "")
    return Allocation(round(share, DIGITS), record, per_accepted, unit, reason)
