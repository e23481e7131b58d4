"""Training on a version: an existing run is re-read, so nothing is trained twice."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from synth_assets.canonical import stored_json
from synth_assets.checks.evidence import texts_of
from synth_assets.checks.release_gates import Consumption, judge_consumption
from synth_assets.domain import ids
from synth_assets.domain.ports import Embedder, LabelledTexts, RealData
from synth_assets.domain.standing import latest
from synth_assets.domain.transactions import Change
from synth_assets.domain.usage import Usage
from synth_assets.domain.versioning import members_of
from synth_assets.errors import RefusedError
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.proof import proven_files
from synth_assets.stages.work import Facts, Finished, Work, Written
from synth_assets.tables import TABLES
from synth_assets.training.run import TrainingResult, TrainingSpec, train_and_evaluate
from synth_assets.vocabulary import Assessment, Stage


def spec_of(recipe: Recipe) -> TrainingSpec:
    """Return the recipe's trainer with every default filled in."""
    chosen = recipe.model.trainer
    return TrainingSpec(trainer=chosen.name, params=chosen.params, seed=chosen.seed).complete()


def shots_of(recipe: Recipe) -> pl.DataFrame:
    """Return the labelled examples the prompts show, columns text and label."""
    rows = [{"text": row.fields["text"], "label": row.fields["label"]} for row in recipe.shots if "label" in row.fields]
    return pl.DataFrame(rows, schema={"text": pl.String, "label": pl.String}).unique(maintain_order=True)


def train(
    work: Work, embedder: Embedder, real: RealData, releases: Path, *, actor: str, clock: Callable[[], float]
) -> Finished:
    """Train the recipe's model on a version and measure it beside its baselines.

    The release is proven first, also for a model that is only read again: nobody shall rely on a version that others
    cannot get any more.

    Args:
        work: the bench; its batch is the version's number.
        embedder: of the training texts and the real ones.
        real: what the model is measured on.
        releases: folder of all releases.
        actor: who.
        clock: seconds that only ever grow.

    Raises:
        RefusedError: the version was not cut, or did not pass its gates.
        IntegrityError: its release folder is not what was released.
    """
    version = _released(work)
    proven_files(releases / work.recipe.dataset / f"v{version['version']}", str(version["manifest_sha256"]))
    spec = spec_of(work.recipe)
    # Trainers see the validation texts without their labels, so these decide the outcome too.
    identity = {**spec.params, "unlabelled_sha256": real.validation.sha256}
    run = ids.model_run_id(
        version_digest=version["digest"],
        trainer=spec.trainer,
        params=identity,
        seed=spec.seed,
        test_set=real.test.sha256,
    )
    consumed = _consumed(work, version["version"])
    known = work.lake.read("model_runs", dataset=work.recipe.dataset, model_run_id=run)
    result = None
    if known.is_empty():
        rows = consumed.filter(pl.col("split") == "train")
        result = train_and_evaluate(
            rows, shots=shots_of(work.recipe), real=real, spec=spec, embedder=embedder, clock=clock
        )
        evaluations = result.evaluation_rows(dataset=work.recipe.dataset, model_run_id=run)
    else:
        evaluations = work.lake.read("evaluations", dataset=work.recipe.dataset, model_run_id=run)
    verdicts = judge_consumption(_consumption(work, version, consumed, evaluations, real))
    return work.finish(
        Stage.MODEL_RUN,
        verdicts,
        Written(
            read=version["digest"],
            wrote=run,
            facts={"model_run_id": run, "was_trained_before": result is None, **accuracy_facts(evaluations)},
            changes=_rows(work, version, result, evaluations, consumed, real.test, actor) if result else (),
            payload=[("model", None, work.lake.put(result.model, ".json"))] if result else (),
        ),
    )


def accuracy_facts(evaluations: pl.DataFrame) -> Facts:
    """Return accuracy by subject, the model's with its interval."""
    accuracy = evaluations.filter(pl.col("metric") == "accuracy")
    facts: Facts = {
        row["subject"].replace(":", "_") + "_accuracy": round(row["value"], 4) for row in accuracy.iter_rows(named=True)
    }
    for row in accuracy.filter(pl.col("subject") == "model").iter_rows(named=True):
        facts |= {"low": round(row["low"], 4), "high": round(row["high"], 4), "test_rows": row["test_rows"]}
    return facts


def _released(work: Work) -> dict[str, object]:
    number = work.batch.removeprefix("v")
    found = work.lake.read(
        "dataset_versions", dataset=work.recipe.dataset, version=int(number) if number.isdigit() else -1
    )
    commits = latest(work.lake.read("stage_commits", dataset=work.recipe.dataset, partition=work.batch))
    if found.is_empty() or not commits[Stage.DATASET_VERSION]["passed"]:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch} was not released, or its gates do not hold",
            where=f"{work.recipe.dataset}/dataset_version, partition {work.batch}",
            fix=f"`synth versions {work.recipe.dataset}` lists what there is; `synth release {work.recipe.dataset}`",
        )
    return found.row(0, named=True)


def _consumed(work: Work, version: object) -> pl.DataFrame:
    """Members of a version with text and label: sample_id, split, text, label, sorted by sample_id."""
    members = members_of(work.lake.read("version_members", dataset=work.recipe.dataset), int(str(version)))
    labels = work.lake.read("samples", dataset=work.recipe.dataset).select("sample_id", "label")
    texts = texts_of(work.lake, dataset=work.recipe.dataset)
    return members.join(labels, on="sample_id", maintain_order="left").join(
        texts, on="sample_id", maintain_order="left"
    )


def _consumption(
    work: Work, version: dict[str, object], consumed: pl.DataFrame, evaluations: pl.DataFrame, real: RealData
) -> Consumption:
    rule = work.recipe.model.rules.get(Assessment.CONTAMINATION)
    return Consumption(
        texts=consumed.select("sample_id", "text"),
        protected=tuple(real.protected.rows["text"]),
        resemblance_at_most=1.0 if rule is None or rule.max is None else rule.max,
        evaluated_rows=tuple(evaluations["test_rows"]),
        test_rows=real.test.rows.height,
        is_marked=bool(version["is_marked"]),
    )


def _rows(
    work: Work,
    version: dict[str, object],
    result: TrainingResult,
    evaluations: pl.DataFrame,
    consumed: pl.DataFrame,
    test: LabelledTexts,
    actor: str,
) -> list[Change]:
    run = evaluations["model_run_id"][0]
    dataset, at = work.recipe.dataset, work.now()
    row = {
        "dataset": dataset,
        "model_run_id": run,
        "version": version["version"],
        "digest": version["digest"],
        "trainer": result.spec.trainer,
        "params": stored_json(dict(result.spec.params)),
        "seed": result.spec.seed,
        "test_set_sha256": result.test_set_sha256,
        "model_sha256": result.model_sha256,
        "num_samples": result.num_samples,
        "train_s": result.train_s,
        "trained_at": at,
        "run_id": work.run_id,
    }
    eaten = consumed.filter(pl.col("split") == "train").select(
        pl.lit(dataset).alias("dataset"), pl.lit(run).alias("model_run_id"), "sample_id"
    )
    frozen = {
        "name": test.name,
        "sha256": test.sha256,
        "num_rows": test.rows.height,
        "source": test.source,
        "registered_at": at,
    }
    used = Usage(
        dataset=dataset,
        version=int(str(version["version"])),
        action="train",
        actor=actor,
        at=at,
        digest=str(version["digest"]),
        run_id=work.run_id,
        purpose="",
        destination="model",
    )
    return [
        Change("model_runs", TABLES["model_runs"].frame([row]), {"model_run_id": run}),
        Change("model_run_samples", eaten, {"dataset": dataset, "model_run_id": run}),
        Change("evaluations", evaluations, {"dataset": dataset, "model_run_id": run}),
        Change("evaluation_datasets", TABLES["evaluation_datasets"].frame([frozen]), {"sha256": test.sha256}),
        used.row(model_run_id=run),
    ]
