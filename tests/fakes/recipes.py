"""A small dataset on disk, whole and valid, that tests bend one key at a time.

``write_recipe(tmp_path)`` writes the folder ``tiny``; `COMPLETIONS` and `CHATS` are the endpoints to plan it for.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from synth_assets.domain.ports import Price, Provider

COMPLETIONS = Provider(
    name="fake",
    model="fake-base",
    model_id="fake-base",
    mode="completion",
    takes_llama_params=True,
    price=Price(input_usd_per_million=1.0, output_usd_per_million=2.0, as_of="2026-11-01"),
)
"""Takes raw completions and llama.cpp's own parameters; one million tokens in cost 1 USD, out 2 USD."""

CHATS = Provider(
    name="api.example.org", model="fake-chat", model_id="fake-chat", mode="chat", takes_llama_params=False, price=None
)
"""Takes chats, knows nothing of llama.cpp, and nobody knows its price."""

RECIPE: dict[str, Any] = {
    "dataset": "tiny",
    "description": "Twelve invented sentences about a house, for tests alone.",
    "owners": ["team:tests"],
    "license": "cc0-1.0",
    "task_type": "classification",
    "language": "en",
    "start": "2026-11-01",
    "cadence": "daily",
    "timezone": "UTC",
    "batch": {"accept": 12, "overdraw": 1.5, "max_attempts": 3},
    "generator": {
        "model": "fake-base",
        "temperature": 0.8,
        "top_p": 0.9,
        "min_p": 0.05,
        "max_tokens": 40,
        "stop": ["\n"],
        "concurrency": 4,
    },
    "labels": {"positive": {"share": 0.5}, "negative": {"share": 0.5}},
    "axes": {
        "part": {"door": {}, "roof": {"words": "the old roof"}, "stair": {}},
        "tone": {"plain": {}, "wry": {"weight": 2}},
    },
    "openings": [
        {"text": "The {{ part }}", "when": {"tone": ["plain"]}},
        {"text": "Some say the {{ part }}", "when": {"tone": ["wry"]}},
        {"text": "A {{ rows.words[0].text }} {{ part }}", "when": {"tone": ["wry"], "label": ["negative"]}},
    ],
    "seeds": {"words": {"file": "seeds/words.jsonl", "per_request": 2, "match": ["label"], "is_example": True}},
    "prompts": [{"name": "lines"}, {"name": "talk"}],
    "rules": {
        "words": {"min": 3, "max": 60, "because": "Shorter lines are fragments."},
        "refusal": {"max": 0, "because": "A refusal is no sentence about a house."},
        "pii": {"max": 0, "because": "Invented texts have no use for numbers of people."},
        "contamination": {"max": 0.5, "because": "A test row in training makes the measurement worthless."},
        "exact_duplicate": {"max": 0, "because": "Saying it twice only adds weight."},
        "near_duplicate": {"max": 0.6, "because": "Above it two sentences differ in a word or two."},
    },
    "gates": {
        "answered_share": {"min": 0.5, "because": "Less means that the provider is broken."},
        "acceptance_share": {"min": 0.3, "because": "Less means that the prompt is broken."},
        "label_deviation": {"max": 0.1, "because": "The labels are planned half and half."},
        "drift": {"max": 0.9, "because": "Batches of twelve differ by chance alone."},
    },
    "quality_score": {
        "repetition": {"weight": 3, "worst": 0.5, "best": 0.0},
        "near_duplicate": {"weight": 1, "worst": 0.6, "best": 0.0},
    },
    "splits": {"train": 1.0, "validation": 0.0, "test": 0.0},
}
"""`recipe.yaml` of the dataset; it uses no real data."""

ANY_SHARE: dict[str, Any] = {"acceptance_share": {"min": 0.0, "because": "This is about the promise alone."}}
"""A gate of `gates` that nothing fails: a batch whose samples are all rejected is short, and nothing else."""

SETTINGS = ("batch", "generator", "gates")
"""Keys whose changes are merged into what is there; every other change replaces the whole key."""

FILES = {
    "prompts/lines.md": """\
---
name: lines
version: "1"
mode: completion
reply:
  format: line
---
A {{ label }} list of {{ rows.words[0].text }} and {{ rows.words[1].text }} sentences:
- {{ opening }}
""",
    "prompts/talk.md": """\
---
name: talk
version: "2"
mode: chat
reply:
  format: text
---
## system
You write about houses.
## user
One {{ label }} sentence, {{ tone }}, about {{ part }}. Mood: {{ rows.words[0].text }}.
""",
    "seeds/words.jsonl": "".join(
        json.dumps({"text": text, "label": label}) + "\n"
        for label, texts in {"positive": ["bright", "warm", "sound"], "negative": ["damp", "bleak", "crooked"]}.items()
        for text in texts
    ),
}
"""The other files of the dataset."""


def write_recipe(root: Path, *, files: Mapping[str, str | None] | None = None, **changes: Any) -> Path:
    """Write the dataset into a folder of ``root`` and return the folder, named after the dataset.

    Args:
        root: an existing folder.
        files: text by path inside the folder, beside or instead of `FILES`; None leaves a file out.
        **changes: keys of `recipe.yaml`: None removes one, a mapping changes the named keys of `SETTINGS`, anything
            else replaces what is there.
    """
    recipe = copy.deepcopy(RECIPE)
    for key, value in changes.items():
        if value is None:
            recipe.pop(key, None)
        elif key in SETTINGS:
            recipe[key] |= value
        else:
            recipe[key] = value
    folder = root / str(recipe.get("dataset", "tiny"))
    written = {"recipe.yaml": yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), **FILES, **(files or {})}
    for path, text in written.items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    return folder
