"""The linear trainer: sentence embeddings and a logistic regression.

scikit-learn fits; the fitted model is a matrix, predicts with numpy alone and is stored as canonical JSON.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from synth_assets.domain import ids
from synth_assets.domain.ports import Embedder
from synth_assets.errors import IntegrityError, UsageError
from synth_assets.training.protocol import Rows

MATCHING_STEPS = 1_000
MATCHED = 1e-9
"""The prior is matched to this share, or as near as the steps lead."""

FEWEST_LABELS = 2
"""Below that there is nothing to tell apart."""


class LinearParams(BaseModel):
    """Parameters of the linear trainer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    C: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="Inverse strength of the L2 penalty.")
    max_iter: int = Field(default=1_000, ge=1, le=100_000, description="Iterations of the solver.")
    class_weight: Literal["balanced"] | None = Field(default=None, description="Weigh labels by their inverse share.")
    match_prior: bool = Field(
        default=False,
        description="Shift the intercepts until unlabelled texts get each label as often as the training rows have it.",
    )

    def of_solver(self) -> dict[str, Any]:
        """Return what scikit-learn's LogisticRegression takes."""
        return self.model_dump(exclude={"match_prior"})


class _Stored(BaseModel):
    """A linear model on disk; numbers are decimal strings there, so that they come back bit by bit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trainer: Literal["linear"]
    format: Literal[1]
    embedder: str
    classes: list[str] = Field(min_length=FEWEST_LABELS)
    coefficients: list[list[FiniteFloat]]
    intercepts: list[FiniteFloat]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A fitted linear model: the label with the highest score wins, the first one on a tie.

    Attributes:
        classes: labels in ascending order, k of them.
        coefficients: shape (k, dimensions), float64; with two labels the first row is zero.
        intercepts: shape (k,), float64.
        embedder: what turns texts into vectors.
    """

    classes: tuple[str, ...]
    coefficients: np.ndarray
    intercepts: np.ndarray
    embedder: Embedder

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return one label per text, in the order of the texts."""
        if not texts:
            return []
        scores = _vectors(self.embedder, texts) @ self.coefficients.T + self.intercepts
        return [self.classes[winner] for winner in scores.argmax(axis=1)]

    def to_bytes(self) -> bytes:
        """Return the model as canonical JSON: about 20 bytes per coefficient."""
        return ids.canonical_json(
            {
                "trainer": "linear",
                "format": 1,
                "embedder": self.embedder.name,
                "classes": list(self.classes),
                "coefficients": self.coefficients.tolist(),
                "intercepts": self.intercepts.tolist(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, embedder: Embedder) -> "LinearModel":
        """Read a model back from `to_bytes`; needs no scikit-learn.

        Raises:
            IntegrityError: the bytes are no linear model.
            UsageError: the model was trained on another embedder.
        """
        stored = _parsed(data)
        if stored.embedder != embedder.name:
            raise UsageError(
                f"the model was trained on vectors of {stored.embedder}, not of {embedder.name}",
                where="the stored model",
                fix="load it with the embedder it was trained on, or train it anew",
            )
        return cls(
            classes=tuple(stored.classes),
            coefficients=np.array(stored.coefficients, dtype=np.float64),
            intercepts=np.array(stored.intercepts, dtype=np.float64),
            embedder=embedder,
        )


class LinearTrainer:
    """Logistic regression on unit vectors, fitted by L-BFGS: no randomness, so the seed changes nothing."""

    def complete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters with defaults filled in.

        Raises:
            UsageError: a parameter is unknown or out of range.
        """
        return _params(params).model_dump()

    def train(
        self, rows: Rows, *, params: Mapping[str, Any], seed: int, embedder: Embedder, unlabelled: Sequence[str]
    ) -> LinearModel:
        """Fit a model on the vectors of the texts.

        Raises:
            UsageError: a parameter is wrong, texts and labels differ in number, there are fewer than two labels, the
                solver did not converge, or the prior is to be matched on no texts at all.
        """
        chosen = _params(params)
        _refuse_unlearnable(rows.texts, rows.labels)
        model = _fitted(_vectors(embedder, rows.texts), rows.labels, params=chosen, seed=seed, embedder=embedder)
        return _matched(model, rows.labels, unlabelled) if chosen.match_prior else model

    def load(self, data: bytes, *, embedder: Embedder) -> LinearModel:
        """Read a model back; see `LinearModel.from_bytes`."""
        return LinearModel.from_bytes(data, embedder=embedder)


def _params(params: Mapping[str, Any]) -> LinearParams:
    try:
        return LinearParams.model_validate(dict(params))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(
            f"the linear trainer does not take these parameters: {faults}",
            where="trainer.params of the recipe",
            fix=f"use only {', '.join(LinearParams.model_fields)}, within their ranges",
        ) from error


def _refuse_unlearnable(texts: Sequence[str], labels: Sequence[str]) -> None:
    distinct = len(set(labels))
    if len(texts) != len(labels) or distinct < FEWEST_LABELS:
        raise UsageError(
            f"nothing can be learnt from {len(texts)} texts with {len(labels)} labels, {distinct} of them distinct",
            where="the training rows",
            fix=f"train on a version that has one label per text and at least {FEWEST_LABELS} different labels",
        )


def _vectors(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed in double precision, shape (len(texts), dimensions), so that scores do not depend on the solver's."""
    return embedder.embed(texts).astype(np.float64)


def _fitted(
    vectors: np.ndarray, labels: Sequence[str], *, params: LinearParams, seed: int, embedder: Embedder
) -> LinearModel:
    # Imported here: a stored model predicts without scikit-learn, which takes longer to load than to ask.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(**params.of_solver(), random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            regression.fit(vectors, np.array(labels, dtype=str))
    except ConvergenceWarning as error:
        raise UsageError(
            f"the solver did not converge within {params.max_iter} iterations",
            where="trainer.params of the recipe",
            fix="raise max_iter or lower C",
        ) from error
    coefficients, intercepts = _one_row_per_label(regression.coef_, regression.intercept_)
    classes = tuple(str(name) for name in regression.classes_)
    return LinearModel(classes=classes, coefficients=coefficients, intercepts=intercepts, embedder=embedder)


def _matched(model: LinearModel, labels: Sequence[str], unlabelled: Sequence[str]) -> LinearModel:
    """Shift the intercepts until the mean predicted probability of each label is its share in the training rows.

    A model trained on texts of one origin and asked about another often prefers one label throughout, although it
    ranks the texts well. No label of the other origin is used.

    Source:
        Prior correction after M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a
        priori probabilities", 2002, with the prior known and the bias sought.
    """
    if not unlabelled:
        raise UsageError(
            "match_prior needs unlabelled texts, and there are none",
            where="trainer.params of the recipe",
            fix="name real data with validation rows, or set match_prior: false",
        )
    scores = _vectors(model.embedder, unlabelled) @ model.coefficients.T
    wanted = np.array([labels.count(name) for name in model.classes]) / len(labels)
    intercepts = model.intercepts.copy()
    for _ in range(MATCHING_STEPS):
        shifted = np.exp(scores + intercepts - (scores + intercepts).max(axis=1, keepdims=True))
        found = (shifted / shifted.sum(axis=1, keepdims=True)).mean(axis=0)
        intercepts += np.log(wanted / found)
        if np.abs(wanted - found).max() < MATCHED:
            break
    return replace(model, intercepts=intercepts)


def _one_row_per_label(coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the first of two labels a score of zero: scikit-learn keeps one row for two labels, k rows for more."""
    if len(intercepts) > 1:
        return coefficients, intercepts
    return np.vstack([np.zeros_like(coefficients), coefficients]), np.concatenate([[0.0], intercepts])


def _parsed(data: bytes) -> _Stored:
    try:
        stored = _Stored.model_validate(orjson.loads(data))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise _broken(type(error).__name__) from error
    rows, widths = len(stored.classes), {len(row) for row in stored.coefficients}
    if len(stored.coefficients) != rows or len(stored.intercepts) != rows or len(widths) != 1:
        raise _broken("its shapes do not fit together")
    return stored


def _broken(cause: str) -> IntegrityError:
    return IntegrityError(
        f"the bytes are no linear model: {cause}",
        where="the stored model",
        fix="restore the file from a backup, or train the version anew",
    )
