"""What the domain needs from outside, as protocols; adapters live in `resources`, fakes in the tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl

from synth_assets.vocabulary import UNKNOWN, Outcome, QuarantineReason

Mode = Literal["completion", "chat"]


@dataclass(frozen=True)
class Price:
    """What a model costs, and when that was true."""

    input_usd_per_million: float
    output_usd_per_million: float
    as_of: str

    def of(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        """Return the cost of one call in USD; None when a token count is unknown."""
        if input_tokens is None or output_tokens is None:
            return None
        return (input_tokens * self.input_usd_per_million + output_tokens * self.output_usd_per_million) / 1e6


@dataclass(frozen=True)
class Provider:
    """An endpoint as the plan sees it: everything that enters a `call_id` and nothing secret.

    Attributes:
        name: ``embedded``, a name of `providers.yaml`, or the host of the endpoint in the environment.
        model: name sent as ``model``.
        model_id: what identifies the weights; for the embedded model its name and the file's sha256.
        mode: whether it takes raw completions or chat messages.
        takes_llama_params: whether llama.cpp's own parameters (min_p, cache_prompt ...) may be sent.
        price: None when no price is known; cost is then null, never guessed.
        takes_schema: whether it can be held to a JSON schema.
        spelling: names under which parameters are sent where they differ from ours, as (ours, theirs).
        omits: parameters it does not take; they are not sent.
    """

    name: str
    model: str
    model_id: str
    mode: Mode
    takes_llama_params: bool
    price: Price | None
    takes_schema: bool = False
    spelling: tuple[tuple[str, str], ...] = ()
    omits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Route:
    """A model that requests are dealt to.

    Attributes:
        weight: its share, in any unit.
        fallback: who is asked instead, in order, if its provider does not answer; they take the same prompts.
    """

    provider: Provider
    weight: float = 1.0
    fallback: tuple[Provider, ...] = ()


@dataclass(frozen=True)
class Routing:
    """The models a dataset is written by."""

    routes: tuple[Route, ...]

    @classmethod
    def to(cls, provider: Provider) -> "Routing":
        """Send everything to one model."""
        return cls((Route(provider),))

    @property
    def providers(self) -> list[Provider]:
        """Every model that may be asked, once."""
        return list(dict.fromkeys(each for route in self.routes for each in (route.provider, *route.fallback)))

    def find(self, name: str, model_id: str) -> Provider | None:
        """Return a model by what a plan stored of it.

        Plans of an earlier time have no name of the provider, and an endpoint may have moved or been misspelled: a
        model that only one provider has is found by its own name.
        """
        same = [each for each in self.providers if each.model_id == model_id]
        named = [each for each in same if name in (each.name, UNKNOWN)]
        return named[0] if named else same[0] if len(same) == 1 else None


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it will be sent.

    Attributes:
        call_id: hash of everything below plus provider and model.
        request_id: the planned request it works off.
        prompt: text for a completion, list of ``{"role", "content"}`` for a chat.
        params: sampling parameters as sent, seed excluded.
        seed: sampling seed.
        schema: JSON schema demanded of the answer, or None.
        asks: the model it is addressed to; None where there is but one.
        may_fall_back: whether another model is asked if this one's provider does not answer.
    """

    call_id: str
    request_id: str
    prompt: str | list[dict[str, str]]
    params: Mapping[str, Any]
    seed: int
    schema: Mapping[str, Any] | None = None
    asks: Provider | None = None
    may_fall_back: bool = False


@dataclass(frozen=True)
class Answer:
    """A paid answer as the journal keeps it.

    Attributes:
        text: content of the first choice; may be empty.
        refusal: whether the provider marked it as a refusal.
        finish_reason: the provider's word, e.g. ``stop``, ``length``, ``content_filter``.
        mean_logprob: mean log probability of the answer's tokens in nats, None if not given.
        latency_s: seconds from sending to the last byte.
        generated_at: when it was journaled, UTC; None for an ingested answer that does not say.
        tries: HTTP requests made for it, this one included.
        reasoning: what the model thought before it answered, if it says; kept apart, never part of a sample.
    """

    call_id: str
    text: str
    refusal: bool
    finish_reason: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    mean_logprob: float | None
    latency_s: float
    generated_at: datetime | None
    tries: int
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one call ended: an answer, a reason why there is none, or not sent at all.

    Attributes:
        lost: tries that were sent and then abandoned: nobody knows whether they are paid.
    """

    request_id: str
    call_id: str
    outcome: Outcome
    reason: QuarantineReason | None
    answer: Answer | None
    tries: int
    lost: int = 0


@dataclass(frozen=True)
class Stop:
    """Why generation stopped before the plan was worked off; everything finished is kept."""

    reason: QuarantineReason
    where: str
    fix: str


@dataclass(frozen=True)
class Endings:
    """The endings of all calls of a plan, in the order of the calls, and the stop if there was one.

    Attributes:
        stop: of everybody, or else of the first provider that left calls unsent.
        paid_now: calls answered over the network in this run (the others came from the journal).
    """

    endings: list[Ending]
    stop: Stop | None
    paid_now: int


class NotRecordedError(Exception):
    """A replay met a call the journal knows nothing of; says whose."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class Generator(Protocol):
    """One or several language models behind a journal."""

    @property
    def routing(self) -> Routing:
        """Which models it asks."""

    def generate(
        self,
        calls: Sequence[Call],
        *,
        dataset: str,
        batch: str,
        spend_limit_usd: float | None,
        progress: Callable[[int, int], None],
        is_ours: Callable[[], bool],
    ) -> Endings:
        """End every call: from the journal if it was paid before, over the network otherwise.

        Provider faults never raise: they become endings or a `Stop`. What stops one provider only leaves its calls
        unsent; those that may fall back are quarantined for it, so that the next model can be asked.

        Args:
            calls: what to send, in plan order.
            dataset: names the journal's folder.
            batch: names the journal's folder.
            spend_limit_usd: money left for these calls; None without a budget.
            progress: called with (ended, total) now and then.
            is_ours: whether the batch is still ours to work on, asked before each wave of requests, from any thread;
                once it is not, nothing more is sent, and what is under way is waited for.

        Raises:
            NotRecordedError: this is a replay, and the journal knows nothing of a call; no call was ended.
        """


class Embedder(Protocol):
    """A sentence embedder."""

    @property
    def name(self) -> str:
        """Model and hash; part of what makes an embedding outdated."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, shape (len(texts), dimensions), float32."""


@dataclass(frozen=True)
class LabelledTexts:
    """Real labelled texts, frozen: ``rows`` has columns text and label, shape (n, 2), in a fixed order."""

    name: str
    source: str
    sha256: str
    rows: pl.DataFrame

    @classmethod
    def empty(cls) -> "LabelledTexts":
        """Return no rows at all, for datasets without real data."""
        return cls("none", "none", "0" * 64, pl.DataFrame(schema={"text": pl.String, "label": pl.String}))


@dataclass(frozen=True)
class RealData:
    """Real data of a dataset: what is measured on, what is tuned on and what baselines may learn from."""

    test: LabelledTexts
    validation: LabelledTexts
    pool: LabelledTexts
    protected: LabelledTexts
    """Every row no training sample may resemble: all test and validation rows, also those not measured on."""
