"""A provider as it is asked: where it is, with how much patience, how fast, and what a person does when it stops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resources.llm.limits import Patience
from resources.llm.pace import Pace
from resources.llm.provider import Address
from resources.llm.rates import Rate
from synth_assets.domain.ports import Provider
from synth_assets.vocabulary import QuarantineReason

LONGEST = "max_tokens"
"""The one parameter that newer models take under another name; without it nothing bounds an answer's cost."""


class Endpoint(Protocol):
    """Where a provider is to be found."""

    def open(self) -> Address:
        """Return the address, ready to take requests; raises StoppedError if it cannot be."""

    def mend(self) -> Address:
        """Return the address to go on with after a connection failed; raises StoppedError if there is none."""

    def close(self) -> None:
        """Say that it is not needed now."""


@dataclass(frozen=True)
class Line:
    """A provider as it is asked.

    Attributes:
        rate: what it says it allows; shared by all runs of a generator.
        pace: what it was found to allow, likewise: a limit found in one wave of calls is known in the next.
        poll_s: first wait for a file of calls, in seconds; None sends calls one by one instead.
        key: environment variable that should hold its key but is not set; empty if nothing is missing.
        prices: where a price of ``{model}`` belongs.
        parameters: where it is said which parameters ``{model}`` takes.
        advice: what a person does after a stop of it, where that is not what `limits.STOPS` says.
    """

    endpoint: Endpoint
    patience: Patience
    rate: Rate = field(default_factory=Rate)
    pace: Pace = field(default_factory=Pace)
    poll_s: float | None = None
    key: str = ""
    prices: str = "generator.prices.{model} to the recipe"
    parameters: str = "a profile of this endpoint in providers.yaml, at its model"
    advice: Mapping[QuarantineReason, str] = field(default_factory=dict)


def without(parameter: str, line: Line, provider: Provider) -> str:
    """Return what a person does about a parameter that a model does not take."""
    added = "parameters: {max_tokens: max_completion_tokens}" if parameter == LONGEST else f"omit: [{parameter}]"
    place = line.parameters.format(model=provider.model)
    return f"it does not take `{parameter}`: add `{added}` to {place}, then run the same command again"


def named(provider: Provider) -> str:
    """Name a provider in a stop."""
    return f"{provider.name}, model {provider.model}"
