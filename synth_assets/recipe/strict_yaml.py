"""YAML that says what it means: no duplicate keys, no `no` as False, no dates, and a line number for every key."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from synth_assets.errors import UsageError

MOST_CHARACTERS = 1_000_000
"""Of one file; reading the YAML of more than that takes longer than anybody waits."""

Path_ = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: a few lines of them can stand for more nodes than fit in memory; and anchors with them."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "anchors and aliases (&, *) are not allowed", mark)
        return super().compose_node(parent, index)


# YAML 1.1 reads yes/no/on/off as booleans, 2026-11-01 as a date, 010 as eight and 1:30 as ninety, and `<<` merges
# without a word; a recipe means what it shows.
_SURPRISES = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "timestamp", "int", "merge")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _SURPRISES]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))


@dataclass(frozen=True)
class Document:
    """Parsed YAML and the line of every key.

    Attributes:
        value: plain data.
        lines: path of keys and list positions to line number, from 1.
    """

    value: Any
    lines: dict[Path_, int]

    def line_of(self, path: Path_) -> int:
        """Return the line of a path or of its nearest parent that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str, *, file: Path, first_line: int = 1) -> Document:
    """Parse one YAML document.

    Args:
        text: the YAML.
        file: named in errors.
        first_line: line of the file on which ``text`` begins.

    Raises:
        UsageError: the text is no YAML, repeats a key, or uses an alias.
    """
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"the file has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read",
            where=str(file),
            fix="put long lists into seed tables (`seeds/NAME.jsonl`)",
        )
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Path_, int] = {}
        if node is not None:
            _walk(node, (), lines, file, first_line)
        value = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = first_line + (mark.line if mark else 0)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UsageError(
            f"not valid YAML: {problem}", where=f"{file}:{line}", fix="correct the line named above"
        ) from None
    return Document(value, lines)


def _walk(node: yaml.Node, path: Path_, lines: dict[Path_, int], file: Path, first_line: int) -> None:
    lines.setdefault(path, node.start_mark.line + first_line)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + first_line
            if here in lines:
                raise UsageError(
                    f"key '{key.value}' is given twice",
                    where=f"{file}:{line} and {lines[here]}",
                    fix="remove one of them",
                )
            lines[here] = line
            _walk(value, here, lines, file, first_line)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), lines, file, first_line)
