"""Small pictures of distributions as SVG, drawn from numbers alone and the same for the same numbers."""

import html
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, TOP, BOTTOM = 260, 120, 22, 16
"""Of a picture, of the room for its title, and of that for its names; px."""

INK, FILL, LINE = "#808080", "#4f7cac", "#d08c2c"
"""Readable on a light and on a dark page."""

NAME_LENGTH = 14
"""Characters of a name that fit under a bar."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: written under it; may be empty.
        now: its height, a share 0..1.
        before: height of the mark across it, a share 0..1; None draws none.
    """

    name: str
    now: float
    before: float | None = None


def chart(title: str, bars: Sequence[Bar]) -> str:
    """Return bars as an SVG document; the highest share fills the height."""
    top = max([share for bar in bars for share in (bar.now, bar.before or 0.0)], default=0.0) or 1.0
    step = WIDTH / max(1, len(bars))
    drawn = [line for place, bar in enumerate(bars) for line in _bar(bar, place * step, step, top)]
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" ',
            f'font-size="10" fill="{INK}">',
            f'<text x="0" y="12">{html.escape(title)}, up to {top:.0%}</text>',
            *drawn,
            f'<path d="M0 {HEIGHT - BOTTOM}H{WIDTH}" stroke="{INK}"/>',
            "</svg>",
        ]
    )


def _bar(bar: Bar, left: float, step: float, top: float) -> list[str]:
    ground, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    high = room * bar.now / top
    lines = [f'<rect x="{left + 1:.1f}" y="{ground - high:.1f}" width="{step - 2:.1f}" height="{high:.1f}" ']
    lines.append(f'fill="{FILL}"/>')
    if bar.before is not None:
        mark = ground - room * bar.before / top
        lines.append(f'<path d="M{left:.1f} {mark:.1f}h{step:.1f}" stroke="{LINE}" stroke-width="2"/>')
    if bar.name:
        name = html.escape(bar.name[:NAME_LENGTH])
        lines.append(f'<text x="{left + step / 2:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{name}</text>')
    return lines


def histogram(now: Sequence[float], before: Sequence[float] | None, *, edges: Sequence[float]) -> list[Bar]:
    """Return a bar per bin, named by its lower edge; of nothing all shares are 0.

    Args:
        now: values, each within the edges.
        before: values to mark beside them; None marks none.
        edges: bounds of the bins, ascending; a value on a bound belongs to the bin above, on the last one to the last.
    """
    here = _shares(now, edges)
    there: Sequence[float | None] = [None] * len(here) if before is None else _shares(before, edges)
    return [Bar(f"{edge:g}", share, mark) for edge, share, mark in zip(edges[:-1], here, there, strict=True)]


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    counts, _ = np.histogram(np.asarray(values, dtype=float), bins=np.asarray(edges, dtype=float))
    return [float(count) / max(1, len(values)) for count in counts]


def whole_edges(*groups: Sequence[float], most: int) -> list[float]:
    """Return the bounds of at most ``most`` bins of equal whole width that hold every value.

    Example:
        >>> whole_edges([3, 7], [10], most=4)
        [3.0, 5.0, 7.0, 9.0, 11.0]
    """
    values = [value for group in groups for value in group] or [0.0]
    low, high = int(min(values)), int(max(values)) + 1
    width = max(1, -(-(high - low) // most))
    return [float(edge) for edge in range(low, high + width, width)]


def image(svg: str, alt: str) -> str:
    """Return an SVG as an image in Markdown, held in the text itself."""
    data = b64encode(svg.encode()).decode()
    return f"![{alt}](data:image/svg+xml;base64,{data})"
