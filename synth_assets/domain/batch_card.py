"""The card of a batch: what it is, what became of its requests and samples, how it differs and what happened to it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.domain.cards import cost, escaped, judging, number, opening, section, table, writer
from synth_assets.domain.comparison import (
    COUNTS,
    REJECTED,
    BatchRows,
    Comparison,
    Measure,
    acceptance_of,
    compare,
    label_shares,
    measures,
)
from synth_assets.domain.drafting import MAY_HAVE_COST
from synth_assets.domain.figures import Bar, chart, histogram, image, whole_edges
from synth_assets.domain.history import Revision
from synth_assets.recipe.model import RecipeModel

BINS = 12
SCORE_EDGES = [place / 10 for place in range(11)]


@dataclass(frozen=True)
class BatchCard:
    """Everything a card is made of.

    Attributes:
        model: the recipe the batch was judged by.
        batch: its row of `batches`.
        history: its revisions, oldest first; at least one.
        rows: what it holds.
        previous: name and rows of the batch it is compared with; None if there is none.
    """

    model: RecipeModel
    batch: Mapping[str, Any]
    history: Sequence[Revision]
    rows: BatchRows
    previous: tuple[str, BatchRows] | None


def batch_card(card: BatchCard) -> str:
    """Return the card as Markdown; the same facts give the same text, and no sample text is in it."""
    held = measures(card.rows)
    name = f"{card.batch['batch']} r{card.history[-1].number}"
    lines = [
        *opening(card.model, name, _facts(card, held), writers=_writers(card.rows)),
        *section("From request to sample", table(("step", "count"), _funnel(held))),
        *section("Acceptance by prompt", table(("prompt", "judged", "good", "share"), _acceptance(card.rows))),
        *section("Distributions of the accepted", _figures(card)),
        *_difference(card),
        *judging(card.model),
        *section("History", table(HISTORY, _history(card.history))),
    ]
    return "\n".join(lines) + "\n"


def _facts(card: BatchCard, held: Mapping[Measure, float | None]) -> dict[str, str]:
    batch = card.batch
    promised = "nothing: its samples were made elsewhere" if batch["promised"] == 0 else str(batch["promised"])
    short = {"accepted short by": escaped(batch["short_accepted_by"])} if batch["short_accepted_by"] else {}
    labels = [(name, share) for name, share in label_shares(card.rows).items() if share is not None]
    return {
        "state": escaped(card.history[-1].state),
        "accepted samples": f"{held[COUNTS, 'accepted']:.0f}",
        "promised": promised,
        **short,
        **{f"label {escaped(name)}": number(share) for name, share in labels},
        "attempts": str(batch["attempts"]),
        "written by": escaped(", ".join(_writers(card.rows))),
        "mean quality score": number(held["quality score", "mean"]),
        "cost": cost(_spent(card.rows.generations)),
        "output digest": f"`{card.history[-1].output_digest}`",
    }


def _writers(rows: BatchRows) -> list[str]:
    return sorted({writer(row) for row in rows.requests.iter_rows(named=True)})


def _spent(generations: pl.DataFrame) -> float | None:
    paid = generations.filter(MAY_HAVE_COST)["cost_usd"]
    return None if paid.null_count() else math.fsum(paid)


def _funnel(held: Mapping[Measure, float | None]) -> Iterator[tuple[str, str]]:
    for (kind, name), value in held.items():
        if kind in (COUNTS, REJECTED):
            yield (f"rejected: {name}" if kind == REJECTED else name, _count(value))


def _acceptance(rows: BatchRows) -> Iterator[tuple[Any, ...]]:
    for prompt, judged, good in acceptance_of(rows).iter_rows():
        yield escaped(prompt), judged, good, number(good / judged)


def _figures(card: BatchCard) -> list[str]:
    now, before = card.rows.accepted, card.previous[1].accepted if card.previous else None
    words, scores = (_values(now, before, name) for name in ("words", "quality_score"))
    shares, others = label_shares(card.rows), label_shares(card.previous[1]) if card.previous else {}
    labels = [
        Bar(name, shares.get(name) or 0.0, (others.get(name) or 0.0) if card.previous else None)
        for name in sorted({*shares, *others})
    ]
    charts = {
        "words": histogram(*words, edges=whole_edges(words[0], words[1] or [], most=BINS)),
        "quality score": histogram(*scores, edges=SCORE_EDGES),
        "label": labels,
    }
    marks = ["", f"The marks across the bars are batch {card.previous[0]}."] if card.previous else []
    return [" ".join(image(chart(name, bars), f"shares by {name}") for name, bars in charts.items()), *marks]


def _values(now: pl.DataFrame, before: pl.DataFrame | None, name: str) -> tuple[list[float], list[float] | None]:
    known = now[name].drop_nulls().to_list()
    return known, None if before is None else before[name].drop_nulls().to_list()


def _difference(card: BatchCard) -> list[str]:
    if card.previous is None:
        return section("Compared with the batch before", ["No earlier batch is green."])
    name, rows = card.previous
    found = compare(card.rows, rows)
    return section(
        f"Compared with batch {name}",
        [
            *table(("number", name, "this batch", "difference"), _lines(found)),
            "",
            *table(
                ("distance between the accepted", "0 to 1"),
                [(each.replace("_", " "), number(value)) for each, value in found.distances.items()],
            ),
        ],
    )


def _lines(found: Comparison) -> Iterator[tuple[str, ...]]:
    for line in found.lines:
        shown = _count if line.section in (COUNTS, REJECTED) else number
        name = line.name if line.section == COUNTS else f"{line.section}: {escaped(line.name)}"
        yield name, shown(line.before), shown(line.now), _signed(shown(line.difference))


def _signed(shown: str) -> str:
    return f"+{shown}" if shown.strip("0.") and shown[0].isdigit() else shown


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"


HISTORY = ("revision", "because", "state", "accepted", "at", "run")


def _history(history: Sequence[Revision]) -> Iterator[tuple[str, ...]]:
    for each in history:
        yield (
            f"r{each.number}",
            escaped(", ".join(each.causes)),
            escaped(each.state),
            "nothing decided" if each.accepted is None else str(each.accepted),
            each.at.isoformat(sep=" ", timespec="seconds"),
            f"`{each.run_id}`",
        )
