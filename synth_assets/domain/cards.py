"""What data says about itself to a person: the sections of every card, and a release's card in Hugging Face's form."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from synth_assets.recipe.model import RecipeModel
from synth_assets.recipe.tasks import TASKS
from synth_assets.vocabulary import OURS

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Hugging Face's size categories."""

ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
"""What Markdown cannot escape by a backslash everywhere."""

MOST_VALUES = 20
"""Values of a tag that the card counts one by one; `meta.json` counts all."""

BY = " by "
"""Between a model and the tool that asked it; names hold no spaces."""

OWN_ROWS = (
    "Every text in this dataset was written by a language model, or continued by one from an opening that the",
    "recipe gives; no row was collected from people.",
)
FOREIGN_ROWS = (
    "Some rows were made elsewhere and taken in. Who or what wrote those is known as far as their tool said; the",
    "others were written by a language model, or continued by one from an opening that the recipe gives.",
)


def writer(row: Mapping[str, Any]) -> str:
    """Name the model that wrote a request's sample, and the tool if it was not this one."""
    return str(row["model"]) if row["generator"] == OURS else f"{row['model']}{BY}{row['generator']}"


def dataset_card(
    model: RecipeModel,
    meta: Mapping[str, Any],
    funnel: Mapping[str, int],
    *,
    left_out: Mapping[str, str],
    behind: Mapping[str, str],
    as_judged: Mapping[str, str],
    splits: Sequence[str],
) -> str:
    """Return the card as Markdown; the same facts give the same bytes, and no sample text is in it.

    Args:
        model: the recipe.
        meta: the release's `meta.json`.
        funnel: count by step, in order.
        left_out: the stage that holds a batch back, by batch.
        behind: the stage that holds the newer revision of a batch back, by batch.
        as_judged: what today's rules would say of batches that were judged by earlier ones.
        splits: parts of the data that have a file.
    """
    notes = {"left out": left_out, "behind": behind, "as judged": as_judged}
    return "\n".join([*_front_matter(model, meta, splits), "", *_body(model, meta, funnel, notes)]) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it is."""
    folded = " ".join(text.split())
    shown = re.sub(r"[\\`*_{}\[\]()#+!|~<>&]", lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), folded)
    return re.sub(r"^(\d*)([-=.])", r"\1\\\2", shown)  # a list, a rule or a heading, were it at the start of a line


def _front_matter(model: RecipeModel, meta: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    size = next((name for limit, name in SIZES if meta["num_samples"] < limit), "n>1M")
    return [
        "---",
        f'pretty_name: "{model.dataset} {meta["version"]}"',
        f"license: {orjson.dumps(model.license).decode()}",  # JSON text is a YAML string, whatever is in it
        f"language: [{', '.join(model.languages)}]",
        f"task_categories: [{TASKS[model.task_type].category}]",
        f"size_categories: ['{size}']",
        "tags: [synthetic]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *[f"  - split: {split}\n    path: data/{split}.parquet" for split in splits],
        "---",
    ]


def _body(
    model: RecipeModel, meta: Mapping[str, Any], funnel: Mapping[str, int], notes: Mapping[str, Mapping[str, str]]
) -> list[str]:
    facts = {
        "samples": str(meta["num_samples"]),
        **{f"label {escaped(name)}": str(count) for name, count in meta["label_counts"].items()},
        "written by": escaped(", ".join(meta["generator"])),
        "prompts": escaped(", ".join(meta["prompt_template"])),
        "mean quality score": number(meta["quality_score_avg"]),
        "cost": cost(meta["cost_usd"]),
        "last batch": meta["date"],
        "digest": f"`{meta['digest']}`",
    }
    held = [
        *[f"- batch {batch}: held back at {stage}" for batch, stage in sorted(notes["left out"].items())],
        *[
            f"- batch {batch} is inside as it was last green: what came since is held back at {stage}"
            for batch, stage in sorted(notes["behind"].items())
        ],
    ]
    earlier = [f"- batch {batch}: {escaped(said)}" for batch, said in sorted(notes["as judged"].items())]
    return [
        *opening(model, meta["version"], facts, writers=meta["generator"]),
        *section("From request to sample", table(("step", "count"), funnel.items())),
        *judging(model),
        *_tags(model, meta["tag_counts"]),
        *(section("Inside by the rules of their time", earlier) if earlier else []),
        *(section("Left out", held) if held else []),
    ]


def opening(model: RecipeModel, name: str, facts: Mapping[str, str], *, writers: Iterable[str]) -> list[str]:
    """Return the head of a card: what it is, who wrote it, and its facts as a table.

    Args:
        model: the recipe.
        name: of the version or batch.
        facts: value by fact, both escaped.
        writers: who wrote the samples, each as `writer` says.
    """
    said = OWN_ROWS if not any(BY in each for each in writers) else FOREIGN_ROWS
    return [
        f"# {model.dataset} {name}",
        "",
        escaped(model.description),
        "",
        *said,
        "",
        *table(("fact", "value"), facts.items()),
    ]


def judging(model: RecipeModel) -> list[str]:
    """Return the section on rules, with their reasons, and on the quality score."""
    rules = [(name, _range(rule.min, rule.max), escaped(rule.because)) for name, rule in model.rules.items()]
    return section(
        "How samples were judged",
        [
            *table(("rule", "range", "because"), rules),
            "",
            "The quality score is the weighted mean of these assessments, each 0 at its worst and 1 at its best value:",
            "",
            *[
                f"- {name}: weight {entry.weight:g}, from {entry.worst:g} to {entry.best:g}"
                for name, entry in model.quality_score.items()
            ],
        ],
    )


def _tags(model: RecipeModel, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Every tag with its values; what is neither a rule nor an axis any more was one when its batch was made."""
    rows = []
    for name, values in counts.items():
        by = (
            model.tags[name].kind if name in model.tags else "drawn for the request" if name in model.axes else "before"
        )
        counted = ", ".join(f"{escaped(value)} {count}" for value, count in values.items())
        rows.append((escaped(name), by, counted if len(values) <= MOST_VALUES else f"{len(values)} different values"))
    return section("Tags", table(("tag", "found by", "samples by value"), rows)) if rows else []


def section(title: str, lines: Iterable[str]) -> list[str]:
    """Return a section with its heading."""
    return ["", f"## {title}", "", *lines]


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return rows as a Markdown table; what a stranger could have written in a cell must be `escaped`."""
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *[f"| {' | '.join(str(cell) for cell in row)} |" for row in rows],
    ]


def number(value: float | None) -> str:
    """Return a share or score with three digits."""
    return "unknown" if value is None else f"{value:z.3f}"


def cost(value: float | None) -> str:
    """Return what was paid."""
    return "unknown: a price is missing" if value is None else f"{value:.4f} USD"


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
