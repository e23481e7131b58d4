"""One HTTP try through the OpenAI SDK, with none of its own retries, redirects or settings.

Whether to try again is decided in `schedule`; what a reply means in `answers`. Importing this module imports openai,
which takes most of a second: it is imported when the first request is due, or by `resources.llm.warm_up`.
"""

import logging
from typing import Any, cast

import httpx2
import openai
import orjson
from openai._models import FinalRequestOptions

from resources.llm.answers import Reply
from resources.llm.direct import DirectClient
from resources.llm.light import Request
from resources.llm.provider import Address
from synth_assets.domain.ports import Call, Mode, Provider

PATHS: dict[Mode, str] = {"chat": "/chat/completions", "completion": "/completions"}
LLAMA_ONLY = frozenset({"min_p", "top_k", "cache_prompt", "n_probs", "id_slot"})


def body_of(call: Call, provider: Provider) -> bytes:
    """Return the JSON body of a call; equal calls have equal bytes."""
    is_taken = provider.takes_llama_params
    params = {name: value for name, value in call.params.items() if is_taken or name not in LLAMA_ONLY}
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
    spelling = dict(provider.spelling)
    sent = {spelling.get(name, name): value for name, value in body.items() if name not in provider.omits}
    return orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)


class _Client(openai.AsyncOpenAI):
    """The SDK's client, but a request is a copy of the first one to its address with another body and another key.

    The SDK would put together and check the same headers each time, at more than half of what a request costs it.
    """

    _first: Request | None = None

    def _build_request(self, options: FinalRequestOptions, *, retries_taken: int = 0) -> httpx2.Request:
        first = self._first
        if first is None or first.url != options.url:
            first = self._first = cast(Request, super()._build_request(options, retries_taken=retries_taken))
        # The SDK's own option `idempotency_key` sets no header for this client.
        headers = {**first.headers, "idempotency-key": str(options.idempotency_key)}
        return Request(first.method, first.url, headers, cast(bytes, options.content))


class Wire:
    """An SDK client bound to one address and one event loop."""

    def __init__(self, address: Address, provider: Provider) -> None:
        for name in ("openai", "httpx2"):  # a line per request at INFO, more at DEBUG
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = address
        self._provider = provider
        self._options = {
            mode: FinalRequestOptions.construct(method="post", url=f"{address.base_url}{path}")
            for mode, path in PATHS.items()
        }
        self._client = _Client(
            api_key=address.api_key, base_url=address.base_url, max_retries=0, http_client=DirectClient()
        )

    async def post(self, call: Call) -> Reply:
        """Send a call once and read the whole reply.

        Raises:
            NotConnectedError, BrokenError, OversizedError: there is no reply to read.
        """
        provider = call.asks or self._provider
        options = self._options[provider.mode].model_copy(
            update={"content": body_of(call, provider), "idempotency_key": call.call_id}
        )
        try:
            response = await self._client.request(httpx2.Response, options)
        except openai.APIStatusError as error:
            response = error.response
        return Reply(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
