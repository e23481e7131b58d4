"""One HTTP try through the OpenAI SDK, with none of its own retries, redirects or settings.

Whether to try again is decided in `schedule`; what a reply means in `answers`. Importing this module imports openai,
which takes most of a second: it is imported when the first request is due.
"""

import logging
from functools import lru_cache
from typing import Any

import httpx2
import openai
import orjson

from resources.llm.answers import Reply
from resources.llm.direct import DirectClient
from resources.llm.provider import Address
from synth_assets.domain.ports import Call, Provider

LLAMA_ONLY = frozenset({"min_p", "top_k", "cache_prompt", "n_probs", "id_slot"})

FACTS = ("lang", "package-version", "os", "arch", "runtime", "runtime-version", "retry-count", "read-timeout")
OMITTED = {f"x-stainless-{fact}": openai.Omit() for fact in FACTS}
"""Headers about this host, which are never sent; the SDK would format them for every request."""

SETTLED = {
    "params": {},
    "max_retries": 0,
    "timeout": None,
    "security": {"bearer_auth": True},
    "post_parser": openai.NOT_GIVEN,
}
"""Options of every request: the SDK copies the default of each one that is not given, deeply."""


def body_of(call: Call, provider: Provider) -> bytes:
    """Return the JSON body of a call; equal calls have equal bytes."""
    params = {
        name: value for name, value in call.params.items() if provider.takes_llama_params or name not in LLAMA_ONLY
    }
    is_chat = provider.mode == "chat"
    body: dict[str, Any] = {
        **params,
        "model": provider.model,
        "messages" if is_chat else "prompt": call.prompt,
        "seed": call.seed,
    }
    if provider.takes_llama_params:
        # Without the cache the same seed gives the same text in any order; log probabilities come free.
        body |= {"cache_prompt": False, "logprobs": True if is_chat else 1}
    if call.schema is not None and is_chat:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": call.schema, "strict": True},
        }
    elif call.schema is not None:
        body["json_schema"] = call.schema
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx2.URL:
    return httpx2.URL(url)


class _Client(openai.AsyncOpenAI):
    """The SDK's client, which would parse its one address anew for every request."""

    def _prepare_url(self, url: str) -> httpx2.URL:
        return _parsed(url)


class Wire:
    """An SDK client bound to one address and one event loop."""

    def __init__(self, address: Address, provider: Provider) -> None:
        for name in ("openai", "httpx2"):  # a line per request at INFO, more at DEBUG
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = address
        self._provider = provider
        self._urls = {"chat": f"{address.base_url}/chat/completions", "completion": f"{address.base_url}/completions"}
        self._client = _Client(
            api_key=address.api_key, base_url=address.base_url, max_retries=0, http_client=DirectClient()
        )

    async def post(self, call: Call) -> Reply:
        """Send a call once and read the whole reply.

        Raises:
            NotConnectedError, BrokenError, OversizedError: there is no reply to read.
        """
        # The SDK's own option `idempotency_key` sets no header for this client.
        provider = call.asks or self._provider
        options = {**SETTLED, "headers": {**OMITTED, "Idempotency-Key": call.call_id}}
        try:
            response = await self._client.post(
                self._urls[provider.mode], content=body_of(call, provider), cast_to=httpx2.Response, options=options
            )
        except openai.APIStatusError as error:
            response = error.response
        return Reply(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
