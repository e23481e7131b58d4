"""One training run: fit the model, fit its baselines, measure all of them on the same frozen test rows.

No store, no clock of its own: the asset keeps what comes out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from synth_assets.domain import ids
from synth_assets.domain.ports import Embedder, LabelledTexts, RealData
from synth_assets.errors import UsageError
from synth_assets.tables import TABLES
from synth_assets.training import Model, baselines, trainer_named
from synth_assets.training.baselines import Baseline
from synth_assets.training.evaluation import Measure, measure
from synth_assets.training.protocol import Rows

MODEL = "model"


@dataclass(frozen=True)
class TrainingSpec:
    """What decides a training run beside its data.

    Attributes:
        trainer: a key of `TRAINERS`.
        params: parameters of the trainer; missing ones take their defaults.
        seed: seed of fitting, of the draw of real rows and of the bootstrap.
    """

    trainer: str
    params: Mapping[str, Any]
    seed: int

    def complete(self) -> "TrainingSpec":
        """Return the spec with every default filled in, as it enters the id of a model run.

        Raises:
            UsageError: the trainer or a parameter is unknown, or a parameter is out of range.
        """
        return replace(self, params=trainer_named(self.trainer).complete(self.params))


@dataclass(frozen=True)
class Evaluation:
    """How one subject did on the test rows; the columns of table `evaluations` that training can know."""

    subject: str
    train_rows: int
    test_rows: int
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class TrainingResult:
    """What a training run leaves behind.

    Attributes:
        model: the stored model; `Trainer.load` reads it.
        spec: trainer, parameters with defaults filled in, and seed.
        num_samples: rows the model was trained on.
        train_s: seconds of fitting the model, with embedding its rows and, in a fresh process, loading the library.
        test_set_sha256: hash of the test rows that were measured on.
        evaluations: the model first, then the baselines.
        baseline_rows: content hashes of the rows each trained baseline learnt from, by subject.
        left_out: baselines that could not be trained, by subject, each with the reason.
    """

    model: bytes
    spec: TrainingSpec
    num_samples: int
    train_s: float
    test_set_sha256: str
    evaluations: tuple[Evaluation, ...]
    baseline_rows: dict[str, list[str]]
    left_out: dict[str, str]

    @property
    def model_sha256(self) -> str:
        """Hash of the stored model."""
        return ids.sha256(self.model)

    def evaluation_rows(self, *, dataset: str, model_run_id: str) -> pl.DataFrame:
        """Return the rows of table `evaluations`: one per subject and metric, contract `Evaluations`."""
        rows = [
            {
                "dataset": dataset,
                "model_run_id": model_run_id,
                "subject": evaluation.subject,
                "train_rows": evaluation.train_rows,
                "test_rows": evaluation.test_rows,
                **asdict(one),
            }
            for evaluation in self.evaluations
            for one in evaluation.measures
        ]
        return TABLES["evaluations"].frame(rows)


class OncePerList:
    """An embedder that embeds the same list of texts once: every subject is measured on the same test rows.

    Whole lists and not single texts, because a quantised embedder may round a text differently in other company.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[tuple[str, ...], np.ndarray] = {}

    @property
    def name(self) -> str:
        """The name of the embedder inside."""
        return self._embedder.name

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, shape (len(texts), dimensions), float32."""
        key = tuple(texts)
        if key not in self._vectors:
            self._vectors[key] = self._embedder.embed(texts)
        return self._vectors[key]


@dataclass(frozen=True)
class _Bench:
    """Everything the subjects of a run share."""

    spec: TrainingSpec
    embedder: Embedder
    test: LabelledTexts
    unlabelled: list[str]

    def fit(self, rows: pl.DataFrame) -> Model:
        trainer = trainer_named(self.spec.trainer)
        learnt = Rows(rows["text"].to_list(), rows["label"].to_list())
        return trainer.train(
            learnt, params=self.spec.params, seed=self.spec.seed, embedder=self.embedder, unlabelled=self.unlabelled
        )

    def evaluate(self, subject: str, predicted: list[str], *, train_rows: int) -> Evaluation:
        measures = measure(self.test.rows["label"].to_list(), predicted, seed=self.spec.seed)
        return Evaluation(subject, train_rows, self.test.rows.height, tuple(measures))

    def texts(self) -> list[str]:
        return self.test.rows["text"].to_list()


def train_and_evaluate(
    train: pl.DataFrame,
    *,
    shots: pl.DataFrame,
    real: RealData,
    spec: TrainingSpec,
    embedder: Embedder,
    clock: Callable[[], float],
) -> TrainingResult:
    """Train a model and its baselines and measure them on the test rows of the real data.

    Args:
        train: training rows of the version, columns text and label, shape (n, 2 or more); their order changes nothing.
        shots: the labelled examples the prompts show, columns text and label; may be empty.
        real: test rows to measure on, a pool for the baseline on real data, and validation rows, whose texts a trainer
            may see without their labels.
        spec: trainer, parameters and seed.
        embedder: a sentence embedder.
        clock: returns seconds that only grow, e.g. ``time.perf_counter``.

    Returns:
        The stored model and accuracy and macro F1 of subjects ``model``, ``baseline:majority``, ``baseline:shots`` and
        ``baseline:real_<n>``, each with a 95 % interval.

    Raises:
        UsageError: the trainer or a parameter is unknown, the rows cannot be learnt from, or the test rows have a label
            that the training rows never show.
    """
    bench = _Bench(spec.complete(), OncePerList(embedder), real.test, real.validation.rows["text"].to_list())
    rows = train.select("text", "label").sort("text", "label")
    _refuse_unknown_labels(rows, real.test)
    started = clock()
    model = bench.fit(rows)
    train_s = clock() - started
    compared, learnt_from, left_out = _baselines(bench, rows, shots=shots, pool=real.pool.rows)
    return TrainingResult(
        model=model.to_bytes(),
        spec=bench.spec,
        num_samples=rows.height,
        train_s=train_s,
        test_set_sha256=real.test.sha256,
        evaluations=(bench.evaluate(MODEL, model.predict(bench.texts()), train_rows=rows.height), *compared),
        baseline_rows=learnt_from,
        left_out=left_out,
    )


def _baselines(
    bench: _Bench, rows: pl.DataFrame, *, shots: pl.DataFrame, pool: pl.DataFrame
) -> tuple[list[Evaluation], dict[str, list[str]], dict[str, str]]:
    """Return the baselines' evaluations, the rows each learnt from, and why any was left out."""
    guesses = [baselines.majority_label(rows)] * bench.test.rows.height
    evaluations = [bench.evaluate(baselines.MAJORITY, guesses, train_rows=rows.height)]
    learnt_from: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    real = baselines.real_baseline(pool, wanted=rows.height, seed=bench.spec.seed)
    for baseline in (baselines.shots_baseline(shots), real):
        try:
            evaluations.append(_evaluated(bench, baseline))
            learnt_from[baseline.subject] = baseline.row_sha256s
        except UsageError as error:  # too few rows to learn from must not cost the model its run
            left_out[baseline.subject] = error.what
    return evaluations, learnt_from, left_out


def _evaluated(bench: _Bench, baseline: Baseline) -> Evaluation:
    predicted = bench.fit(baseline.rows).predict(bench.texts())
    return bench.evaluate(baseline.subject, predicted, train_rows=baseline.rows.height)


def _refuse_unknown_labels(rows: pl.DataFrame, test: LabelledTexts) -> None:
    unseen = sorted(set(test.rows["label"]) - set(rows["label"]))
    if unseen:
        raise UsageError(
            f"the test rows have labels that the training rows never show: {', '.join(unseen)}",
            where=f"test set {test.name} and the training rows",
            fix="give the recipe the labels of its real data, and every one of them a share",
        )
