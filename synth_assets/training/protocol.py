"""What a trainer is: from texts and labels to a model that can be stored without pickle and read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from synth_assets.domain.ports import Embedder


class Model(Protocol):
    """Something that labels texts."""

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return one label per text, in the order of the texts."""

    def to_bytes(self) -> bytes:
        """Return the model as it is stored: the same model always gives the same bytes."""


@dataclass(frozen=True)
class Rows:
    """Texts with their labels, as many of one as of the other."""

    texts: Sequence[str]
    labels: Sequence[str]


class Trainer(Protocol):
    """One way to fit a model."""

    def complete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters with every default filled in, so that equal runs have equal ids.

        Raises:
            UsageError: a parameter is unknown or out of range.
        """

    def train(
        self, rows: Rows, *, params: Mapping[str, Any], seed: int, embedder: Embedder, unlabelled: Sequence[str]
    ) -> Model:
        """Fit a model; the same arguments give the same model.

        Args:
            rows: what is learnt from.
            params: parameters of this trainer; missing ones take their defaults.
            seed: seed of everything random.
            embedder: turns texts into vectors; the model keeps it.
            unlabelled: texts of the kind the model will be asked about, without labels; may be empty.

        Raises:
            UsageError: the parameters are wrong, or nothing can be learnt from these rows.
        """

    def load(self, data: bytes, *, embedder: Embedder) -> Model:
        """Read a model back from `Model.to_bytes`; its predictions are those of the model that was stored.

        Raises:
            IntegrityError: the bytes are no model of this trainer.
            UsageError: the model was trained on another embedder.
        """
