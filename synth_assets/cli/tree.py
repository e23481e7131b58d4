"""A lineage as a tree in the terminal."""

import re
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from synth_assets.cli.output import console, visible

LONG_HASH = re.compile(r"\b[0-9a-f]{64}\b")
HASH_SHOWN = 12

FILE_WIDTH = 200
"""Columns of a tree that does not go to a terminal."""

MAX_CHILDREN = 12
"""Children of one kind that a tree shows under a node; JSON holds all."""

DETAILS = ("assessment", "tag")
"""Kinds that say something of a node and lead nowhere: they come last, and are counted unless asked for."""

PLURALS = {"batch": "batches"}


def print_lineage(lineage: Mapping[str, Any], *, is_full: bool) -> None:
    """Print a lineage as a tree: what it was made from, then what was made of it; details only when ``is_full``."""
    tree = Tree(_line(lineage["subject"]), guide_style="dim")
    _grow(tree, lineage["subject"]["children"], is_full=is_full)
    for way, title in (("up", "made from"), ("down", "went into")):
        if way in lineage:
            _grow(tree.add(Text(title, style="bold")), lineage[way], is_full=is_full)
    wide = console if console.is_terminal else Console(file=sys.stdout, width=FILE_WIDTH, highlight=False)
    wide.print(tree)


def _line(node: Mapping[str, Any]) -> Text:
    facts = "  ".join(f"{visible(name)}={_shortened(visible(value))}" for name, value in node["facts"].items())
    kind, identity = visible(node["kind"]), visible(node["id"])
    return Text.assemble((f"{kind} ", "cyan"), (identity, "bold"), (f"  {facts}" if facts else "", "dim"))


def _shortened(text: str) -> str:
    """Return a fact with its long hashes cut; JSON holds them whole, and ids are never cut."""
    return LONG_HASH.sub(lambda found: f"{found[0][:HASH_SHOWN]}..", text)


def _grow(branch: Tree, nodes: list[Mapping[str, Any]], *, is_full: bool) -> None:
    """Add nodes, links first; of each kind only the first few, with the count of the others."""
    counts: dict[str, int] = {}
    shown: dict[str, int] = {}
    for node in sorted(nodes, key=lambda node: node["kind"] in DETAILS):
        kind = node["kind"]
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= (0 if kind in DETAILS and not is_full else MAX_CHILDREN):
            shown[kind] = counts[kind]
            _grow(branch.add(_line(node)), node["children"], is_full=is_full)
    for kind, count in counts.items():
        left = count - shown.get(kind, 0)
        if left:
            many = (kind if left == 1 else PLURALS.get(kind, f"{kind}s")).replace("_", " ")
            words = f"and {left:,} more {many}" if kind in shown else f"{left:,} {many}; --full lists them"
            branch.add(Text(words, style="italic"))
