"""`providers.yaml`: the endpoints that recipes may name; what each can do, what it costs and how fast it may be asked.

It lies beside the dataset folders. No key ever stands in it: it names the environment variable that holds one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from synth_assets.errors import UsageError
from synth_assets.recipe.prices import PriceModel
from synth_assets.recipe.strict import Name, Strict
from synth_assets.recipe.strict_yaml import parse
from synth_assets.recipe.validation import validated

FILE = "providers.yaml"
EMBEDDED = "embedded"
"""The model inside the installation, wherever a model is named."""

ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~/-]*)?"
)
"""What an address may hold: a host, a port and a path, and nothing that could be a secret."""

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
KEY_LIKE = re.compile(r"[A-Z0-9]{16,}")
"""An unbroken run that no name of a variable has, and many keys do."""

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$")]


Parameter = Literal["max_tokens", "temperature", "top_p", "seed", "stop"]
Omitted = Literal["temperature", "top_p", "seed", "stop", "response_format"]
"""Without `max_tokens` nothing bounds what an answer costs, so it can be called otherwise, but not left out."""

ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class ModelProfile(Strict):
    """A model of an endpoint."""

    mode: Literal["chat", "completion"] = Field(default="chat", description="What it takes.")
    json_schema: bool = Field(default=False, description="Whether its answers can be held to a JSON schema.")
    prices: PriceModel | None = Field(default=None, description="No price, no cost.")
    parameters: dict[Parameter, ParameterName] = Field(
        default_factory=dict, description="Names it wants for ours, e.g. `max_tokens: max_completion_tokens`."
    )
    omit: list[Omitted] = Field(default_factory=list, description="Parameters it does not take; they are not sent.")


class ProviderProfile(Strict):
    """An endpoint that speaks the OpenAI protocol."""

    base_url: str = Field(description="Up to and including /v1; https, or http on this machine.")
    key: str | None = Field(default=None, description="Environment variable that holds the key; none if it wants none.")
    models: dict[ModelName, ModelProfile] = Field(min_length=1)
    requests_per_minute: float | None = Field(default=None, gt=0, description="Upper bound, kept from the first one.")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="Likewise, of prompts and answers.")
    concurrency: int | None = Field(
        default=None, ge=1, le=1024, description="Calls in flight; default is the recipe's."
    )

    @field_validator("base_url")
    @classmethod
    def _address_is_safe(cls, value: str) -> str:
        address = ADDRESS.fullmatch(value)
        if address is None:
            raise ValueError("no address of an endpoint; write https://host/v1 without user, password or query")
        if address["scheme"] == "http" and not is_loopback(address["host"].strip("[]")):
            raise ValueError("http to another machine sends the key and every prompt in the open; use https")
        return value.rstrip("/")

    @field_validator("key")
    @classmethod
    def _key_is_a_name(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if not VARIABLE.fullmatch(value) or any(c.isdigit() for run in KEY_LIKE.findall(value) for c in run):
            raise ValueError(
                "this is no name of an environment variable such as MY_API_KEY; the key itself belongs in the "
                "environment, never in a file (if this is one, revoke it)"
            )
        return value


class ProvidersModel(Strict):
    """All of `providers.yaml`."""

    providers: dict[Name, ProviderProfile] = Field(min_length=1)

    @field_validator("providers")
    @classmethod
    def _names_are_free(cls, value: dict[str, ProviderProfile]) -> dict[str, ProviderProfile]:
        if EMBEDDED in value:
            raise ValueError(f"`{EMBEDDED}` is the model inside the installation; call the provider something else")
        return value


@dataclass(frozen=True)
class Profile:
    """One model of one provider, as a recipe names it."""

    provider: str
    model: str
    endpoint: ProviderProfile

    @property
    def settings(self) -> ModelProfile:
        """What is known of the model."""
        return self.endpoint.models[self.model]


@dataclass(frozen=True)
class Profiles:
    """What `providers.yaml` says; empty if there is none.

    Attributes:
        named_at: where the recipe names its model, for a person.
    """

    providers: Mapping[str, ProviderProfile] = field(default_factory=dict)
    named_at: str = "generator.model in recipe.yaml"

    def find(self, name: str) -> Profile | None:
        """Return the profile of ``PROVIDER/MODEL``, None if no provider is called so.

        Raises:
            KeyError: the provider does not have that model.
        """
        provider, _, model = name.partition("/")
        endpoint = self.providers.get(provider)
        if endpoint is None:
            return None
        if model not in endpoint.models:
            raise KeyError(model)
        return Profile(provider, model, endpoint)


NO_PROFILES = Profiles()


def load_profiles(root: Path) -> Profiles:
    """Read `providers.yaml` in the folder of the datasets; without one there are no profiles.

    Raises:
        UsageError: a key is unknown, repeated or out of range, an address is not safe, or a key stands in the open.
    """
    file = root / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Profiles()
    except (OSError, UnicodeDecodeError):
        raise UsageError("the providers cannot be read", where=str(file), fix="write the file as UTF-8") from None
    return Profiles(validated(ProvidersModel, parse(text, file=file), file=file).providers)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("127.example.org")
        (True, True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
