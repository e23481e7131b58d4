"""Which provider is meant: the recipe's generator settings and the environment, made into one endpoint.

Nothing here opens a connection; the environment is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from synth_assets.domain.ports import Price, Provider
from synth_assets.errors import UsageError
from synth_assets.recipe.model import Generator as Settings

EMBEDDED = "embedded"
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


def is_embedded(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether the model inside the installation is meant.

    Raises:
        UsageError: a model of an endpoint is named, but no endpoint.
    """
    if _read(environ, BASE_URL):
        return False
    named = f"{MODEL} in the environment" if _read(environ, MODEL) else "generator.model in recipe.yaml"
    if _read(environ, MODEL) or settings.model != EMBEDDED:
        raise UsageError(
            "a model of an endpoint is named, but no endpoint",
            where=named,
            fix=f"set {BASE_URL} (and {API_KEY}), or use `embedded` and leave {MODEL} unset",
        )
    return True


def remote(settings: Settings, environ: Mapping[str, str]) -> tuple[Provider, Address]:
    """Return the endpoint the environment names: a chat provider called by its host, never by its key.

    Raises:
        UsageError: the address cannot be one, or no model is named.
    """
    url = _checked_url(_read(environ, BASE_URL))
    model = _read(environ, MODEL) or settings.model
    if model == EMBEDDED:
        raise UsageError(
            f"{BASE_URL} is set, but no model of that endpoint is named", where="the environment", fix=f"set {MODEL}"
        )
    price = settings.prices.get(model)
    provider = Provider(
        name=_host(url),
        model=model,
        model_id=model,
        mode="chat",
        takes_llama_params=False,
        price=Price(**price.model_dump()) if price else None,
    )
    return provider, Address(url.geturl().rstrip("/"), _read(environ, API_KEY) or NO_KEY)


def embedded(settings: Settings, *, model: str, model_sha256: str) -> Provider:
    """Return the embedded model as a provider; it costs nothing unless the recipe prices it."""
    price = settings.prices.get(EMBEDDED)
    return Provider(
        name=EMBEDDED,
        model=model,
        model_id=f"{model}@sha256:{model_sha256}",
        mode="completion",
        takes_llama_params=True,
        price=Price(**price.model_dump()) if price else Price(0.0, 0.0, as_of="always"),
    )


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
