"""The generator: one client for every model, behind the journal.

It joins the parts: what was paid before (`ledger`, `resources.journal`), several providers at once (`router`, `line`),
one stay at an endpoint (`run`), what is sent and how often (`schedule`, `limits`, `pace`, `rates`), whether it still
may be (`lookout`), one try (`wire`, `transport`), what a reply means (`answers`) and where requests go (`provider`,
`embedded`).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from resources.llm import provider as providers
from resources.llm.bulk import FIRST_POLL_S
from resources.llm.embedded import IDLE_S, SLOTS, EmbeddedServer
from resources.llm.limits import Patience
from resources.llm.line import Endpoint, Line
from resources.llm.provider import Address
from resources.llm.rates import Rate
from resources.llm.router import Router
from resources.llm.weights import MODEL_NAME, model_file, model_sha256
from synth_assets.domain.ports import Provider, Route, Routing
from synth_assets.errors import UsageError
from synth_assets.recipe.model import Generator as Settings
from synth_assets.recipe.providers import FILE, NO_PROFILES, Profile, Profiles


class OpenAIGenerator(Router):
    """A single model that speaks the OpenAI protocol.

    Args:
        provider: what it is called and how it is spoken to.
        endpoint: where it is.
        patience: limits of tries, time and calls in flight.
        home: SYNTH_HOME.
        poll_s: first wait for a file of calls, in seconds; None sends calls one by one instead.
        is_replay: whether answers come from the journal alone.
    """

    def __init__(
        self,
        provider: Provider,
        endpoint: Endpoint,
        *,
        patience: Patience,
        home: Path,
        poll_s: float | None = None,
        is_replay: bool = False,
    ) -> None:
        line = Line(endpoint, patience, poll_s=poll_s)
        super().__init__(Routing.to(provider), {provider.name: line}, home=home, is_replay=is_replay)
        self.provider = provider


class Remote:
    """An endpoint somebody else runs: there is nothing to start and nothing to mend."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def open(self) -> Address:
        """Return the configured address."""
        return self._address

    def mend(self) -> Address:
        """Return the same address: whether it is worth another try is the schedule's question."""
        return self._address

    def close(self) -> None:
        """Do nothing."""


def make_generator(
    settings: Settings,
    *,
    home: Path,
    environ: Mapping[str, str],
    profiles: Profiles = NO_PROFILES,
    idle_s: float = IDLE_S,
) -> Router:
    """Return the generator a recipe and the environment mean.

    Args:
        settings: the recipe's `generator`.
        home: SYNTH_HOME; holds the journal and the embedded server's runtime files.
        environ: SYNTH_LLM_BASE_URL, _API_KEY and _MODEL override the recipe; profiles name the variables of their keys;
            SYNTH_LLM_MODE says whether anybody is asked at all; SYNTH_ASSETS_DATA finds the weights.
        profiles: what `providers.yaml` says.
        idle_s: how long the embedded server outlives its last client, in seconds.

    Raises:
        UsageError: settings and environment name no endpoint, no model or no mode.
        SynthError: the embedded model is not installed.
    """
    patience, poll_s = _bounds(settings)
    is_replay = providers.is_replay(environ)
    uses = providers.uses_of(settings, environ, profiles)
    if not uses:
        provider, address = providers.remote(settings, environ)
        return OpenAIGenerator(
            provider, Remote(address), patience=patience, home=home, poll_s=poll_s, is_replay=is_replay
        )
    models: dict[str, Provider] = {}
    lines: dict[str, Line] = {}
    for name in dict.fromkeys(name for use in uses for name in (use.model, *use.fallback)):
        profile = profiles.find(name)
        if profile is None:
            models[name], line = _embedded(settings, home, environ, idle_s=idle_s)
        else:
            models[name], line = _profiled(profile, settings, environ)
        lines.setdefault(models[name].name, line)
    routes = (Route(models[use.model], use.weight, tuple(models[each] for each in use.fallback)) for use in uses)
    return Router(Routing(tuple(routes)), lines, home=home, is_replay=is_replay)


def _bounds(settings: Settings) -> tuple[Patience, float | None]:
    patience = Patience(settings.concurrency, settings.deadline_s, settings.max_tries)
    return patience, FIRST_POLL_S if settings.dispatch == "batch" else None


def _embedded(settings: Settings, home: Path, environ: Mapping[str, str], *, idle_s: float) -> tuple[Provider, Line]:
    patience, poll_s = _bounds(settings)
    if poll_s is not None:
        raise UsageError(
            "the embedded model takes no batch files",
            where="generator.dispatch in recipe.yaml",
            fix=f"set `dispatch: online`, or {providers.BASE_URL} to a provider that has a batch endpoint",
        )
    path = model_file(environ)
    sha256 = model_sha256(path, home)
    server = EmbeddedServer(home, path, sha256, idle_s=idle_s)
    provider = providers.embedded(settings, model=MODEL_NAME, model_sha256=sha256)
    return provider, Line(server, replace(patience, concurrency=SLOTS))


def _profiled(profile: Profile, settings: Settings, environ: Mapping[str, str]) -> tuple[Provider, Line]:
    provider, address = providers.profiled(profile, settings, environ)
    endpoint, (patience, poll_s) = profile.endpoint, _bounds(settings)
    return provider, Line(
        Remote(address),
        replace(patience, concurrency=endpoint.concurrency or patience.concurrency),
        Rate(endpoint.requests_per_minute, endpoint.tokens_per_minute),
        poll_s=poll_s,
        key=endpoint.key if endpoint.key and address.api_key == providers.NO_KEY else "",
        parameters=f"providers.{profile.provider}.models.{{model}} in {FILE}",
        prices=f"providers.{profile.provider}.models.{{model}}.prices to {FILE}",
        advice=providers.advice(profile),
    )
