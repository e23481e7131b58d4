"""`synth plan`: what the next run of a batch would ask and cost."""

from typing import Any

import click

from synth_assets.checks.calendar import refuse_moved
from synth_assets.cli.batches import batch_key, warn_of_gap
from synth_assets.cli.output import as_json, counted, print_json, print_table, say
from synth_assets.cli.project import Project
from synth_assets.reports.forecast import forecast
from synth_assets.stages.inputs import new_templates


@click.command()
@click.argument("dataset")
@click.option("--batch", help="Partition key; default is the current period.")
@as_json
def plan(*, dataset: str, batch: str | None, is_json: bool) -> None:
    """Forecast what the next run of a batch would ask: requests, tokens and cost. Pays nothing and stores nothing."""
    project = Project(is_imagining=True)
    recipe = project.recipe(dataset)
    refuse_moved(project.lake, recipe)
    new_templates(recipe, project.lake)
    key = batch_key(recipe, batch)
    warn_of_gap(project, recipe, key)
    facts = forecast(project.lake, recipe, key, project.routing(recipe))
    if is_json:
        print_json(facts)
        return
    prompts = facts["prompts"] if facts["requests"] and not facts["is_open"] else {}
    by_label = ", ".join(f"{count} {label}" for label, count in facts["requests_by_label"].items())
    print_table(
        f"{dataset} {facts['batch']}",
        ("", ""),
        [
            ("attempt", _attempt_of(facts)),
            ("requests", f"{facts['requests']} ({by_label})" if by_label else 0),
            *[(f"  with prompt {name}", f"{of['planned_requests']}: {of['reason']}") for name, of in prompts.items()],
            ("calls", _calls_of(facts)),
            *[("model", _asked_of(each)) for each in facts["models"]],
            ("input tokens, at most", facts["input_tokens"]),
            ("output tokens, at most", facts["output_tokens"]),
            (
                "cost in USD, at most",
                facts["cost_usd"] if facts["cost_usd"] is not None else "unknown: a price is missing",
            ),
        ],
    )
    if facts["refusal"] is not None:
        say(f"`synth run` would ask nobody: {facts['refusal']}")


def _attempt_of(facts: dict[str, Any]) -> str:
    if facts["is_open"]:
        return f"{facts['attempt']}, open: its requests without an outcome"
    return str(facts["attempt"]) if facts["because"] is None else f"none: {facts['because']}"


def _calls_of(facts: dict[str, Any]) -> str:
    calls, most = facts["calls"], facts["most_calls"]
    return f"{calls}, at most {most} with second chances and fallbacks" if most > calls else str(calls)


def _asked_of(model: dict[str, Any]) -> str:
    price = f"price of {model['price_as_of']}" if model["price_as_of"] else "no price known"
    price = "costs nothing" if model["is_free"] else price
    asked = counted(model["requests"], "request") if model["requests"] or not model["most_calls"] else "stands in"
    return f"{model['provider']}/{model['model']}: {asked}, {price}"
