"""`synth release` and `synth train`: from green batches to a version, and from a version to a model."""

from typing import Any

import click
import dagster as dg

from resources.owners import end_left_behind
from synth_assets.assets.partitions import key_of, model_job, version_job, versions_name
from synth_assets.checks.proof import proven_run, proven_test_set, stage_commits
from synth_assets.cli.execution import run_job
from synth_assets.cli.output import as_json, counted, print_json, print_table, say
from synth_assets.cli.project import Project
from synth_assets.domain.references import split_version
from synth_assets.domain.standing import latest
from synth_assets.errors import IntegrityError, StoppedError, SynthError, UsageError
from synth_assets.recipe import Recipe
from synth_assets.reports.releases import version_number
from synth_assets.stages.pending import pending
from synth_assets.vocabulary import Stage

CONTRADICTIONS = frozenset({"digest", "manifest", "counts", "content", "verdicts_proven"})
"""Gates of a version that fail only when what is stored contradicts itself."""


@click.command()
@click.argument("dataset")
@click.option("--reason", default="", help="Why this version is cut. It stays in the audit for ever.")
@click.option("--as-judged", is_flag=True, help="Let batches enter by the thresholds of their time; needs --reason.")
@as_json
def release(*, dataset: str, reason: str, as_judged: bool, is_json: bool) -> None:
    """Cut the next version of DATASET from its green batches. Nothing new means no version, and that is fine."""
    if as_judged and not reason.strip():
        raise UsageError("--as-judged needs a reason", where="--reason", fix="say why with --reason TEXT")
    project = Project()
    facts = cut_version(project, project.recipe(dataset), reason=reason, as_judged=as_judged)
    if is_json:
        print_json(facts)
        return
    if facts["is_new"]:
        say(f"{dataset} {facts['version']}: {counted(facts['num_samples'], 'sample')} in {facts['folder']}")
    else:
        say(f"nothing new since {facts['version'] or 'the beginning'}; no version was cut")
    for batch, stage in facts["batches_left_out"].items() if not is_json else ():
        say(f"  left out: {batch}, held back at {stage}")
    for batch, stage in facts["batches_behind"].items():
        say(f"  {batch} is inside as it was last green: what came since is held back at {stage}")
    say_head(facts["audit_head"])


def say_head(head: dict[str, Any]) -> None:
    """Print the head of the audit, the one thing that tells an older copy of everything from this one."""
    say(f"  audit head: entry {head['seq']:,}, {head['sha256']}{'' if head['is_kept'] else ' (keep it outside)'}")


def cut_version(project: Project, recipe: Recipe, *, reason: str, as_judged: bool) -> dict[str, Any]:
    """Cut the next version, or return the latest one if nothing changed.

    Raises:
        SynthError: a gate did not hold, or somebody else cut the version.
    """
    dataset = recipe.dataset
    next_up = pending(project.lake, dataset)
    number = next_up.head if next_up.change.is_empty else next_up.head + 1
    with project.instance() as instance:
        end_left_behind(instance, dataset=dataset, partitions=[f"v{next_up.head}", f"v{number}"])
        if number > next_up.head or (number and not _is_shown(instance, dataset, number)):
            _run_version(project, instance, recipe, number, config={"reason": reason, "as_judged": as_judged})
    return {
        "dataset": dataset,
        "version": f"v{number}" if number else None,
        "is_new": number > next_up.head,
        "num_samples": next_up.change.members.height,
        "added": next_up.change.added.height,
        "removed": next_up.change.removed.height,
        "digest": next_up.change.digest,
        "folder": str(project.home / "releases" / dataset / f"v{number}") if number else None,
        "batches_left_out": next_up.left_out,
        "batches_behind": next_up.behind,
        "audit_head": project.lake.keep_head(dataset),
    }


def _is_shown(instance: dg.DagsterInstance, dataset: str, number: int) -> bool:
    """Whether Dagster knows that a version was cut; a process that died right after its commit could not say so."""
    return f"v{number}" in instance.get_materialized_partitions(key_of(dataset, Stage.DATASET_VERSION))


def _run_version(
    project: Project, instance: dg.DagsterInstance, recipe: Recipe, number: int, *, config: dict[str, Any]
) -> None:
    """Run the job that cuts a version, or verifies one that was cut."""
    dataset = recipe.dataset
    instance.add_dynamic_partitions(versions_name(dataset), [f"v{number}"])
    said = {f"{dataset}__{Stage.DATASET_VERSION}": {"config": config}}
    ran = run_job(project, instance, version_job(dataset), recipe=recipe, partition=f"v{number}", config=said)
    if ran.error is not None:  # the key stays: it is the next version's, and another process may be cutting that
        raise ran.error
    if not ran.success:
        raise red_gates(dataset, f"v{number}", ran.failed_checks)


def red_gates(dataset: str, partition: str, failed: list[tuple[str, str, dict[str, Any]]]) -> SynthError:
    """Say which gates of a version or of a model run did not hold; what contradicts itself is an integrity error."""
    kind = IntegrityError if {gate for _, gate, _ in failed} & CONTRADICTIONS else StoppedError
    return kind(
        f"{dataset} {partition} is red at {', '.join(f'{stage}.{gate}' for stage, gate, _ in failed) or 'a gate'}",
        where=f"{dataset}, partition {partition}",
        fix=f"`synth status {dataset}` and the checks in `make ui` show why",
    )


@click.command()
@click.argument("version")
@click.option("--trainer", help="Train with this trainer instead of the recipe's.")
@as_json
def train(*, version: str, trainer: str | None, is_json: bool) -> None:
    """Train on VERSION (DATASET@v1 or DATASET@latest) and measure the model on a frozen test set beside its baselines.

    A model that was trained before on the same version, parameters, seed and test set is read, not trained again.
    """
    dataset, name = split_version(version)
    project = Project()
    recipe = project.released_recipe(dataset)
    if trainer is not None:
        chosen = recipe.model.trainer.model_copy(update={"name": trainer})
        from dataclasses import replace

        recipe = replace(recipe, model=recipe.model.model_copy(update={"trainer": chosen}))
    facts = train_version(project, recipe, f"v{version_number(project.lake, dataset, name)}")
    if is_json:
        print_json(facts)
    else:
        print_evaluation(facts)


def train_version(project: Project, recipe: Recipe, key: str) -> dict[str, Any]:
    """Train on a version and return the model run with its evaluations.

    Raises:
        SynthError: the version is not released, or a gate did not hold.
    """
    dataset = recipe.dataset
    with project.instance() as instance:
        end_left_behind(instance, dataset=dataset, partitions=[key])
        instance.add_dynamic_partitions(versions_name(dataset), [key])
        ran = run_job(project, instance, model_job(dataset), recipe=recipe, partition=key)
    if ran.error is not None:
        raise ran.error
    if not ran.success:
        raise red_gates(dataset, key, ran.failed_checks)
    commits = latest(stage_commits(project.lake, dataset, key))
    run = commits[Stage.MODEL_RUN]["output_digest"]
    known = proven_run(project.lake, dataset, run)
    assert known is not None  # noqa: S101 - its stage has just passed
    row, evaluations = known.row, known.evaluations.sort("metric", "value", descending=[False, True])
    test_set = proven_test_set(project.lake, dataset, row["test_set_sha256"]) or {}
    return {
        "dataset": dataset,
        "version": key,
        "model_run_id": run,
        "trainer": row["trainer"],
        "was_trained_now": row["run_id"] == ran.run_id,
        "num_samples": row["num_samples"],
        "test_set": test_set.get("name"),
        "evaluations": evaluations.drop("dataset", "model_run_id").to_dicts(),
        "audit_head": project.lake.keep_head(dataset),
    }


def print_evaluation(facts: dict[str, Any]) -> None:
    """Print accuracies beside the baselines."""
    rows = [
        (row["subject"], row["train_rows"], f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}")
        for row in facts["evaluations"]
        if row["metric"] == "accuracy"
    ]
    test_rows = facts["evaluations"][0]["test_rows"]
    print_table(
        f"accuracy on the {counted(test_rows, 'row')} of {facts['test_set']}",
        ("trained on", "rows", "accuracy", "95 % interval"),
        [(_subject(name, facts["version"]), *rest) for name, *rest in rows],
        numbers=("rows", "accuracy"),
    )
    state = "trained now" if facts["was_trained_now"] else "trained before, read again"
    say(f"model run {facts['model_run_id']} ({state})")
    say_head(facts["audit_head"])


def _subject(name: str, version: str) -> str:
    words = {
        "model": f"{version}, synthetic",
        "baseline:majority": "nothing: always the majority class",
        "baseline:shots": "the prompts' own examples",
    }
    return words.get(name, "real examples" if name.startswith("baseline:real") else name)
