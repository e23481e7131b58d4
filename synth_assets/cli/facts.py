"""`synth status`, `synth versions`, `synth lineage` and `synth query`: what there is, never changed by looking."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from synth_assets.cli.missed import missed_by_dataset
from synth_assets.cli.output import as_json, console, counted, errors, print_json, print_table, say, visible
from synth_assets.cli.project import Project
from synth_assets.cli.tree import print_lineage
from synth_assets.domain.references import split_version
from synth_assets.errors import UsageError

ROWS_SHOWN = 1_000
INTERRUPTED, AT_WORK = "interrupted", "at work"
"""States of an attempt that nobody gave a reason for; whose claim is held is no interrupted one."""

MOST_ROWS = 1_000_000_000
COUNTS = ("requested", "answered", "samples", "accepted", "promised")
BOUNDS = (("min", "at least"), ("max", "at most"))
PARTS_OF_A_SUM = 3


@click.command()
@click.argument("dataset", required=False)
@click.option("--answers", is_flag=True, help="Show the first answers that could not be used; on a terminal only.")
@as_json
def status(*, dataset: str | None, answers: bool, is_json: bool) -> None:
    """Show every batch of DATASET, or of all datasets: its funnel, and the gate that holds it back."""
    from synth_assets.reports.funnel import known_datasets
    from synth_assets.reports.funnel import status as status_of

    project = Project(is_reading=True)
    known = sorted({*known_datasets(project.lake), *(each.dataset for each in project.datasets())})
    if dataset is not None and dataset not in known:
        raise _unknown(dataset, known)
    if answers:
        from synth_assets.cli.answers import show_answers

        show_answers(project, dataset, is_json=is_json)
        return
    found = [status_of(project.lake, name) for name in ([dataset] if dataset else known)]
    missed = missed_by_dataset(project, found)
    for facts in found:
        _say_more(project, facts, is_detailed=dataset is not None)
        facts["missed"] = missed.get(facts["dataset"])
    if is_json:
        print_json(found[0] if dataset else found)
        return
    if not found:
        say("no dataset yet; `synth init NAME` makes one")
    for facts in found:
        _print_status(facts, is_detailed=dataset is not None)


def _say_more(project: Project, facts: dict[str, Any], *, is_detailed: bool) -> None:
    """Add to funnels whether somebody is at work, and which kinds of personal data samples were rejected for."""
    from resources.claims import is_free
    from synth_assets.reports.personal import PII, rejected_kinds

    for funnel in facts["batches"]:
        dataset, batch = funnel["dataset"], funnel["batch"]
        if funnel["stop"] == INTERRUPTED and not is_free(project.home, dataset, batch):
            funnel["stop"] = AT_WORK
        if is_detailed and PII in funnel["rejected"]:
            funnel["pii_kinds"] = rejected_kinds(project.lake, dataset, batch)


def _unknown(dataset: str, known: list[str]) -> UsageError:
    names = ", ".join(known) or "none"
    return UsageError(f"no dataset called {dataset[:80]!r}", where="the command line", fix=f"datasets: {names}")


def _print_status(facts: dict[str, Any], *, is_detailed: bool) -> None:
    change = facts["pending"]
    head = f"v{facts['head_version']} is the latest version" if facts["head_version"] else "no version yet"
    due = f"v{facts['next_version']} would add {change['added']:,} and remove {change['removed']:,}"
    say(f"{facts['dataset']}: {head}; {due if facts['is_release_due'] else 'nothing to release'}")
    if not facts["batches"]:
        say(f"  no batch yet; `synth run {facts['dataset']}` makes one")
        return
    if facts["missed"]:
        say(f"  {facts['missed']['what']}; {facts['missed']['fix']} makes up for it")
    rows = [
        [funnel["batch"], f"r{funnel['revision']}", *(funnel[name] for name in COUNTS), _state(funnel)]
        for funnel in facts["batches"]
    ]
    print_table("", ("batch", "revision", *COUNTS, "state"), rows, numbers=COUNTS)
    for funnel in facts["batches"] if is_detailed else ():
        _print_sums(funnel)


def _state(funnel: dict[str, Any]) -> str:
    held, stop = funnel["held_by"], funnel["stop"]
    if stop is not None:
        return stop if stop in (INTERRUPTED, AT_WORK) else f"stopped: {stop}"
    if held is None:
        return "green, accepted short" if funnel["short_accepted_by"] else "green"
    gates = ", ".join(gate["gate"] for gate in held["failed_gates"])
    return f"{held['stage']} {held['state']}" + (f" at {gates}" if gates and held["state"] == "failed" else "")


def _print_sums(funnel: dict[str, Any]) -> None:
    """Print where every request and every sample of a batch went, what that took, and what its red gates found."""
    ends = (
        ("answered", funnel["answered"]),
        ("quarantined", funnel["quarantined"]),
        ("not sent", funnel["not_sent_because"]),
    )
    ways = (
        ("accepted", funnel["accepted"]),
        ("rejected", funnel["rejected"]),
        ("pending review", funnel["pending_review"]),
    )
    cost = "unknown cost" if funnel["cost_usd"] is None else f"{funnel['cost_usd']:.4f} USD"
    is_open = f", attempt {funnel['open_attempt']} is open" if funnel["open_attempt"] else ""
    say(f"{funnel['batch']} r{funnel['revision']}")
    say(f"  requests {funnel['requested']} = {_sum(*ends, ('without outcome yet', funnel['unended']))}")
    say(f"  samples {funnel['samples']} = {_sum(*ways, ('undecided', funnel['undecided']))}")
    if "pii_kinds" in funnel:
        kinds = ", ".join(f"{count} {kind}" for kind, count in funnel["pii_kinds"].items())
        say(f"  rejected samples with personal data, by kind: {kinds}")
    say(f"  attempts {funnel['attempts']} of {funnel['max_attempts']}{is_open}")
    tries = "" if funnel["tries"] == funnel["calls"] else f" ({counted(funnel['tries'], 'try', 'tries')})"
    calls = counted(funnel["calls"], "call") + tries
    say(f"  tokens {funnel['input_tokens']:,} in, {funnel['output_tokens']:,} out, in {calls}; {cost}")
    for each in funnel["history"]:
        accepted = "nothing decided" if each["accepted"] is None else f"{each['accepted']} accepted"
        say(f"  r{each['revision']} {visible(each['at'])}: {', '.join(each['causes'])}; {each['state']}; {accepted}")
    for stage in funnel["stages"]:
        for gate in stage["failed_gates"]:
            say(f"  {stage['stage']}.{gate['gate']} failed: {why_red(gate['gate'], gate['facts'])}")


def why_red(gate: str, facts: Mapping[str, Any]) -> str:
    """Return in a sentence what a red gate found: its number, the threshold with its reason, and what it counted.

    Example:
        >>> why_red("drift", {"drift": 0.6, "words": 0.6, "threshold": {"max": 0.5, "because": "So."}})
        '0.6, and at most 0.5 is asked for (So.); words 0.6'
    """
    rule = facts.get("threshold") or {}
    bounds = [f"{word} {rule[name]:g}" for name, word in BOUNDS if rule.get(name) is not None]
    asked = f", and {' and '.join(bounds)} is asked for ({rule['because']})" if bounds else ""
    value = f"{visible(facts[gate])}{asked}" if gate in facts else asked.removeprefix(", and ")
    rest = [f"{name} {visible(fact)}" for name, fact in facts.items() if name not in (gate, "threshold")]
    return "; ".join(part for part in (value, ", ".join(rest)) if part)


def _sum(*parts: tuple[str, int | dict[str, int]]) -> str:
    """Write a sum with the reasons behind its parts; parts beyond the three of the rule only if there are any."""
    written = []
    for place, (name, counts) in enumerate(parts):
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items()) if isinstance(counts, dict) else ""
        total = sum(counts.values()) if isinstance(counts, dict) else counts
        if total or place < PARTS_OF_A_SUM:
            written.append(f"{total} {name}" + (f" ({reasons})" if reasons else ""))
    return " + ".join(written)


@click.command()
@click.argument("dataset")
@as_json
def versions(*, dataset: str, is_json: bool) -> None:
    """List the versions of DATASET with their aliases, and the models trained on them."""
    from synth_assets.reports.funnel import known_datasets
    from synth_assets.reports.releases import versions as versions_of

    project = Project(is_reading=True)
    known = sorted({*known_datasets(project.lake), *(each.dataset for each in project.datasets())})
    if dataset not in known:
        raise _unknown(dataset, known)
    found = versions_of(project.lake, dataset)
    if is_json:
        print_json(found)
        return
    if not found:
        say(f"{dataset} has no version yet; `synth release {dataset}` cuts one")
        return
    rows = [
        (
            f"v{row['version']}",
            row["num_samples"],
            f"+{row['added']} -{row['removed']}",
            row["cause"],
            ", ".join(row["aliases"]) or None,
            ", ".join(f"{run['accuracy']:.3f}" for run in row["model_runs"] if "accuracy" in run) or None,
            row["released_at"].date(),
            row["digest"][:10],
        )
        for row in found
    ]
    columns = ("version", "samples", "change", "cause", "aliases", "accuracy", "date", "digest")
    print_table(dataset, columns, rows, numbers=("samples",))
    for row in found:
        if row["reason"]:
            say(f"v{row['version']}: {row['reason']}")
        if row["is_marked"]:
            say(f"v{row['version']} is marked: samples in it were taken down")


@click.command()
@click.option("--sample", help="A sample_id, or at least 6 first characters of it.")
@click.option("--prompt", metavar="DATASET/NAME[@VERSION]", help="A prompt template, or one version of it.")
@click.option("--version", metavar="DATASET@vN", help="A version, by number or alias.")
@click.option("--model-run", help="A model_run_id, or at least 6 first characters of it.")
@click.option("--up", is_flag=True, help="Only what it was made from.")
@click.option("--down", is_flag=True, help="Only what it went into.")
@click.option("--full", is_flag=True, help="Every fact, assessments and tags too, and whole ids.")
@as_json
def lineage(*, is_json: bool, up: bool, down: bool, full: bool, **given: str | None) -> None:
    """Follow the chain of ids from a prompt to the model that consumed its samples, up and down."""
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise UsageError(
            f"{len(named)} things are named to follow, not one",
            where="the command line",
            fix="give one of --sample, --prompt, --version and --model-run",
        )
    ((kind, text),) = named.items()
    found = _chain(Project(is_reading=True), kind, text)
    if up != down:
        found.pop("down" if up else "up")
    if is_json:
        print_json(found)
    else:
        print_lineage(found, is_full=full)


def _chain(project: Project, kind: str, text: str) -> dict[str, Any]:
    from synth_assets.reports import lineage as chains
    from synth_assets.reports.releases import version_number

    if kind == "sample":
        return chains.of_sample(project.lake, text)
    if kind == "model_run":
        return chains.of_model_run(project.lake, text)
    if kind == "version":
        dataset, name = split_version(text)
        return chains.of_version(project.lake, dataset, version_number(project.lake, dataset, name))
    dataset, slash, rest = text.partition("/")
    name, _, version = rest.partition("@")
    if not slash or not dataset or not name:
        raise UsageError(
            f"{text[:80]!r} names no prompt", where="--prompt", fix="write DATASET/NAME or DATASET/NAME@VERSION"
        )
    return chains.of_prompt(project.lake, dataset, name, version or None)


@click.command()
@click.argument("sql")
@click.option(
    "--limit", type=click.IntRange(0, MOST_ROWS), default=ROWS_SHOWN, show_default=True, help="Rows at most; 0 for all."
)
@as_json
def query(*, sql: str, limit: int, is_json: bool) -> None:
    """Run one SELECT on the lake, read-only.

    Tables are those of the lake, by their names; marts are `marts.funnel`, `marts.usage` and so on; texts stand in
    `texts` (sample_id, field, text) and `seed_texts` (seed_id, field, text). `SELECT * FROM information_schema.columns`
    lists every column of the tables, docs/marts.md those of the marts.
    """
    from resources.lake.confined import run_confined

    project = Project(is_reading=True)
    frame = run_confined(project.home, os.environ, sql, limit + 1 if limit else None)
    is_cut = bool(limit) and frame.height > limit
    frame = frame.head(limit) if is_cut else frame
    if is_json:
        print_json(frame.to_dicts())
    else:
        print_table("", [visible(name) for name in frame.columns], frame.iter_rows())
        console.print(counted(frame.height, "row"), style="dim")
    if is_cut:
        sys.stdout.flush()
        errors.print(f"cut after {counted(limit, 'row')}; --limit 0 shows all")
