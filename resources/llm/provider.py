"""Which provider is meant: the recipe's generator settings and the environment, made into one endpoint.

Nothing here opens a connection; the environment is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from resources.llm.secrets import remember
from synth_assets.domain.ports import Price, Provider
from synth_assets.errors import UsageError
from synth_assets.recipe.model import Generator as Settings
from synth_assets.recipe.models import ModelUse
from synth_assets.recipe.prices import PriceModel
from synth_assets.recipe.providers import EMBEDDED, FILE, Profile, Profiles
from synth_assets.vocabulary import QuarantineReason

BASE_URL = "SYNTH_LLM_BASE_URL"
API_KEY = "SYNTH_LLM_API_KEY"
MODEL = "SYNTH_LLM_MODEL"
MODE = "SYNTH_LLM_MODE"
LIVE, RECORD, REPLAY = "live", "record", "replay"
MODES = (LIVE, RECORD, REPLAY)
"""The journal records always, so `record` is another word for `live`."""

NO_KEY = "none"
"""What is sent to endpoints that want no key; the SDK insists on one."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """Where requests go.

    Attributes:
        base_url: up to and including ``/v1``.
        api_key: never shown, never part of an id.
    """

    base_url: str
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:
        """Make the key known, so that an answer that echoes it is stored nowhere."""
        if self.api_key != NO_KEY:
            remember(self.api_key)


def uses_of(settings: Settings, environ: Mapping[str, str], profiles: Profiles) -> list[ModelUse]:
    """Return the models a recipe names; none where the endpoint in the environment is meant instead.

    Raises:
        UsageError: a model of an endpoint is named, but no endpoint, or one that `providers.yaml` does not have.
    """
    if _read(environ, BASE_URL):
        return []
    is_known = settings.model == EMBEDDED or profiles.find(settings.model) is not None
    if is_known and not _read(environ, MODEL):
        return settings.models or [ModelUse(model=settings.model)]
    provider, slash, _ = settings.model.partition("/")
    if slash and profiles.providers and not _read(environ, MODEL):
        raise UsageError(
            f"{FILE} has no provider '{provider}'",
            where=profiles.named_at,
            fix=f"name one of {', '.join(sorted(profiles.providers))}, or set {BASE_URL} to an endpoint that calls a "
            f"model {settings.model}",
        )
    raise UsageError(
        "a model of an endpoint is named, but no endpoint",
        where=f"{MODEL} in the environment" if _read(environ, MODEL) else profiles.named_at,
        fix=f"set {BASE_URL} (and {API_KEY}), name PROVIDER/MODEL of {FILE}, or use `embedded`; "
        f"for those two leave {MODEL} unset",
    )


def remote(settings: Settings, environ: Mapping[str, str]) -> tuple[Provider, Address]:
    """Return the endpoint the environment names: a chat provider called by its host, never by its key.

    Raises:
        UsageError: the address cannot be one, or no model is named.
    """
    url = _checked_url(_read(environ, BASE_URL))
    model = _read(environ, MODEL) or settings.model
    if model == EMBEDDED or (settings.models and not _read(environ, MODEL)):
        raise UsageError(
            f"{BASE_URL} is set, but no model of that endpoint is named", where="the environment", fix=f"set {MODEL}"
        )
    provider = Provider(
        name=_host(url),
        model=model,
        model_id=model,
        mode="chat",
        takes_llama_params=False,
        price=_price(settings.prices.get(model)),
    )
    return provider, Address(url.geturl().rstrip("/"), _read(environ, API_KEY) or NO_KEY)


def embedded(settings: Settings, *, model: str, model_sha256: str) -> Provider:
    """Return the embedded model as a provider; it costs nothing unless the recipe prices it."""
    return Provider(
        name=EMBEDDED,
        model=model,
        model_id=f"{model}@sha256:{model_sha256}",
        mode="completion",
        takes_llama_params=True,
        price=_price(settings.prices.get(EMBEDDED)) or Price(0.0, 0.0, as_of="always"),
    )


def profiled(profile: Profile, settings: Settings, environ: Mapping[str, str]) -> tuple[Provider, Address]:
    """Return a model of `providers.yaml`, called by the name it has there; the recipe's price of it goes first."""
    name = f"{profile.provider}/{profile.model}"
    provider = Provider(
        name=profile.provider,
        model=profile.model,
        model_id=profile.model,
        mode=profile.settings.mode,
        takes_llama_params=False,
        price=_price(settings.prices.get(name) or profile.settings.prices),
        takes_schema=profile.settings.json_schema,
        spelling=tuple(sorted(profile.settings.parameters.items())),
        omits=frozenset(profile.settings.omit),
    )
    key = _read(environ, profile.endpoint.key) if profile.endpoint.key else ""
    return provider, Address(profile.endpoint.base_url, key or NO_KEY)


def advice(profile: Profile) -> dict[QuarantineReason, str]:
    """Return what a person does after a stop of a provider of `providers.yaml`."""
    again = "then run the same command again"
    endpoint = profile.endpoint
    key = f"{endpoint.key} and what it may use" if endpoint.key else f"whether it wants a `key` in {FILE}"
    return {
        QuarantineReason.UNAUTHORIZED: f"check {key}, {again}",
        QuarantineReason.UNREACHABLE: f"check providers.{profile.provider}.base_url in {FILE} and the network, {again}",
    }


def _price(price: PriceModel | None) -> Price | None:
    return Price(**price.model_dump()) if price else None


def is_replay(environ: Mapping[str, str]) -> bool:
    """Whether answers may come from the journal alone.

    Raises:
        UsageError: the environment names no mode there is.
    """
    mode = _read(environ, MODE) or LIVE
    if mode not in MODES:
        raise UsageError(f"{MODE} is no mode", where="the environment", fix=f"set {', '.join(MODES)} or nothing")
    return mode == REPLAY


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _checked_url(text: str) -> SplitResult:
    """Refuse what would send the prompt or a password to the wrong place."""
    try:
        url = urlsplit(text)
        is_sound = url.scheme in _DEFAULT_PORTS and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        is_sound = False
    if not is_sound or url.username or url.password or url.query or url.fragment:
        raise UsageError(
            f"{BASE_URL} is no address of an endpoint",
            where="the environment",
            fix=f"write http(s)://host[:port]/v1 without user, password or query; the key belongs in {API_KEY}",
        )
    return url


def _host(url: SplitResult) -> str:
    host = (url.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return host if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f"{host}:{url.port}"
