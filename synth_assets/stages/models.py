"""Training on a version: an existing run is re-read, so nothing is trained twice."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from synth_assets.canonical import stored_json
from synth_assets.checks.gates import contamination_at_most
from synth_assets.checks.proof import proven_run, proven_test_set
from synth_assets.checks.release_gates import Consumption, judge_consumption
from synth_assets.domain import ids
from synth_assets.domain.parsing import readable
from synth_assets.domain.ports import Embedder, LabelledTexts, RealData
from synth_assets.domain.release import told_fields
from synth_assets.domain.transactions import Change
from synth_assets.domain.usage import Usage
from synth_assets.domain.versioning import MEMBER, digest_of, number_of
from synth_assets.errors import RefusedError
from synth_assets.recipe.loader import Recipe
from synth_assets.stages.proof import ProvenRelease, proven_release
from synth_assets.stages.work import Facts, Finished, Work, Written
from synth_assets.tables import TABLES
from synth_assets.training.run import TrainingResult, TrainingSpec, train_and_evaluate
from synth_assets.vocabulary import Stage


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
        RefusedError: the version was not cut.
        IntegrityError: its release folder, or what is stored of the model run, is not what the audit says.
    """
    version = proven_release(work.lake, releases, work.recipe.dataset, _released(work))
    spec = spec_of(work.recipe)
    # Trainers see the validation texts without their labels, so these decide the outcome too.
    identity = {**spec.params, "unlabelled_sha256": real.validation.sha256}
    run = ids.model_run_id(
        version_digest=digest_of(version.members),
        trainer=spec.trainer,
        params=identity,
        seed=spec.seed,
        test_set=real.test.sha256,
    )
    consumed = consumed_rows(version)
    known = proven_run(work.lake, work.recipe.dataset, run)
    result = None
    if known is None:
        rows = consumed.filter(pl.col("split") == "train")
        result = train_and_evaluate(
            rows, shots=shots_of(work.recipe), real=real, spec=spec, embedder=embedder, clock=clock
        )
        evaluations = result.evaluation_rows(dataset=work.recipe.dataset, model_run_id=run)
    else:
        evaluations = known.evaluations
    verdicts = judge_consumption(_consumption(work, version.row, consumed, evaluations, real))
    return work.finish(
        Stage.MODEL_RUN,
        verdicts,
        Written(
            read=version.row["digest"],
            wrote=run,
            facts={"model_run_id": run, "was_trained_before": result is None, **accuracy_facts(evaluations)},
            changes=_rows(work, version.row, result, evaluations, consumed, real.test, actor) if result else (),
            payload=[("model", None, work.lake.put(result.model, ".json"))] if result else (),
            audit={"model_run_id": run, "version": version.released.version, "test_set": _named(real.test)},
        ),
    )


def _named(test: LabelledTexts) -> Facts:
    return {"name": test.name, "sha256": test.sha256, "num_rows": test.rows.height, "source": test.source}


def accuracy_facts(evaluations: pl.DataFrame) -> Facts:
    """Return accuracy by subject, the model's with its interval."""
    accuracy = evaluations.filter(pl.col("metric") == "accuracy")
    facts: Facts = {
        row["subject"].replace(":", "_") + "_accuracy": round(row["value"], 4) for row in accuracy.iter_rows(named=True)
    }
    for row in accuracy.filter(pl.col("subject") == "model").iter_rows(named=True):
        facts |= {"low": round(row["low"], 4), "high": round(row["high"], 4), "test_rows": row["test_rows"]}
    return facts


def _released(work: Work) -> int:
    number = number_of(work.batch)
    if number not in work.lake.chain(work.recipe.dataset).releases:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch[:40]!r} was not released",
            where=f"{work.recipe.dataset}/dataset_version",
            fix=f"`synth versions {work.recipe.dataset}` lists what there is; `synth release {work.recipe.dataset}`",
        )
    return number


def consumed_rows(version: ProvenRelease) -> pl.DataFrame:
    """Return what a version gives to train on, from its proven lines and nothing else.

    Returns:
        Columns sample_id, content_sha256, split, batch, label, text; sorted by sample_id.
    """
    rows = [
        {name: row[name] for name in (*MEMBER, "label")}
        | {"text": "\n".join(readable(name, value) for name, value in told_fields(row).items())}
        for row in version.rows
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys((*MEMBER, "label", "text"), pl.String)).sort("sample_id")


def _consumption(
    work: Work, version: Mapping[str, Any], consumed: pl.DataFrame, evaluations: pl.DataFrame, real: RealData
) -> Consumption:
    registered = proven_test_set(work.lake, work.recipe.dataset, real.test.sha256)
    return Consumption(
        texts=consumed.select("sample_id", "text"),
        protected=tuple(real.protected.rows["text"]),
        resemblance_at_most=contamination_at_most(work.recipe.model),
        evaluated_rows=tuple(evaluations["test_rows"]),
        registered=(real.test.sha256, registered["num_rows"] if registered else real.test.rows.height),
        test_set=(ids.digest(real.test.rows.rows()), real.test.rows.height),
        is_marked=bool(version["is_marked"]),
    )


def _rows(
    work: Work,
    version: Mapping[str, Any],
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
    frozen = {**_named(test), "registered_at": at}
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
