"""Fenced code blocks in an answer, as CommonMark reads them: length and kind of the fence, info string, indentation."""

import re
from dataclasses import dataclass

_OPENING = re.compile(r"^( {0,3})(`{3,}|~{3,})[^\S\n]*([^\n]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        info: what stands behind the opening fence, e.g. ``python``.
        body: its lines as written, less the fence's own indentation, each with its newline.
        is_closed: whether its fence was closed before the text ended.
        start, end: where the whole block lies in the text.
    """

    info: str
    body: str
    is_closed: bool
    start: int
    end: int


def blocks(text: str) -> list[Block]:
    r"""Return the fenced blocks of a text in their order; a fence is closed by one of its kind, at least as long.

    Source:
        CommonMark 0.31.2, section 4.5, "Fenced code blocks".

    Example:
        >>> [(block.info, block.body) for block in blocks("````c#\n```\n````\n")]
        [('c#', '```\n')]
    """
    found: list[Block] = []
    place, lines = 0, text.split("\n")
    at = 0
    while place < len(lines):
        opened = _opening(lines[place])
        first, start = place, at
        at += len(lines[place]) + 1
        place += 1
        if opened is None:
            continue
        indent, fence, info = opened
        closing = re.compile(rf"^ {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[^\S\n]*$")
        end = next((n for n in range(place, len(lines)) if closing.match(lines[n])), None)
        inside = lines[first + 1 : len(lines) if end is None else end]
        body = "".join(f"{_dedented(line, indent)}\n" for line in inside)
        place = len(lines) if end is None else end + 1
        at = start + sum(len(line) + 1 for line in lines[first:place])
        found.append(Block(info, body, end is not None, start, min(at, len(text))))
    return found


def _opening(line: str) -> tuple[int, str, str] | None:
    match = _OPENING.match(line)
    if match is None or (match[2][0] == "`" and "`" in match[3]):  # then it is code in running text
        return None
    return len(match[1]), match[2], match[3].strip()


def _dedented(line: str, indent: int) -> str:
    spaces = len(line) - len(line.lstrip(" "))
    return line[min(indent, spaces) :]
