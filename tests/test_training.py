"""Trainers, measures and baselines, on a small world of film words and a hashed bag of words."""

import functools
import itertools
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from synth_assets.domain import ids
from synth_assets.domain.ports import LabelledTexts, RealData
from synth_assets.errors import IntegrityError, UsageError
from synth_assets.tables import TABLES
from synth_assets.training import TRAINERS, trainer_named
from synth_assets.training.baselines import majority_label, quotas, real_baseline, shots_baseline, stratified_draw
from synth_assets.training.evaluation import measure
from synth_assets.training.linear import LinearModel, LinearTrainer
from synth_assets.training.protocol import Rows
from synth_assets.training.run import TrainingResult, TrainingSpec, train_and_evaluate
from tests.fakes.embedder import HashedWords

WORDS = {
    "negative": ("dull", "flat", "stale", "boring", "clumsy", "lifeless"),
    "positive": ("bright", "moving", "funny", "warm", "graceful", "gripping"),
}
FILLERS = ("film", "plot", "cast", "scene", "score", "ending", "camera", "script")
ONE_FILLER_EACH = 3
TICKS = itertools.count(0.0)
LABELS = st.sampled_from(["a", "b", "c"])


def reviews(size: int, *, seed: int) -> pl.DataFrame:
    """Return ``size`` texts that differ, labels in turn: words of the label between words of none."""
    draw = random.Random(seed)
    rows = []
    for number in range(size):
        label = sorted(WORDS)[number % 2]
        words = [*draw.sample(WORDS[label], 2), *draw.sample(FILLERS, ONE_FILLER_EACH), f"take{seed}-{number}"]
        rows.append({"text": " ".join(words), "label": label})
    return pl.DataFrame(rows)


def labelled(name: str, rows: pl.DataFrame) -> LabelledTexts:
    return LabelledTexts(name=name, source="invented", sha256=ids.digest(rows.rows()), rows=rows)


def real_world(pool_rows: int = 120) -> RealData:
    test, validation = reviews(200, seed=1), reviews(50, seed=2)
    return RealData(
        test=labelled("test", test),
        validation=labelled("validation", validation),
        pool=labelled("pool", reviews(pool_rows, seed=3) if pool_rows else test.clear()),
        protected=labelled("protected", pl.concat([test, validation])),
    )


def trained(
    train: pl.DataFrame | None = None,
    *,
    shots: pl.DataFrame | None = None,
    real: RealData | None = None,
    trainer: str = "linear",
    embedder: HashedWords | None = None,
    clock: Callable[[], float] = TICKS.__next__,
) -> TrainingResult:
    return train_and_evaluate(
        reviews(60, seed=4) if train is None else train,
        shots=reviews(4, seed=5) if shots is None else shots,
        real=real or real_world(),
        spec=TrainingSpec(trainer, params={}, seed=7),
        embedder=embedder or HashedWords(),
        clock=clock,
    )


def fitted(labels: int, *, embedder: HashedWords) -> LinearModel:
    rows = reviews(60, seed=4)
    names = [f"label {number % labels}" for number in range(rows.height)]
    return LinearTrainer().train(
        Rows(rows["text"].to_list(), names), params={}, seed=0, embedder=embedder, unlabelled=[]
    )


# The measures


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_point_estimates_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = map(list, zip(*pairs, strict=True))

    accuracy, macro_f1 = measure(truth, predicted, seed=0)

    assert math.isclose(accuracy.value, accuracy_score(truth, predicted))
    assert math.isclose(macro_f1.value, f1_score(truth, predicted, average="macro", zero_division=0))


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_an_interval_lies_between_nothing_and_everything(pairs: list[tuple[str, str]], seed: int) -> None:
    truth, predicted = map(list, zip(*pairs, strict=True))

    assert all(0 <= one.low <= one.high <= 1 for one in measure(truth, predicted, seed=seed))


def test_on_many_rows_the_interval_is_the_normal_approximation() -> None:
    rows, share = 100_000, 0.75
    truth, predicted = ["a"] * rows, ["a"] * 75_000 + ["b"] * 25_000

    accuracy = measure(truth, predicted, seed=3)[0]

    half = 1.959964 * math.sqrt(share * (1 - share) / rows)
    assert accuracy.low == pytest.approx(share - half, abs=half / 10)
    assert accuracy.high == pytest.approx(share + half, abs=half / 10)


def test_on_ten_rows_the_interval_is_the_exact_binomial_one() -> None:
    # 9 of 10 right: P(at most 6 right) = 0.013, P(at most 7) = 0.070, P(all 10) = 0.349.
    accuracy = measure(["a"] * 10, ["a"] * 9 + ["b"], seed=3)[0]

    assert (accuracy.value, accuracy.low, accuracy.high) == (0.9, 0.7, 1.0)


def test_on_four_rows_macro_f1_agrees_with_all_possible_resamples() -> None:
    truth, predicted = ["a", "a", "b", "b"], ["a", "b", "b", "b"]

    @functools.cache
    def macro_f1_of(chosen: tuple[int, ...]) -> float:
        return f1_score([truth[i] for i in chosen], [predicted[i] for i in chosen], average="macro", zero_division=0)

    exact = [macro_f1_of(tuple(sorted(chosen))) for chosen in itertools.product(range(4), repeat=4)]
    # Both ends sit inside wide atoms of the exact distribution, so 1,000 draws must hit them.
    for share in (0.010, 0.025, 0.040):
        assert np.quantile(exact, share, method="inverted_cdf") == np.quantile(exact, 0.025, method="inverted_cdf")

    macro_f1 = measure(truth, predicted, seed=3)[1]

    assert macro_f1.low == pytest.approx(np.quantile(exact, 0.025, method="inverted_cdf"))
    assert macro_f1.high == pytest.approx(np.quantile(exact, 0.975, method="inverted_cdf"))


def test_perfect_predictions_leave_no_doubt() -> None:
    assert [(one.value, one.low, one.high) for one in measure(["a", "b"], ["a", "b"], seed=0)] == [(1.0, 1.0, 1.0)] * 2


def test_the_same_seed_gives_the_same_interval_and_another_seed_another_one() -> None:
    truth, predicted = ["a"] * 500, ["a", "b"] * 250

    assert measure(truth, predicted, seed=1) == measure(truth, predicted, seed=1)
    assert measure(truth, predicted, seed=1) != measure(truth, predicted, seed=2)


@pytest.mark.parametrize(("truth", "predicted"), [([], []), (["a"], ["a", "a"])])
def test_predictions_that_do_not_match_the_truth_row_by_row_are_refused(truth: list[str], predicted: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        measure(truth, predicted, seed=0)


# The linear trainer


@pytest.mark.parametrize("labels", [2, 3])
def test_predictions_are_those_of_scikit_learn(labels: int) -> None:
    embedder, rows, unseen = HashedWords(), reviews(60, seed=4), reviews(300, seed=9)["text"].to_list()
    names = np.array([f"label {number % labels}" for number in range(rows.height)])
    regression = LogisticRegression(C=1.0, max_iter=1_000).fit(embedder.embed(rows["text"]).astype(np.float64), names)

    predicted = fitted(labels, embedder=embedder).predict(unseen)

    assert predicted == regression.predict(embedder.embed(unseen).astype(np.float64)).tolist()


@pytest.mark.parametrize("labels", [2, 3])
def test_a_stored_model_comes_back_bit_by_bit(labels: int) -> None:
    embedder, unseen = HashedWords(), reviews(300, seed=9)["text"].to_list()
    model = fitted(labels, embedder=embedder)

    again = LinearTrainer().load(model.to_bytes(), embedder=embedder)

    assert np.array_equal(again.coefficients, model.coefficients)
    assert np.array_equal(again.intercepts, model.intercepts)
    assert again.predict(unseen) == model.predict(unseen)
    assert again.to_bytes() == model.to_bytes()


def test_training_twice_gives_the_same_bytes() -> None:
    assert fitted(2, embedder=HashedWords()).to_bytes() == fitted(2, embedder=HashedWords()).to_bytes()


def test_a_stored_model_is_loaded_and_asked_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    data = fitted(2, embedder=HashedWords()).to_bytes()
    for name in ("sklearn", "sklearn.linear_model", "sklearn.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)

    assert LinearTrainer().load(data, embedder=HashedWords()).predict(["a bright warm film"])


def test_importing_the_trainers_does_not_import_scikit_learn() -> None:
    code = "import sys, synth_assets.training.run; sys.exit('sklearn' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_without_texts_predicts_nothing() -> None:
    assert fitted(2, embedder=HashedWords()).predict([]) == []


def test_a_model_refuses_another_embedder() -> None:
    data = fitted(2, embedder=HashedWords("old")).to_bytes()

    with pytest.raises(UsageError, match="vectors of old, not of new"):
        LinearTrainer().load(data, embedder=HashedWords("new"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-10],
        lambda data: data.replace(b'"linear"', b'"forest"'),
        lambda data: data.replace(b'"label 0"', b'"label 0","label 2"'),
        lambda data: data.replace(b'"intercepts":["0', b'"intercepts":["NaN'),
        lambda data: data.replace(b'"format":1', b'"format":2'),
        lambda data: b"\x80\x04",
    ],
)
def test_a_damaged_model_is_refused(damage: Callable[[bytes], bytes]) -> None:
    data = fitted(2, embedder=HashedWords()).to_bytes()

    with pytest.raises(IntegrityError, match="no linear model"):
        LinearTrainer().load(damage(data), embedder=HashedWords())


@pytest.mark.parametrize(
    "params",
    [{"depth": 3}, {"C": 0}, {"C": float("inf")}, {"C": "1"}, {"C": True}, {"max_iter": 0}, {"class_weight": "uneven"}],
)
def test_wrong_parameters_are_refused_by_name(params: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(params))) as refusal:
        LinearTrainer().complete(params)

    assert "trainer.params" in refusal.value.where


def test_parameters_left_out_and_parameters_at_their_default_are_the_same() -> None:
    trainer = LinearTrainer()

    assert trainer.complete({}) == trainer.complete({"C": 1})
    assert trainer.complete({}) == {"C": 1.0, "max_iter": 1_000, "class_weight": None, "match_prior": False}


def test_a_solver_that_gives_up_says_which_parameter_helps() -> None:
    rows = reviews(60, seed=4)

    with pytest.raises(UsageError, match="raise max_iter"):
        LinearTrainer().train(
            Rows(rows["text"].to_list(), rows["label"].to_list()),
            params={"max_iter": 1},
            seed=0,
            embedder=HashedWords(),
            unlabelled=[],
        )


@pytest.mark.parametrize(("texts", "labels"), [([], []), (["x", "y"], ["a", "a"]), (["x", "y"], ["a"])])
def test_rows_nothing_can_be_learnt_from_are_refused(texts: list[str], labels: list[str]) -> None:
    with pytest.raises(UsageError, match="nothing can be learnt"):
        LinearTrainer().train(Rows(texts, labels), params={}, seed=0, embedder=HashedWords(), unlabelled=[])


def test_a_matched_prior_gives_unlabelled_texts_each_label_as_often_as_the_training_rows_have_it() -> None:
    rows = reviews(80, seed=4)
    unlabelled = [f"{text} and then some more of the same" for text in reviews(200, seed=5)["text"]]
    learnt = Rows(rows["text"].to_list(), rows["label"].to_list())

    model = LinearTrainer().train(
        learnt, params={"match_prior": True}, seed=0, embedder=HashedWords(), unlabelled=unlabelled
    )

    scores = HashedWords().embed(unlabelled).astype(np.float64) @ model.coefficients.T + model.intercepts
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wanted = [learnt.labels.count(name) / len(learnt.labels) for name in model.classes]
    assert chances.mean(axis=0) == pytest.approx(wanted, abs=1e-6)


def test_a_prior_cannot_be_matched_on_nothing() -> None:
    rows = reviews(60, seed=4)

    with pytest.raises(UsageError, match="unlabelled"):
        LinearTrainer().train(
            Rows(rows["text"].to_list(), rows["label"].to_list()),
            params={"match_prior": True},
            seed=0,
            embedder=HashedWords(),
            unlabelled=[],
        )


def test_an_unknown_trainer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'forest'") as refusal:
        trainer_named("forest")

    assert all(name in refusal.value.fix for name in TRAINERS)


# The baselines


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_quotas_add_up_and_never_ask_for_more_than_there_is(sizes: list[int], share: float) -> None:
    counts = {f"label {number}": size for number, size in enumerate(sizes)}
    wanted = round(share * sum(sizes))

    shared = quotas(counts, wanted=wanted)

    assert sum(shared.values()) == wanted
    assert all(abs(shared[label] - wanted * count / sum(counts.values())) < 1 for label, count in counts.items())
    assert all(shared[label] <= count for label, count in counts.items())


def test_a_draw_keeps_the_shares_of_the_pool_and_repeats_nothing() -> None:
    pool = pl.DataFrame({"text": [f"text {number}" for number in range(100)], "label": ["a"] * 80 + ["b"] * 20})

    drawn = stratified_draw(pool, wanted=40, seed=1)

    assert Counter(drawn["label"]) == {"a": 32, "b": 8}
    assert drawn["text"].n_unique() == 40
    assert set(drawn.rows()) <= set(pool.rows())


def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_the_pool() -> None:
    pool = reviews(100, seed=3)

    assert stratified_draw(pool, wanted=40, seed=1).equals(stratified_draw(pool.reverse(), wanted=40, seed=1))
    assert not stratified_draw(pool, wanted=40, seed=1).equals(stratified_draw(pool, wanted=40, seed=2))


def test_nobody_draws_more_rows_than_the_pool_has() -> None:
    with pytest.raises(ValueError, match="cannot draw 5 of 4"):
        stratified_draw(reviews(4, seed=3), wanted=5, seed=1)


def test_a_small_pool_gives_all_it_has_and_the_name_says_so() -> None:
    baseline = real_baseline(reviews(30, seed=3), wanted=60, seed=1)

    assert baseline.subject == "baseline:real_30"
    assert baseline.rows.height == 30


def test_a_shot_that_two_prompts_share_counts_once() -> None:
    shots = reviews(4, seed=5)

    assert shots_baseline(pl.concat([shots, shots])).rows.height == 4


def test_of_equally_common_labels_the_first_in_the_alphabet_is_the_majority() -> None:
    assert majority_label(pl.DataFrame({"label": ["b", "a", "b", "a"]})) == "a"
    assert majority_label(pl.DataFrame({"label": ["b", "a", "b"]})) == "b"


# The run


def test_a_run_measures_the_model_and_every_baseline_on_the_same_rows() -> None:
    result = trained()

    found = {one.subject: (one.train_rows, one.test_rows) for one in result.evaluations}
    assert found == {
        "model": (60, 200),
        "baseline:majority": (60, 200),
        "baseline:shots": (4, 200),
        "baseline:real_60": (60, 200),
    }
    assert result.left_out == {}


def test_what_can_be_learnt_beats_the_majority() -> None:
    scores = {one.subject: one.measures[0] for one in trained().evaluations}

    assert scores["baseline:majority"].value == 0.5
    assert scores["model"].low > 0.9


def test_the_rows_of_a_run_satisfy_the_contract_of_the_table() -> None:
    rows = trained().evaluation_rows(dataset="films", model_run_id="run")

    assert TABLES["evaluations"].schema.validate(rows).shape == (8, 9)
    assert rows.select("subject", "metric").is_duplicated().sum() == 0
    assert set(rows["metric"]) == {"accuracy", "macro_f1"}


def test_every_trained_baseline_names_the_rows_it_learnt_from() -> None:
    real = real_world()
    pool = {ids.content_sha256({"text": text}, label) for text, label in real.pool.rows.rows()}

    named = trained(real=real).baseline_rows

    assert {subject: len(rows) for subject, rows in named.items()} == {"baseline:shots": 4, "baseline:real_60": 60}
    assert set(named["baseline:real_60"]) <= pool


def test_the_order_of_the_training_rows_changes_nothing() -> None:
    train = reviews(60, seed=4)

    assert trained(train).model == trained(train.reverse()).model


def test_the_stored_model_gives_the_measured_predictions() -> None:
    real, embedder = real_world(), HashedWords()

    result = trained(real=real)
    predicted = trained_model(result, embedder).predict(real.test.rows["text"].to_list())

    assert accuracy_score(real.test.rows["label"].to_list(), predicted) == result.evaluations[0].measures[0].value
    assert result.model_sha256 == ids.sha256(result.model)


def trained_model(result: TrainingResult, embedder: HashedWords) -> LinearModel:
    return LinearTrainer().load(result.model, embedder=embedder)


def test_the_time_of_fitting_is_taken_from_the_clock_it_was_given() -> None:
    assert trained(clock=iter([10.0, 12.5]).__next__).train_s == 2.5


def test_the_test_rows_are_embedded_once_for_all_subjects() -> None:
    embedder = HashedWords()

    trained(embedder=embedder)

    assert embedder.lists == 4  # training rows, test rows, shots, real rows


@pytest.mark.parametrize(
    "shots", [reviews(4, seed=5).clear(), reviews(1, seed=5), pl.DataFrame({"text": [], "label": []})]
)
def test_shots_nothing_can_be_learnt_from_are_left_out_with_the_reason(shots: pl.DataFrame) -> None:
    result = trained(shots=shots)

    assert [one.subject for one in result.evaluations] == ["model", "baseline:majority", "baseline:real_60"]
    assert "nothing can be learnt" in result.left_out["baseline:shots"]


def test_without_a_pool_the_model_is_measured_all_the_same() -> None:
    result = trained(real=real_world(pool_rows=0))

    assert [one.subject for one in result.evaluations] == ["model", "baseline:majority", "baseline:shots"]
    assert list(result.left_out) == ["baseline:real_0"]


def test_test_rows_with_a_label_nobody_taught_are_refused() -> None:
    train = reviews(60, seed=4).with_columns(pl.col("label").replace("negative", "bad"))

    with pytest.raises(UsageError, match="never show: negative"):
        trained(train)


def test_a_run_with_an_unknown_trainer_is_refused_before_anything_is_embedded() -> None:
    embedder = HashedWords()

    with pytest.raises(UsageError, match="use one of: linear"):
        trained(trainer="forest", embedder=embedder)

    assert embedder.lists == 0
