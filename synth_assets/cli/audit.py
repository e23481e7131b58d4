"""`synth audit`: who did what, and whether what is stored still agrees with it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from synth_assets.cli.output import as_json, counted, print_json, print_table, say
from synth_assets.cli.project import Project
from synth_assets.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from synth_assets.reports.audit import Audited

COLUMNS = ("seq", "when", "clock", "of", "who", "action", "run", "entry", "after")
EARLIER = "earlier"
"""What the column `clock` says of an entry whose time is before that of the entry before."""
SHORT = 12
MOST_SHOWN = 1_000_000
UNPROVEN = (
    "No --head was given: a chain rewritten from some entry on, ledger and all, cannot be told from a true one. Keep "
    "the head above where nobody who writes here can write, and give it to the next verify."
)

UNSIGNED = (
    "The entries are not signed: whoever can write the catalog can append to it. Set SYNTH_AUDIT_KEY, and every entry "
    "from then on carries a signature that only its holder can make."
)


@click.group()
def audit() -> None:
    """Show and verify the audit: one entry for every transaction, each with the hash of the one before."""


@audit.command("log")
@click.argument("dataset", required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="Entries of each dataset at most, its last.",
)
@as_json
def log(*, dataset: str | None, limit: int, is_json: bool) -> None:
    """Show the last entries of DATASET, or of each dataset, newest last.

    The last are those at the end of the chain, whatever time a clock gave them. One whose time is before that of the
    entry it follows is marked.
    """
    from synth_assets.reports.audit import log as log_of

    project = Project(is_reading=True)
    _chosen(project, dataset)
    entries = log_of(project.lake, dataset, limit)
    if is_json:
        print_json(entries)
        return
    columns = [name for name in ("dataset", *COLUMNS) if name != "dataset" or dataset is None]
    is_marked = any(entry["is_earlier"] for entry in entries)
    columns = columns if is_marked else [name for name in columns if name != "clock"]
    print_table("", columns, [[_cells(entry)[name] for name in columns] for entry in entries], numbers=("seq",))
    if is_marked:
        say(f"{EARLIER}: of an earlier time than the entry it follows, because a clock ran ahead or went back")


def _cells(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": entry["dataset"],
        "seq": entry["seq"],
        "when": entry["entered_at"],
        "clock": EARLIER if entry["is_earlier"] else None,
        "who": entry["actor"],
        "action": entry["action"],
        "of": _subject(entry),
        "run": entry["run_id"][:8] or None,
        "entry": entry["entry_sha256"][:SHORT],
        "after": entry["previous_sha256"][:SHORT],
    }


def _subject(entry: dict[str, Any]) -> str | None:
    """Return the batch or version that an entry is about, None for one about the whole dataset."""
    details = orjson.loads(entry["details"])
    named = [details.get(name) for name in ("batch", "partition")]
    version = details.get("version")
    named.append(f"v{version}" if isinstance(version, int) else version)
    return next((str(each) for each in named if each), None)


@audit.command("verify")
@click.argument("dataset", required=False)
@click.option("--head", help="Hash of an entry that was kept outside, or at least 12 digits of it.")
@as_json
def verify(*, dataset: str | None, head: str | None, is_json: bool) -> None:
    """Compute the chain of DATASET, or of all datasets, anew and compare catalog, ledger, payload and releases with it.

    Nothing is changed. Exit code 4 means that something contradicts itself.
    """
    from resources.verified import Verified, write_down
    from synth_assets.domain.auditing import is_head
    from synth_assets.reports.audit import verify as verify_dataset

    project = Project(is_reading=True)
    chosen = _chosen(project, dataset)
    given = head.strip().lower() if head is not None else None
    if given is not None and (not is_head(given) or len(chosen) != 1):
        what = "a head is 12 to 64 hex digits" if not is_head(given) else "a head belongs to one dataset"
        raise UsageError(what, where="--head", fix="synth audit verify DATASET --head HASH")
    found = [verify_dataset(project.lake, name, given) for name in chosen]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sound = [each for each in found if not each.findings]
    for each in sound:
        project.lake.keep_head(each.dataset)
    write_down(project.home, {each.dataset: Verified(each.entries, now) for each in sound})
    if is_json:
        print_json([asdict(each) for each in found])
    else:
        _print_found(found, is_proven=given is not None)
    if not found:
        raise UsageError(
            "nothing was ever written down in this home, so nothing is proven",
            where=str(project.home),
            fix="mount the right volume or correct SYNTH_HOME; `synth run DATASET` writes a first entry",
        )
    wrong = [finding for each in found for finding in each.findings]
    if wrong:
        first = wrong[0]
        raise IntegrityError(first.what, where=first.where, fix=first.fix)


def _chosen(project: Project, dataset: str | None) -> list[str]:
    from synth_assets.reports.audit import datasets

    known = datasets(project.lake)
    if dataset is None:
        return known
    if dataset not in known:
        raise UsageError(
            f"the audit knows no dataset {dataset[:80]!r}",
            where="the command line",
            fix=f"datasets: {', '.join(known) or 'none yet'}",
        )
    return [dataset]


def _print_found(found: "list[Audited]", *, is_proven: bool) -> None:
    for each in found:
        state = "contradicts itself" if each.findings else "agrees with the ledger, the payload and the releases"
        say(f"{each.dataset}: the chain of {counted(each.entries, 'entry', 'entries')} {state}")
        for finding in each.findings:
            say(f"  {finding.what} ({finding.where})")
        say(f"  head{', not one to keep' if each.findings else ''}: {each.head}")
        say(f"  looked at: {counted(each.objects, 'payload file')}, {counted(each.releases, 'release')}")
        if each.recovered:
            say(f"  written into the ledger later, from the catalog: entries {_listed(each.recovered)}")
        if each.known_head is not None and not each.findings:
            say(f"  the head given is entry {each.known_head:,}: nothing up to it was rewritten")
        _print_binding(each)
    for note, holds in ((UNPROVEN, not is_proven), (UNSIGNED, any(each.signed_from is None for each in found))):
        if holds:
            say(note)


def _print_binding(each: "Audited") -> None:
    if not each.is_bound:
        say("  written before entries bound their rows: the next command that writes binds what is there")
    elif each.migrated_at is not None:
        say(f"  bound as it was found at entry {each.migrated_at:,}: rows and files that are older than that")


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:SHORT])
    return f"{shown} and {len(numbers) - SHORT:,} more" if len(numbers) > SHORT else shown
