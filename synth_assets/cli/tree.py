"""A lineage as a tree in the terminal."""

import re
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from synth_assets.cli.output import console, visible
from synth_assets.vocabulary import Stage

LONG_ID = re.compile(r"\b[0-9a-f]{32}(?:[0-9a-f]{32})?\b")
ID_SHOWN = 12
"""Digits shown of ids and hashes; commands take them so short, and JSON holds them whole."""

FILE_WIDTH = 200
"""Columns of a tree that does not go to a terminal."""

MAX_CHILDREN = 12
"""Children of one kind that a tree shows under a node; JSON holds all."""

FACTS = {
    **dict.fromkeys(map(str, Stage), ("passed", "gates", "committed_at")),
    "prompt": ("versions", "mode", "registered_at"),
    "seed": ("seed_table", "position"),
    "request": ("label", "generator", "provider", "model", "axes"),
    "generation": ("outcome", "reason", "generated_at", "cost_usd"),
    "sample": ("dataset", "batch", "label", "decision", "reason", "quality_score"),
    "decision": ("reason", "kinds", "quality_score", "decided_at"),
    "membership": ("split", "cause"),
    "version": ("samples", "num_samples", "cause", "aliases", "is_marked", "released_at"),
    "model_run": ("consumed_samples", "accuracy", "low", "high", "trainer", "trained_at"),
}
"""What a person reads of a node unless everything is asked for; of other kinds all."""

DETAILS = ("assessment", "tag")
"""Kinds that say something of a node and lead nowhere: they come last, and are counted unless asked for."""

PLURALS = {"batch": "batches"}


def print_lineage(lineage: Mapping[str, Any], *, is_full: bool) -> None:
    """Print a lineage as a tree: what it was made from, then what was made of it.

    Args:
        lineage: see `reports.lineage`.
        is_full: every fact, details too, and whole ids; otherwise what a person reads.
    """
    tree = Tree(_line(lineage["subject"], is_full=is_full), guide_style="dim")
    _grow(tree, lineage["subject"]["children"], is_full=is_full)
    for way, title in (("up", "made from"), ("down", "went into")):
        if way in lineage:
            _grow(tree.add(Text(title, style="bold")), lineage[way], is_full=is_full)
    wide = console if console.is_terminal else Console(file=sys.stdout, width=FILE_WIDTH, highlight=False)
    wide.print(tree)


def _line(node: Mapping[str, Any], *, is_full: bool) -> Text:
    facts = node["facts"]
    if not is_full:
        facts = {name: facts[name] for name in FACTS.get(node["kind"], facts) if name in facts}
    told = "  ".join(f"{visible(name)}={_shortened(visible(value))}" for name, value in facts.items())
    kind, identity = visible(node["kind"]), visible(node["id"])
    identity = identity if is_full else _shortened(identity)
    return Text.assemble((f"{kind} ", "cyan"), (identity, "bold"), (f"  {told}" if told else "", "dim"))


def _shortened(text: str) -> str:
    """Return a text with its long ids and hashes cut."""
    return LONG_ID.sub(lambda found: f"{found[0][:ID_SHOWN]}..", text)


def _grow(branch: Tree, nodes: list[Mapping[str, Any]], *, is_full: bool) -> None:
    """Add nodes, links first; of each kind only the first few, with the count of the others."""
    counts: dict[str, int] = {}
    shown: dict[str, int] = {}
    for node in sorted(nodes, key=lambda node: node["kind"] in DETAILS):
        kind = node["kind"]
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= (0 if kind in DETAILS and not is_full else MAX_CHILDREN):
            shown[kind] = counts[kind]
            _grow(branch.add(_line(node, is_full=is_full)), node["children"], is_full=is_full)
    for kind, count in counts.items():
        left = count - shown.get(kind, 0)
        if left:
            many = (kind if left == 1 else PLURALS.get(kind, f"{kind}s")).replace("_", " ")
            words = f"and {left:,} more {many}" if kind in shown else f"{left:,} {many}; --full lists them"
            branch.add(Text(words, style="italic"))
