"""Datasets whose requests take several calls, and a model that answers them: pieces for `write_recipe` and `World`."""

from collections.abc import Mapping
from typing import Any

from synth_assets.domain.ports import Call, Price, Provider

PRICED = Provider(
    name="api.example.org",
    model="fake-chat",
    model_id="fake-chat",
    mode="chat",
    takes_llama_params=False,
    price=Price(input_usd_per_million=1.0, output_usd_per_million=2.0, as_of="2026-11-01"),
)
"""A chat whose answers cost something."""

UNLABELLED: dict[str, Any] = {
    "labels": None,
    "openings": None,
    "seeds": None,
    "real_data": None,
    "rules": {"words": {"min": 1, "because": "An empty answer teaches nothing."}},
    "quality_score": {"words": {"weight": 1, "worst": 0, "best": 9}},
    "gates": {"label_deviation": None},
    "batch": {"accept": 4, "overdraw": 1.5},
}
"""Changes that take the labels, and all that goes with them, out of the tiny recipe."""


def prompt(name: str, body: str, *, mode: str = "chat", version: str = "1", **reply: Any) -> dict[str, str]:
    """Return a template file by its path; ``reply`` is its front matter's."""
    said = ", ".join(f"{key}: {value}" for key, value in reply.items())
    front = f'---\nname: {name}\nversion: "{version}"\nmode: {mode}\nreply: {{{said}}}\n---\n'
    return {f"prompts/{name}.md": f"{front}{body}\n"}


def without_labels(**changes: Any) -> dict[str, Any]:
    """Return the keys of a dataset without labels for `write_recipe`."""
    return {**UNLABELLED, **changes}


def last_message(call: Call) -> str:
    """Return what a chat was asked last."""
    return call.prompt[-1]["content"] if isinstance(call.prompt, list) else call.prompt


def by_word(answers: Mapping[str, str]) -> Any:
    """Return a model that answers by the first known word of its last message, and tells its seed."""

    def say(call: Call) -> str:
        asked = last_message(call)
        return next(answer for word, answer in answers.items() if word in asked).replace("SEED", str(call.seed))

    return say
