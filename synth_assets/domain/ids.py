"""Identity: what makes two things the same thing.

Every id is a hash over canonical JSON, so the same work has the same name on every machine and after every crash.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Any

from synth_assets.canonical import canonical_json, digest, sha256

ID_LENGTH = 32
"""Hex digits of an id: 128 bits. Digests of content keep all 64."""

SEED_BITS = 31
"""Sampling seeds stay positive in a signed 32-bit integer, which every provider accepts."""


def request_id(dataset: str, batch: str, attempt: int, ordinal: int) -> str:
    """Name a planned request by its place in the plan."""
    return digest(["request", dataset, batch, attempt, ordinal])[:ID_LENGTH]


def sampling_seed(request: str) -> int:
    """Return the seed a request samples with, 0 <= seed < 2**31; a function of its id alone."""
    return int(sha256(f"seed:{request}".encode())[:16], 16) >> (64 - SEED_BITS)


def call_id(
    *, provider: str, model: str, params: Mapping[str, Any], prompt: Any, schema: Mapping[str, Any] | None, seed: int
) -> str:
    """Name what is sent: an answer to it is paid for once.

    Args:
        provider: name of the endpoint, never its key.
        model: model asked; for the embedded model the hash of its file.
        params: sampling parameters as sent.
        prompt: rendered messages or rendered prompt text.
        schema: JSON schema demanded of the answer, if any.
        seed: the derived seed, whether or not the provider takes one.
    """
    parts = {"provider": provider, "model": model, "params": params, "prompt": prompt, "schema": schema, "seed": seed}
    return digest(["call", parts])[:ID_LENGTH]


def generation_id(request: str, call: str) -> str:
    """Name the ending of one request by one call."""
    return digest(["generation", request, call])[:ID_LENGTH]


def sample_id(request: str, position: int) -> str:
    """Name a sample by the request that asked for it and its raw position in the answer."""
    return digest(["sample", request, position])[:ID_LENGTH]


def content_sha256(fields: Mapping[str, str], label: str | None) -> str:
    """Hash what a sample teaches: its fields and label and nothing else."""
    return digest({"fields": dict(fields), "label": label})


def version_digest(members: Iterable[tuple[str, str, str]]) -> str:
    """Hash a version: its sorted (sample_id, content_sha256, split) triples.

    Example:
        >>> version_digest([("b", "2", "train"), ("a", "1", "train")]) == version_digest(
        ...     [("a", "1", "train"), ("b", "2", "train")]
        ... )
        True
    """
    return digest(sorted([list(member) for member in members]))


def model_run_id(*, version_digest: str, trainer: str, params: Mapping[str, Any], seed: int, test_set: str) -> str:
    """Name a training run by all that decides its outcome, so that nothing is trained twice."""
    parts = {"digest": version_digest, "trainer": trainer, "params": params, "seed": seed, "test_set": test_set}
    return digest(["model_run", parts])[:ID_LENGTH]


def seeded(*parts: Any) -> random.Random:
    """Return a random generator that depends on ``parts`` alone."""
    return random.Random(digest(["seeded", *parts]))  # noqa: S311 - reproducible draws, not secrets


__all__ = [
    "call_id",
    "canonical_json",
    "content_sha256",
    "digest",
    "generation_id",
    "model_run_id",
    "request_id",
    "sample_id",
    "sampling_seed",
    "seeded",
    "sha256",
    "version_digest",
]
