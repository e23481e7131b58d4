"""What is read of the catalog, proven: the audit chain decides, and rows that say otherwise are an integrity error."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.domain.agreement import moved, strays
from synth_assets.domain.binding import told
from synth_assets.domain.chain import DECIDING, RESTORE, Chain, Entry, stage_frame
from synth_assets.domain.settling import settling
from synth_assets.domain.standing import Standing, standing
from synth_assets.domain.transactions import Lake
from synth_assets.errors import IntegrityError
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Stage


@settling
def proven(lake: Lake, table: str, **equals: Any) -> pl.DataFrame:
    """Return rows of a table that are exactly those its entries bound.

    Args:
        lake: the lake.
        table: a name of `TABLES` whose rows are bound by scope.
        **equals: ``dataset``, and columns of the table's scope that narrow it down.

    Raises:
        IntegrityError: a row was added, changed or removed behind the gates' back.
    """
    rows = lake.read(table, **equals)
    prove_rows(lake.chain(equals["dataset"]), table, rows, equals)
    return rows


def proven_rows(lake: Lake, table: str, dataset: str, **equals: Any) -> pl.DataFrame:
    """Return the rows of a table that equal some values (a list means any of), each batch they are in proven whole.

    Raises:
        IntegrityError: a row of such a batch was added, changed or removed behind the gates' back.
    """
    found = lake.read(table, dataset=dataset, **equals)
    parts = [proven(lake, table, dataset=dataset, batch=batch) for batch in found["batch"].unique().sort()]
    wanted = [
        pl.col(name).is_in(value) if isinstance(value, list) else pl.col(name).eq_missing(pl.lit(value))
        for name, value in equals.items()
    ]
    return pl.concat([found.clear(), *(part.filter(*wanted) for part in parts)])


@settling
def counted(lake: Lake, table: str, dataset: str) -> pl.DataFrame:
    """Return all rows of a dataset, as many in every scope as its entries bound: none was left out or added.

    Raises:
        IntegrityError: there are more, or fewer.
    """
    rows, chain = lake.read(table, dataset=dataset), lake.chain(dataset)
    if chain.is_bound:
        scope = list(TABLES[table].scope)
        stored = {told(key[:-1]): key[-1] for key in rows.group_by(scope).len().iter_rows()}
        bound = {key: found.count for key, found in chain.rows.get(table, {}).items() if found.count}
        wrong = sorted((key for key in {*stored, *bound} if stored.get(key) != bound.get(key)), key=str)
        if wrong:
            raise IntegrityError(
                f"{table} holds {stored.get(wrong[0], 0)} rows where the audit bound {bound.get(wrong[0], 0)}",
                where=f"{table} {', '.join(str(value) for value in wrong[0])}",
                fix=RESTORE,
            )
    return rows


def prove_rows(chain: Chain, table: str, rows: pl.DataFrame, equals: Mapping[str, Any]) -> None:
    """Compare rows with what the chain binds of them; what was written before entries did is not compared.

    Args:
        chain: of the dataset.
        table: whose rows.
        rows: all that equal ``equals``.
        equals: values of columns of the table's scope.

    Raises:
        IntegrityError: they are not the same.
    """
    if not chain.is_bound:
        return
    wrong = strays(chain, table, rows, equals)
    if wrong:
        raise IntegrityError(
            f"{table} holds other rows than its audit entry bound ({wrong[0]})",
            where=f"{table}, dataset {chain.dataset}",
            fix=RESTORE,
        )


@settling
def proven_state(lake: Lake, table: str, **key: Any) -> dict[str, Any] | None:
    """Return a row of a table whose values are set one by one, or None if there is none.

    Raises:
        IntegrityError: a value is not what the entries set.
    """
    found = lake.read(table, **key)
    row = None if found.is_empty() else found.row(0, named=True)
    prove_state(lake.chain(key["dataset"]), table, [] if row is None else [row], key)
    return row


@settling
def proven_states(lake: Lake, table: str, dataset: str) -> pl.DataFrame:
    """Return all rows of a dataset in a table whose values are set one by one, sorted by key.

    Raises:
        IntegrityError: a value is not what the entries set, or a row is gone or was added.
    """
    rows = lake.read(table, dataset=dataset).sort(TABLES[table].key)
    prove_state(lake.chain(dataset), table, rows.to_dicts(), {"dataset": dataset})
    return rows


def prove_state(chain: Chain, table: str, rows: list[dict[str, Any]], key: Mapping[str, Any]) -> None:
    """Compare rows of a state table with what the entries add up to.

    Raises:
        IntegrityError: they are not the same.
    """
    wrong = moved(chain, table, rows, key) if chain.is_bound else []
    if wrong:
        raise IntegrityError(
            f"{table} says something else than the audit: {wrong[0]}",
            where=f"{table}, dataset {chain.dataset}",
            fix=RESTORE,
        )


@settling
def stage_commits(lake: Lake, dataset: str, partition: str | None = None) -> pl.DataFrame:
    """Return what the stages of a dataset, or of one batch or version, said: rows of `stage_commits`, proven.

    Stage, place, verdict and digests are the entries' own; the rest is looked up.

    Raises:
        IntegrityError: the table says otherwise, lacks an entry or holds one more.
    """
    chain = lake.chain(dataset)
    entries: list[Entry] = (
        [each for found in chain.partitions.values() for each in found]
        if partition is None
        else chain.partitions.get(partition, [])
    )
    said = stage_frame(sorted(entries, key=lambda entry: entry.seq), dataset)
    stored = lake.read("stage_commits", dataset=dataset, **({} if partition is None else {"partition": partition}))
    columns = list(DECIDING)
    strays = [said.join(stored, on=columns, how="anti"), stored.join(said, on=columns, how="anti")]
    for wrong in strays:
        if wrong.height or stored.height != said.height:
            at = (wrong if wrong.height else stored).row(0, named=True)
            raise IntegrityError(
                f"stage_commits does not say of {at['partition']} {at['stage']} what its audit entry says",
                where=f"stage_commits, commit_key {at['commit_key']}",
                fix=RESTORE,
            )
    rest = [name for name in stored.columns if name not in columns]
    whole = said.join(stored.select("commit_key", *rest), on="commit_key", maintain_order="left")
    return whole.with_columns(passed=pl.col("is_good")).select(stored.columns)


@settling
def verdicts_of(lake: Lake, dataset: str, commit_key: str) -> pl.DataFrame:
    """Return the verdicts of one stage commit, proven: rows of `verdicts`.

    Raises:
        IntegrityError: they are not those the entry bound.
    """
    rows = lake.read("verdicts", dataset=dataset, commit_key=commit_key)
    prove_rows(lake.chain(dataset), "verdicts", rows, {"commit_key": commit_key})
    return rows


def verdicts_of_all(lake: Lake, dataset: str, commit_keys: Iterable[str]) -> pl.DataFrame:
    """Return the verdicts of several stage commits, proven: rows of `verdicts`."""
    parts = [verdicts_of(lake, dataset, key) for key in commit_keys]
    return pl.concat([TABLES["verdicts"].frame([]), *parts])


def standing_of(lake: Lake, dataset: str, batch: str) -> Standing:
    """Return where a batch stands by its entries."""
    return standing(stage_commits(lake, dataset, batch))


@settling
def proven_test_set(lake: Lake, dataset: str, sha256: str) -> dict[str, Any] | None:
    """Return name, sha256, num_rows and source of a test set a dataset's models were measured on, by their entries.

    Returns:
        None if no model was measured on it yet.

    Raises:
        IntegrityError: its row of `evaluation_datasets` says otherwise, or is gone.
    """
    _, said = lake.chain(dataset).test_sets.get(sha256, (0, None))
    stored = lake.read("evaluation_datasets", sha256=sha256)
    if said and stored["num_rows"].to_list() != [said["num_rows"]]:
        raise IntegrityError(
            f"the test set {said['name']} has {said['num_rows']} rows, and the catalog says otherwise",
            where=f"evaluation_datasets, {sha256}",
            fix=RESTORE,
        )
    return said


@dataclass(frozen=True)
class ProvenRun:
    """A model run as its entry bound it.

    Attributes:
        row: of `model_runs`.
        evaluations: rows of `evaluations`.
    """

    row: dict[str, Any]
    evaluations: pl.DataFrame


@settling
def proven_run(lake: Lake, dataset: str, model_run_id: str) -> ProvenRun | None:
    """Return a model run, or None where no entry made it: rows alone are no run.

    Raises:
        IntegrityError: its rows are not those its entry bound, or stand there without one.
    """
    chain = lake.chain(dataset)
    runs = lake.read("model_runs", dataset=dataset, model_run_id=model_run_id)
    evaluations = lake.read("evaluations", dataset=dataset, model_run_id=model_run_id)
    for table, rows in (("model_runs", runs), ("evaluations", evaluations)):
        prove_rows(chain, table, rows, {"model_run_id": model_run_id})
    made = any(
        entry.action == Stage.MODEL_RUN and entry.details.get("output") == model_run_id for entry in chain.entries
    )
    if not made and runs.height:
        raise IntegrityError(
            f"the model run {model_run_id} stands in the catalog, and no audit entry made it",
            where=f"model_runs, {model_run_id}",
            fix=RESTORE,
        )
    if runs.is_empty():
        return None
    lake.get(runs["model_sha256"][0], ".json")
    return ProvenRun(runs.row(0, named=True), evaluations)
