"""A sentence embedder without a model: a hashed bag of words."""

import hashlib
from collections.abc import Sequence

import numpy as np

DIMENSIONS = 256


class HashedWords:
    """Counts words in hashed buckets; the same text always gets the same unit vector.

    Attributes:
        lists: how many lists of texts were embedded so far.
    """

    def __init__(self, name: str = "hashed-words") -> None:
        self.name = name
        self.lists = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, shape (len(texts), DIMENSIONS), float32."""
        self.lists += 1
        counts = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        counts[:, 0] = 1  # a text without words has a direction too
        for row, text in enumerate(texts):
            for word in text.lower().split():
                counts[row, int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % DIMENSIONS] += 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)
