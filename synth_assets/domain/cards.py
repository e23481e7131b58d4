"""The dataset card: what a release says about itself to a person, in Hugging Face's form."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from synth_assets.recipe.model import RecipeModel

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Hugging Face's size categories."""

ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
"""What Markdown cannot escape by a backslash everywhere."""


def dataset_card(
    model: RecipeModel,
    meta: Mapping[str, Any],
    funnel: Mapping[str, int],
    *,
    left_out: Mapping[str, str],
    splits: Sequence[str],
) -> str:
    """Return the card as Markdown; the same facts give the same bytes, and no sample text is in it.

    Args:
        model: the recipe.
        meta: the release's `meta.json`.
        funnel: count by step, in order.
        left_out: the stage that holds a batch back, by batch.
        splits: parts of the data that have a file.
    """
    return "\n".join([*_front_matter(model, meta, splits), "", *_body(model, meta, funnel, left_out)]) + "\n"


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
        f"language: [{model.language}]",
        "task_categories: [text-classification]",
        f"size_categories: ['{size}']",
        "tags: [synthetic]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *[f"  - split: {split}\n    path: data/{split}.parquet" for split in splits],
        "---",
    ]


def _body(
    model: RecipeModel, meta: Mapping[str, Any], funnel: Mapping[str, int], left_out: Mapping[str, str]
) -> list[str]:
    lines = [
        f"# {model.dataset} {meta['version']}",
        "",
        escaped(model.description),
        "",
        "Every text in this dataset was written by a language model, or continued by one from an opening that the",
        "recipe gives; no row was collected from people.",
        "",
        "| fact | value |",
        "|---|---|",
        f"| samples | {meta['num_samples']} |",
        *[f"| label {escaped(name)} | {count} |" for name, count in meta["label_counts"].items()],
        f"| written by | {escaped(', '.join(meta['generator']))} |",
        f"| prompts | {escaped(', '.join(meta['prompt_template']))} |",
        f"| mean quality score | {_number(meta['quality_score_avg'])} |",
        f"| cost | {_cost(meta['cost_usd'])} |",
        f"| last batch | {meta['date']} |",
        f"| digest | `{meta['digest']}` |",
        "",
        "## From request to sample",
        "",
        "| step | count |",
        "|---|---|",
        *[f"| {step} | {count} |" for step, count in funnel.items()],
        "",
        "## How samples were judged",
        "",
        "| rule | range | because |",
        "|---|---|---|",
        *[f"| {name} | {_range(rule.min, rule.max)} | {escaped(rule.because)} |" for name, rule in model.rules.items()],
        "",
        "The quality score is the weighted mean of these assessments, each 0 at its worst and 1 at its best value:",
        "",
        *[
            f"- {name}: weight {entry.weight:g}, from {entry.worst:g} to {entry.best:g}"
            for name, entry in model.quality_score.items()
        ],
    ]
    lines += _tags(model, meta["tag_counts"])
    if left_out:
        lines += [
            "",
            "## Left out",
            "",
            *[f"- batch {batch}: held back at {stage}" for batch, stage in sorted(left_out.items())],
        ]
    return lines


def _tags(model: RecipeModel, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Every tag with its values; what is neither a rule nor an axis any more was one when its batch was made."""
    if not counts:
        return []
    lines = ["", "## Tags", "", "| tag | found by | samples by value |", "|---|---|---|"]
    for name, values in counts.items():
        by = (
            model.tags[name].kind if name in model.tags else "drawn for the request" if name in model.axes else "before"
        )
        shown = ", ".join(f"{escaped(value)} {count}" for value, count in values.items())
        lines.append(f"| {escaped(name)} | {by} | {shown} |")
    return lines


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _cost(value: float | None) -> str:
    return "unknown: a price is missing" if value is None else f"{value:.4f} USD"


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
