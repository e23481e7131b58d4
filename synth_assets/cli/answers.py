"""`synth status DATASET --answers`: what a model wrote where it could not be used, on a terminal and nowhere else."""

import sys

from synth_assets.cli.output import say
from synth_assets.cli.project import Project
from synth_assets.errors import UsageError
from synth_assets.reports.answers import Unusable, unusable

LINES, CHARACTERS = 20, 400
"""Most lines of an answer that are shown, and most characters of a line."""


def show_answers(project: Project, dataset: str | None, *, is_json: bool) -> None:
    """Print the first answers that could not be used.

    Raises:
        UsageError: no dataset is named, or the output is no terminal: text of samples is not written to files.
    """
    if dataset is None:
        raise UsageError("--answers needs a dataset", where="the command line", fix="`synth status DATASET --answers`")
    if is_json or not sys.stdout.isatty():
        raise UsageError(
            "answers are shown on a terminal only, never as JSON and never in a file or a pipe",
            where="--answers",
            fix=f"`synth status {dataset} --answers` in a terminal",
        )
    found = unusable(project.lake, project.home, dataset)
    if not found:
        say(f"{dataset}: no answer of its latest batches was unusable")
    for each in found:
        _print(each)


def _print(each: Unusable) -> None:
    say(f"{each.batch}, attempt {each.attempt}, request {each.ordinal}: {each.reason}")
    say(f"  {each.prompt} with {each.model}; expected: {each.expected}")
    if each.text is None:
        say("  nothing of what came holds that")
        return
    if each.reasoning:
        _print_text("thought", each.reasoning)
    _print_text("answer", each.text)


def _print_text(name: str, text: str) -> None:
    """Print text line by line; `say` takes out whatever a terminal would obey."""
    lines = text.splitlines()
    say(f"  {name} ({len(text):,} characters){':' if text else ''}")
    for line in lines[:LINES]:
        say(f"    {line[:CHARACTERS]}{'...' if len(line) > CHARACTERS else ''}")
    if len(lines) > LINES:
        say(f"    ({len(lines) - LINES:,} more lines)")
