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

PLURALS = {"batch": "batches"}


def print_lineage(lineage: Mapping[str, Any]) -> None:
    """Print a lineage as a tree: what it was made from, then what was made of it."""
    tree = Tree(_line(lineage["subject"]), guide_style="dim")
    _grow(tree, lineage["subject"]["children"])
    for way, title in (("up", "made from"), ("down", "went into")):
        if way in lineage:
            _grow(tree.add(Text(title, style="bold")), lineage[way])
    wide = console if console.is_terminal else Console(file=sys.stdout, width=FILE_WIDTH, highlight=False)
    wide.print(tree)


def _line(node: Mapping[str, Any]) -> Text:
    facts = "  ".join(f"{visible(name)}={_shortened(visible(value))}" for name, value in node["facts"].items())
    kind, identity = visible(node["kind"]), visible(node["id"])
    return Text.assemble((f"{kind} ", "cyan"), (identity, "bold"), (f"  {facts}" if facts else "", "dim"))


def _shortened(text: str) -> str:
    """Return a fact with its long hashes cut; JSON holds them whole, and ids are never cut."""
    return LONG_HASH.sub(lambda found: f"{found[0][:HASH_SHOWN]}..", text)


def _grow(branch: Tree, nodes: list[Mapping[str, Any]]) -> None:
    """Add nodes; of each kind only the first few, with the count of the others."""
    counts: dict[str, int] = {}
    for node in nodes:
        kind = node["kind"]
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= MAX_CHILDREN:
            _grow(branch.add(_line(node)), node["children"])
    for kind, count in counts.items():
        if count > MAX_CHILDREN:
            many = PLURALS.get(kind, f"{kind}s").replace("_", " ")
            branch.add(Text(f"and {count - MAX_CHILDREN:,} more {many}", style="italic"))
