"""`synth diff`: two versions or two batches beside each other."""

from typing import Any

import click

from synth_assets.cli.output import as_json, print_json, print_table, say
from synth_assets.cli.project import Project
from synth_assets.domain.version_diff import CHANGES
from synth_assets.errors import UsageError
from synth_assets.reports.differences import difference
from synth_assets.reports.funnel import known_datasets


@click.command()
@click.argument("dataset")
@click.argument("before")
@click.argument("now")
@click.option("--rows", is_flag=True, help="List the ids of the samples that were added, removed or changed.")
@as_json
def diff(*, dataset: str, before: str, now: str, rows: bool, is_json: bool) -> None:
    """Compare two versions (v1, latest) or two batches (2026-11-01) of DATASET."""
    project = Project(is_reading=True)
    known = known_datasets(project.lake)
    if dataset not in known:
        names = ", ".join(known) or "none yet"
        raise UsageError(f"nothing is known of {dataset[:80]!r}", where="the command line", fix=f"datasets: {names}")
    facts = difference(project.lake, dataset, before, now)
    listed = facts.pop("rows", None)
    if rows and listed is None:
        raise UsageError(
            "the samples of two batches are all different ones",
            where="--rows",
            fix="name two versions, or leave it out",
        )
    if is_json:
        print_json(facts | ({"rows": listed} if rows else {}))
        return
    _print(facts)
    for name in CHANGES if rows else ():
        for sample in listed[name]:
            say(f"{name} {sample}")


def _print(facts: dict[str, Any]) -> None:
    before, now = facts["before"], facts["now"]
    if facts["kind"] == "versions":
        counts = facts["counts"]
        say(f"{facts['dataset']} from {before} to {now}: {', '.join(f'{counts[name]:,} {name}' for name in CHANGES)}")
        for version, reason in facts["reasons"].items():
            say(f"  {version}: {reason}")
        for name in ("labels", "prompts"):
            rows = [(each, *(found[change] for change in CHANGES)) for each, found in facts[name].items()]
            print_table("", (name, *CHANGES), rows, numbers=CHANGES)
    measured = [
        (each["section"], each["name"], each["before"], each["now"], each["difference"]) for each in facts["measures"]
    ]
    columns = ("", "", before, now, "difference")
    print_table("", columns, [[_whole(cell) for cell in row] for row in measured], numbers=columns[2:])
    print_table("", ("distance", "0 to 1"), facts["distances"].items(), numbers=("0 to 1",))


def _whole(cell: Any) -> Any:
    """Return a count as the whole number it is."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
