"""How the command line prints: rich tables for people, sorted JSON for programs, one paragraph for errors."""

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from synth_assets.errors import SynthError

WIDTH_OF_A_FILE = 160
"""Columns where the output is no terminal; ids and tables are not folded there."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

COMMANDING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, and marks that reverse the direction of writing."""

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON instead of tables.")


def print_json(value: Any) -> None:
    """Print facts for programs: sorted keys, indented."""
    sys.stdout.buffer.write(
        orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)
    )
    sys.stdout.flush()


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()
) -> None:
    """Print rows as a table; values are shown as they are, never read as markup."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    for name in columns:
        table.add_column(escape(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(visible(value)) for value in row))
    console.print(table)


def visible(value: Any) -> str:
    r"""Return a value as a person reads it, in one line and without anything a terminal would obey.

    Example:
        >>> visible("a\x1b[31mb\n")
        'a\\x1b[31mb\\n'
    """
    if isinstance(value, dict | list | tuple):
        value = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    if isinstance(value, datetime):
        value = value.isoformat(sep=" ", timespec="seconds")
    return COMMANDING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), _shown(value))


def _shown(value: Any) -> str:
    """Return a value as a person reads it, rounded where digits say nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}"
    return str(value)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with the noun it counts.

    Args:
        number: how many there are.
        one: the noun for one of them.
        many: the noun for any other number; default is ``one`` with an s.

    Example:
        >>> counted(1, "sample"), counted(2_000, "batch", "batches")
        ('1 sample', '2,000 batches')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def say(text: str) -> None:
    """Print one line for a person."""
    console.print(escape(visible(text)))


def note(text: str) -> None:
    """Print one line beside the result, on stderr: what a person should know and no program has to read."""
    errors.print(escape(visible(text)), style="yellow")


def print_error(error: SynthError) -> None:
    """Print what, where and fix to stderr."""
    lines = [visible(line) for line in str(error).splitlines()]
    errors.print(escape("\n".join(lines)), style="red")
