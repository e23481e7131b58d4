"""Ways around the gates: whatever is changed behind their back is refused where it would count, or does no harm.

One finished home for all: two batches in v1 with a model on it, a third green one that is not released yet, and a
fourth that is red. Every way takes a copy, does its harm with SQL or on files, and says what becomes of whoever acts.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import polars as pl
import pytest

from resources.claims import Claims, training
from resources.journal import _checksum
from resources.lake import DuckLake, open_lake
from synth_assets.api import load_dataset
from synth_assets.canonical import sha256, stored_json
from synth_assets.domain import ids
from synth_assets.domain.drafting import TEXTS_SCHEMA
from synth_assets.domain.ledger import entry_line, entry_sha256, intent_line, lines_sha256, sealed
from synth_assets.domain.transactions import Commit
from synth_assets.errors import SynthError
from synth_assets.recipe import Recipe, load_recipe
from synth_assets.reports import funnel, lineage, releases
from synth_assets.reports.audit import verify
from synth_assets.stages import judgement, models, versions
from synth_assets.stages.work import Work
from tests.command import DATASET, Home, tiny, told
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.embedder import HashedWords
from tests.fakes.openai_server import Fault
from tests.fakes.real_data import FakeRealData

pytestmark = pytest.mark.slow

FIRST, SECOND, FRESH, RED = "2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANY_BALANCE = {"label_deviation": {"max": 0.5, "because": "How many repeat themselves is not planned by label."}}
ONE_TRY = {"accept": 12, "overdraw": 1.5, "max_attempts": 1}
DONE, STOPPED, REFUSED, BROKEN = 0, 1, 3, 4


@dataclass
class Scene:
    """A home in which somebody does harm and somebody else acts."""

    path: Path
    recipe: Recipe
    lake: DuckLake

    def sql(self, statement: str, *values: Any) -> None:
        self.lake._connection.execute(statement, list(values))

    def work(self, partition: str, claim: Any = None) -> Work:
        return Work(self.recipe, partition, self.lake, claim, f"run-{self.lake.chain(DATASET).length}", lambda: NOON)

    @property
    def releases(self) -> Path:
        return self.path / "releases"

    @property
    def v1(self) -> Path:
        return self.releases / DATASET / "v1"


def cut(scene: Scene) -> None:
    finished = versions.release(scene.work("v2"), scene.releases, reason="", actor="ada", protected=(), as_judged=False)
    assert finished.passed, [verdict for verdict in finished.verdicts if not verdict.passed]


def ready(scene: Scene) -> None:
    """Materialize the last stage of the red batch alone."""
    judgement.make_ready(scene.work(RED), FakeRealData().data.protected)


def curate(scene: Scene) -> None:
    judgement.curate(scene.work(FRESH))


def load(scene: Scene) -> None:
    scene.lake.close()  # whoever reads opens the home anew
    try:
        load_dataset(f"{DATASET}@latest", home=scene.path)
    finally:
        scene.lake = open_lake(scene.path, {})


def followed(scene: Scene) -> None:
    rows = scene.lake.read("samples", dataset=DATASET, batch=FRESH).sort("ordinal")
    lineage.of_sample(scene.lake, rows["sample_id"][-1])


def looked(scene: Scene) -> None:
    funnel.status(scene.lake, DATASET)


def listed(scene: Scene) -> None:
    releases.versions(scene.lake, DATASET)


def train(scene: Scene) -> None:
    finished = models.train(
        scene.work("v1"), HashedWords(), FakeRealData().data, scene.releases, actor="ada", clock=lambda: 0.0
    )
    assert finished.passed


def verified(scene: Scene) -> None:
    findings = verify(scene.lake, DATASET, None).findings
    if findings:
        raise FoundError(findings[0].what, where=findings[0].where, fix=findings[0].fix)


class FoundError(SynthError):
    """The first finding, as the command raises it."""

    exit_code = BROKEN


def code_of(act: Callable[[Scene], None], scene: Scene) -> int:
    """Return what a person's command would exit with; anything but a refusal of ours fails the test."""
    try:
        act(scene)
    except SynthError as error:
        return error.exit_code
    return DONE


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    folder = tmp_path_factory.mktemp("bypass")
    recipes = tiny(folder, gates=ANY_BALANCE, batch=ONE_TRY, real_data={"reader": "movie_reviews", "test_rows": 100})
    with ChatProvider() as provider:
        home = Home(folder / "home", provider.base_url, recipes, {"SYNTH_ACTOR": "ada"})
        for batch in (FIRST, SECOND):
            assert home.call("run", DATASET, "--batch", batch).code == 0
        assert home.call("release", DATASET).code == 0
        assert home.call("run", DATASET, "--batch", FRESH).code == 0
        provider.repeats = 1.0
        assert home.call("run", DATASET, "--batch", RED).code == 1
    recipe = load_recipe(recipes / DATASET)
    lake = open_lake(home.path, {})
    train(Scene(home.path, recipe, lake))
    assert verify(lake, DATASET, None).findings == []
    lake.close()
    shutil.rmtree(home.path / "dagster")
    return home.path, recipe


@pytest.fixture
def scene(finished: tuple[Path, Recipe], tmp_path: Path) -> Iterator[Scene]:
    home, recipe = finished
    path = Path(shutil.copytree(home, tmp_path / "home"))
    scene = Scene(path, recipe, open_lake(path, {}))
    yield scene
    scene.lake.close()


Harm = Callable[[Scene], object]
Way = tuple[Harm, dict[Callable[[Scene], None], int]]


def sql(*statements: str) -> Harm:
    def harm(scene: Scene) -> None:
        for statement in statements:
            scene.sql(statement)

    return harm


def of(table: str, change: str, where: str = "", batch: str = FRESH) -> Harm:
    """Change rows of a batch that the next version would take in."""
    column = "partition" if table in ("stage_commits", "verdicts") else "batch"
    return sql(f"UPDATE lake.{table} SET {change} WHERE {column} = '{batch}' {where}")


def payload(kind: str, frame: pl.DataFrame) -> Harm:
    """Name one more file as payload of a batch: rightly hashed, and nobody's."""

    def harm(scene: Scene) -> None:
        stored = scene.lake.put_frame(frame)
        scene.sql(
            "INSERT INTO lake.objects SELECT ?, ?, ?, ?, '.parquet', ?, TIMESTAMPTZ '2026-11-30 00:00:00+00'",
            DATASET, FRESH, kind, stored.sha256, stored.num_bytes,
        )  # fmt: skip

    return harm


def texts() -> pl.DataFrame:
    return pl.DataFrame({"sample_id": ["s"], "field": ["text"], "text": ["Nobody judged this."]})


def stored_file(kind: str) -> Callable[[Scene], Path]:
    def find(scene: Scene) -> Path:
        row = scene.lake.read("objects", dataset=DATASET, kind=kind).sort("batch").row(-1, named=True)
        return scene.lake.objects.path(row["object_sha256"], row["suffix"])

    return find


def file_of(name: str) -> Callable[[Scene], Path]:
    return lambda scene: scene.v1 / name


def damaged(find: Callable[[Scene], Path]) -> Harm:
    def harm(scene: Scene) -> None:
        data = bytearray(find(scene).read_bytes())
        data[len(data) // 2] ^= 1
        find(scene).write_bytes(bytes(data))

    return harm


def removed(find: Callable[[Scene], Path]) -> Harm:
    return lambda scene: find(scene).unlink()


def linked(find: Callable[[Scene], Path]) -> Harm:
    """Move a file or folder elsewhere and leave a link to it."""

    def harm(scene: Scene) -> None:
        place = find(scene)
        place.rename(scene.path / "elsewhere")
        place.symlink_to(scene.path / "elsewhere")

    return harm


def refitted(scene: Scene) -> None:
    """Rewrite a line, and a manifest that fits it."""
    lines = scene.v1 / "samples.jsonl"
    row = orjson.loads(lines.read_bytes().splitlines()[0]) | {"label": "positive", "fields": {"text": "Swapped."}}
    row["content_sha256"] = ids.content_sha256(row["fields"], row["label"])
    rest = lines.read_bytes().splitlines(keepends=True)[1:]
    lines.write_bytes(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) + b"".join(rest))
    manifest = orjson.loads((scene.v1 / "manifest.json").read_bytes())
    data = lines.read_bytes()
    manifest["files"]["samples.jsonl"] = {"sha256": sha256(data), "bytes": len(data)}
    (scene.v1 / "manifest.json").write_bytes(orjson.dumps(manifest))


def new_card(scene: Scene) -> None:
    """Rewrite the card, and a manifest that fits it: no line and no digest tells."""
    card = scene.v1 / "README.md"
    card.write_text("# Approved for everything\n")
    manifest = orjson.loads((scene.v1 / "manifest.json").read_bytes())
    manifest["files"]["README.md"] = {"sha256": sha256(card.read_bytes()), "bytes": card.stat().st_size}
    (scene.v1 / "manifest.json").write_bytes(orjson.dumps(manifest))


def doctored(scene: Scene) -> None:
    """A line, its manifest, and what the catalog says of it."""
    refitted(scene)
    scene.sql("UPDATE lake.dataset_versions SET manifest_sha256 = ?", sha256((scene.v1 / "manifest.json").read_bytes()))


def older_catalog(scene: Scene) -> None:
    """Put the catalog back to what it was before v2 was cut; the files stay."""
    scene.lake.close()
    kept = scene.path / "catalog.of.before"
    shutil.copy(scene.path / "catalog.sqlite", kept)
    scene.lake = open_lake(scene.path, {})
    cut(scene)
    scene.lake.close()
    shutil.move(kept, scene.path / "catalog.sqlite")
    scene.lake = open_lake(scene.path, {})


def older_catalog_and_ledger(scene: Scene) -> None:
    ledger = scene.lake.ledger.file(DATASET)
    before = ledger.read_bytes()
    older_catalog(scene)
    ledger.write_bytes(before)


def ledger(edit: Callable[[list[bytes]], list[bytes]]) -> Harm:
    def harm(scene: Scene) -> None:
        file = scene.lake.ledger.file(DATASET)
        file.write_bytes(b"".join(edit(file.read_bytes().splitlines(keepends=True))))

    return harm


def appended(scene: Scene, *, action: str, details: dict[str, Any], with_ledger: bool = True) -> None:
    """Append an entry as somebody would who can write the catalog and knows how an entry is made."""
    chain = scene.lake.chain(DATASET)
    entry = {
        "dataset": DATASET, "seq": chain.length + 1, "previous_sha256": chain.head, "commit_key": "forged",
        "action": action, "actor": "ada", "run_id": "", "details": stored_json(details), "entered_at": NOON,
    }  # fmt: skip
    entry["entry_sha256"] = entry_sha256(entry)
    scene.sql(
        f"INSERT INTO lake.audit_log ({', '.join(entry)}) VALUES ({', '.join('?' * len(entry))})", *entry.values()
    )
    scene.sql("UPDATE lake.heads SET audit_seq = ?, audit_sha256 = ?", entry["seq"], entry["entry_sha256"])
    if with_ledger:
        ledger(lambda lines: [*lines, intent_line(entry), entry_line(entry, lines_sha256([]), is_recovered=False)])(
            scene
        )


def forged_green(scene: Scene) -> None:
    """Append green entries for the stages of the red batch, without rows that fit them."""
    held = scene.lake.chain(DATASET).latest("curated", RED)
    assert held is not None
    appended(scene, action="curated", details={**held.details, "passed": True, "gates": {}})


def without_gates(scene: Scene) -> None:
    """The same with rows that fit, but for the gates it lacks."""
    held = scene.lake.chain(DATASET).latest("curated", RED)
    assert held is not None
    details = {**held.details, "passed": True, "gates": {"contract": True}, "binds": {}}
    appended(scene, action="curated", details=details)
    row = scene.lake.read("stage_commits", partition=RED, stage="curated").row(-1, named=True)
    row |= {"commit_key": "forged", "commit_seq": scene.lake.chain(DATASET).length, "passed": True}
    scene.sql(f"INSERT INTO lake.stage_commits ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())


def without_verdicts(scene: Scene) -> None:
    """The same with all gates, whose verdicts never stood anywhere."""
    held, good = scene.lake.chain(DATASET).latest("curated", RED), scene.lake.chain(DATASET).latest("curated", FRESH)
    assert held is not None
    assert good is not None
    appended(
        scene, action="curated", details={**held.details, "passed": True, "gates": good.details["gates"], "binds": {}}
    )
    row = scene.lake.read("stage_commits", partition=RED, stage="curated").row(-1, named=True)
    row |= {"commit_key": "forged", "commit_seq": scene.lake.chain(DATASET).length, "passed": True}
    scene.sql(f"INSERT INTO lake.stage_commits ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())


def committed_in_the_catalog_alone(scene: Scene) -> None:
    """A whole green commit, every row of it bound and every hash right, by somebody who cannot write the ledger."""
    work = scene.work(RED)
    red = scene.lake.chain(DATASET).latest("curated", RED)
    assert red is not None
    made: list[Commit] = []
    with mock.patch.object(DuckLake, "commit", lambda _, commit: made.append(commit)), suppress(AttributeError):
        judgement.curate(work)
    details = {**made[0].details, "passed": True, "gates": dict.fromkeys(made[0].details["gates"], True)}
    forged, _ = sealed(replace(made[0], details=details))
    scene.lake._transact(forged, scene.lake._entry(scene.lake.chain(DATASET), forged))


def invented_run(scene: Scene) -> None:
    """A model run that nobody trained, under the id that training would compute."""
    run = scene.lake.read("model_runs", dataset=DATASET).row(0, named=True)["model_run_id"]
    scene.sql("UPDATE lake.evaluations SET value = 0.99 WHERE model_run_id = ?", run)


def without_its_entry(scene: Scene) -> None:
    for table in ("model_runs", "evaluations", "model_run_samples"):
        scene.sql(f"UPDATE lake.{table} SET model_run_id = 'invented'")


def falsified_statistics(scene: Scene) -> None:
    """Make DuckLake believe that no file of samples holds this dataset."""
    scene.lake.close()
    with sqlite3.connect(scene.path / "catalog.sqlite") as catalog:
        (table,) = catalog.execute("SELECT table_id FROM ducklake_table WHERE table_name = 'samples'").fetchone()
        (column,) = catalog.execute(
            "SELECT column_id FROM ducklake_column WHERE table_id = ? AND column_name = 'dataset'", (table,)
        ).fetchone()
        catalog.execute(
            "UPDATE ducklake_file_column_stats SET min_value = 'zz', max_value = 'zz' "
            "WHERE table_id = ? AND column_id = ?",
            (table, column),
        )
    catalog.close()
    scene.lake = open_lake(scene.path, {})


def without_a_time(scene: Scene) -> None:
    """The catalog says which columns may be empty, and whoever writes it may say otherwise."""
    scene.lake.close()
    with sqlite3.connect(scene.path / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE ducklake_column SET nulls_allowed = 1 WHERE column_name = 'entered_at'")
    catalog.close()
    scene.lake = open_lake(scene.path, {})
    scene.sql("UPDATE lake.audit_log SET entered_at = NULL WHERE seq = 3")


def journal(scene: Scene) -> Path:
    return next(iter(sorted((scene.path / "journal" / DATASET / FRESH).glob("*.jsonl"))))


def a_fifo(scene: Scene) -> None:
    os.mkfifo(scene.v1 / "pipe")


HARMLESS = {load: DONE, train: DONE, verified: BROKEN}
"""What was released stands: only verification tells."""

WAYS: dict[str, Way] = {
    # --- verdicts
    "both verdict flags of a red batch turned": (
        sql(
            f"UPDATE lake.stage_commits SET passed = true WHERE partition = '{RED}'",
            f"UPDATE lake.verdicts SET passed = true WHERE partition = '{RED}'",
        ),
        {ready: BROKEN, cut: BROKEN},
    ),
    "one flag of a red batch turned": (of("stage_commits", "passed = true", batch=RED), {ready: BROKEN, cut: BROKEN}),
    "the failing verdict turned": (of("verdicts", "passed = true", batch=RED), {ready: BROKEN, cut: BROKEN}),
    "a verdict of another gate": (of("verdicts", "gate = 'another'"), {cut: BROKEN, looked: BROKEN}),
    "an entry without its time": (
        without_a_time,
        {cut: BROKEN, load: BROKEN, looked: BROKEN, verified: BROKEN},
    ),
    "an entry of no time": (
        sql("UPDATE lake.audit_log SET entered_at = 'infinity' WHERE seq = 3"),
        {cut: BROKEN, load: BROKEN, looked: BROKEN, verified: BROKEN},
    ),
    "a version of no time": (
        sql("UPDATE lake.dataset_versions SET released_at = TIMESTAMPTZ '290000-01-01 00:00:00+00'"),
        {cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "payload named twice": (sql("INSERT INTO lake.objects SELECT * FROM lake.objects LIMIT 1"), {verified: BROKEN}),
    "the failing verdict deleted": (
        sql(f"DELETE FROM lake.verdicts WHERE partition = '{RED}' AND NOT passed"),
        {ready: BROKEN, cut: BROKEN},
    ),
    "a threshold of a verdict changed": (of("verdicts", "most = 1.0"), {cut: BROKEN}),
    "the newest red commit deleted": (
        sql(f"DELETE FROM lake.stage_commits WHERE partition = '{RED}' AND NOT passed"),
        {ready: BROKEN, cut: BROKEN},
    ),
    "an older commit raised above the newest": (
        of("stage_commits", "commit_seq = commit_seq + 1000", "AND stage = 'generated'"),
        {curate: BROKEN, cut: BROKEN},
    ),
    "a stage commit moved to another batch": (
        sql(f"UPDATE lake.stage_commits SET partition = '{RED}' WHERE partition = '{FRESH}' AND stage = 'curated'"),
        {ready: BROKEN, cut: BROKEN},
    ),
    "another digest said to be written": (
        of("stage_commits", "output_digest = 'x'", "AND stage = 'scored'"),
        {curate: BROKEN, cut: BROKEN},
    ),
    # --- rows
    "a label changed": (
        of("samples", "label = 'negative'"),
        {curate: BROKEN, cut: BROKEN, followed: BROKEN, looked: BROKEN},
    ),
    "a sample deleted": (
        sql(f"DELETE FROM lake.samples WHERE batch = '{FRESH}' AND ordinal = 1"),
        {curate: BROKEN, cut: BROKEN},
    ),
    "a sample added": (
        sql(
            "INSERT INTO lake.samples SELECT * REPLACE ('added' AS sample_id, 99 AS ordinal) FROM lake.samples "
            f"WHERE batch = '{FRESH}' LIMIT 1"
        ),
        {curate: BROKEN, cut: BROKEN},
    ),
    "a whole attempt added": (
        sql(
            "INSERT INTO lake.samples SELECT * REPLACE (sample_id || 'x' AS sample_id, 7 AS attempt) FROM lake.samples "
            f"WHERE batch = '{FRESH}'"
        ),
        {curate: BROKEN, cut: BROKEN},
    ),
    "a rejected sample accepted": (
        of("decisions", "decision = 'accepted', reason = NULL", "AND decision = 'rejected'"),
        {cut: BROKEN, looked: BROKEN},
    ),
    "an example added": (
        sql(
            "INSERT INTO lake.training_examples SELECT dataset, batch, sample_id, content_sha256, 'train', label, NULL "
            f"FROM lake.samples WHERE batch = '{FRESH}'"
        ),
        {cut: BROKEN},
    ),
    "a split changed": (of("training_examples", "split = 'test'"), {cut: BROKEN}),
    "an assessment changed": (of("assessments", "value = 0.0"), {curate: BROKEN, cut: BROKEN}),
    "assessments deleted": (
        sql(f"DELETE FROM lake.assessments WHERE batch = '{FRESH}'"),
        {curate: BROKEN, cut: BROKEN},
    ),
    "a tag added": (
        sql(
            f"INSERT INTO lake.tags SELECT dataset, batch, sample_id, 'mood', 'wry', 1.0, 'me', assessed_at "
            f"FROM lake.assessments WHERE batch = '{FRESH}' LIMIT 1"
        ),
        {curate: BROKEN, cut: BROKEN},
    ),
    "another model said to have written": (
        of("requests", "model = 'better'"),
        {curate: BROKEN, cut: BROKEN, followed: BROKEN},
    ),
    "other parameters": (of("requests", "generation_params = '{}'"), {cut: BROKEN}),
    "another cost": (of("generations", "cost_usd = 0.0"), {cut: BROKEN}),
    "another time": (of("generations", "generated_at = generated_at + INTERVAL 1 DAY"), {cut: BROKEN}),
    "an outcome changed": (of("generations", "outcome = 'answered', reason = NULL"), {}),
    "a template's hash changed": (sql("UPDATE lake.prompt_templates SET template_sha256 = 'x'"), {cut: BROKEN}),
    "a smaller promise": (of("batches", "promised = 1", batch=RED), {ready: REFUSED, cut: BROKEN}),
    "accepted short by nobody": (of("batches", "short_accepted_by = 'ada'", batch=RED), {ready: REFUSED, cut: BROKEN}),
    "a seed changed": (sql("UPDATE lake.seeds SET position = 77"), {verified: BROKEN}),
    "a usage deleted": (sql("DELETE FROM lake.usage_log"), {verified: BROKEN}),
    "a kept revision changed": (sql("UPDATE lake.batch_revisions SET accepted = 1"), {verified: BROKEN}),
    "falsified statistics": (falsified_statistics, {curate: BROKEN, verified: BROKEN}),
    # --- payload
    "texts nobody judged": (payload("texts", texts()), {curate: BROKEN, cut: BROKEN}),
    "an ingested answer nobody ingested": (payload("ingested", texts()), {verified: BROKEN}),
    "a file no longer named": (
        sql(f"DELETE FROM lake.objects WHERE batch = '{FRESH}' AND kind = 'texts'"),
        {curate: BROKEN, cut: BROKEN},
    ),
    "kept lines changed": (damaged(stored_file("revision")), {cut: BROKEN, verified: BROKEN}),
    "kept lines deleted": (removed(stored_file("revision")), {cut: BROKEN, verified: BROKEN}),
    "the model deleted": (removed(stored_file("model")), {train: BROKEN, verified: BROKEN}),
    "a paid answer changed in the journal": (damaged(journal), {verified: BROKEN}),
    "the journal deleted": (removed(journal), {verified: BROKEN}),
    # --- chain, head and ledger
    "an entry turned green": (
        sql("""UPDATE lake.audit_log SET details = replace(details, '"passed":false', '"passed":true')"""),
        {ready: BROKEN, cut: BROKEN, load: BROKEN},
    ),
    "the last entry deleted": (
        sql("DELETE FROM lake.audit_log WHERE seq = (SELECT max(seq) FROM lake.audit_log)"),
        {ready: BROKEN, cut: BROKEN, load: BROKEN},
    ),
    "the head moved": (sql("UPDATE lake.heads SET audit_sha256 = 'x'"), {cut: BROKEN, load: BROKEN}),
    "the latest version forgotten": (sql("UPDATE lake.heads SET head_version = 0"), {cut: BROKEN, load: BROKEN}),
    "green entries appended, their rows left as they are": (forged_green, {ready: BROKEN, cut: BROKEN}),
    "a green entry without its gates": (without_gates, {ready: REFUSED, verified: BROKEN}),
    "a green entry whose verdicts never stood anywhere": (without_verdicts, {ready: REFUSED, verified: BROKEN}),
    "a green commit in the catalog alone": (
        committed_in_the_catalog_alone,
        {ready: BROKEN, curate: BROKEN, cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "an entry nobody can read at the end of the ledger": (
        ledger(lambda lines: [*lines, b'{"entry":garbage}\n']),
        {curate: BROKEN, cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "all entries of the ledger said to be recovered": (
        ledger(lambda lines: [line.replace(b'"is_recovered":false', b'"is_recovered":true') for line in lines]),
        {verified: BROKEN},
    ),
    "lines of nobody at the end of the ledger": (
        ledger(lambda lines: [*lines, b'{"table":"decisions"}\n']),
        {curate: BROKEN, cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "intents changed in the ledger": (
        ledger(lambda lines: [line.replace(b'"seq":3', b'"seq":4') if b"intent" in line else line for line in lines]),
        {verified: BROKEN},
    ),
    "an entry that says nothing a reader can use": (
        lambda scene: appended(
            scene, action="dataset_version", details={"form": 2, "manifest_sha256": "x", "version": "x"}
        ),
        {cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "an entry of a stage without what it read": (
        lambda scene: appended(
            scene, action="curated", details={"form": 2, "batch": RED, "passed": True, "output": "x", "gates": [1]}
        ),
        {ready: BROKEN, cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "the versions deleted": (sql("DELETE FROM lake.dataset_versions"), {load: BROKEN, train: BROKEN, cut: BROKEN}),
    "an entry of a form that was given up": (
        lambda scene: appended(scene, action="curated", details={"batch": RED, "passed": True, "output": "x"}),
        {ready: BROKEN, cut: BROKEN, load: BROKEN},
    ),
    "the ledger deleted": (
        lambda scene: scene.lake.ledger.file(DATASET).unlink(),
        {cut: BROKEN, load: BROKEN, verified: BROKEN},
    ),
    "the ledger cut short": (ledger(lambda lines: lines[: len(lines) // 2]), {cut: BROKEN, verified: BROKEN}),
    "a decision changed in the ledger": (
        ledger(lambda lines: [line.replace(b'"rejected"', b'"accepted"') for line in lines]),
        {verified: BROKEN},
    ),
    "an older catalog beside newer files": (older_catalog, {cut: BROKEN, load: BROKEN, verified: BROKEN}),
    "an older catalog and an older ledger": (older_catalog_and_ledger, {cut: BROKEN, verified: BROKEN}),
    # --- releases
    "a released line changed": (damaged(file_of("samples.jsonl")), {cut: BROKEN, load: BROKEN, train: BROKEN}),
    "a released Parquet file changed": (damaged(file_of("data/train.parquet")), {cut: BROKEN, load: BROKEN}),
    "a card and its manifest changed": (new_card, {cut: BROKEN, load: BROKEN, train: BROKEN, verified: BROKEN}),
    "a line and its manifest changed": (refitted, {cut: BROKEN, load: BROKEN, train: BROKEN}),
    "a line, its manifest and the catalog changed": (doctored, {cut: BROKEN, load: BROKEN, train: BROKEN}),
    "a release behind a link": (linked(file_of("")), {load: BROKEN, train: BROKEN}),
    "a file of a release behind a link": (linked(file_of("samples.jsonl")), {load: BROKEN, train: BROKEN}),
    "a pipe among the files": (a_fifo, {load: BROKEN}),
    "a stray file": (lambda scene: (scene.v1 / "more.jsonl").write_text("{}"), {load: BROKEN}),
    "a released label changed in the catalog": (of("samples", "label = 'negative'", batch=FIRST), HARMLESS),
    "released decisions changed in the catalog": (
        of("decisions", "decision = 'rejected'", batch=FIRST),
        {
            curate: BROKEN,
            looked: BROKEN,
            **HARMLESS,
        },  # another batch is compared with what they accepted
    ),
    "members taken out of the catalog": (
        sql("DELETE FROM lake.version_members WHERE sample_id = (SELECT min(sample_id) FROM lake.version_members)"),
        {cut: BROKEN, load: DONE, train: DONE, listed: BROKEN, verified: BROKEN},
    ),
    "members said to have left": (
        sql("UPDATE lake.version_members SET removed_in = 1, cause = 'release'"),
        {cut: BROKEN, load: DONE, listed: BROKEN, verified: BROKEN},
    ),
    "an alias moved": (sql("UPDATE lake.dataset_aliases SET version = 7"), {load: BROKEN, verified: BROKEN}),
    "a mark set": (sql("UPDATE lake.dataset_versions SET is_marked = true"), {cut: BROKEN, load: BROKEN}),
    "another digest in the catalog": (sql("UPDATE lake.dataset_versions SET digest = 'x'"), {load: BROKEN}),
    # --- models
    "an evaluation improved": (invented_run, {train: BROKEN, verified: BROKEN}),
    "another test set said to have been measured on": (
        sql("UPDATE lake.evaluation_datasets SET num_rows = 7"),
        {train: BROKEN, verified: BROKEN},
    ),
    "the test sets deleted": (sql("DELETE FROM lake.evaluation_datasets"), {train: BROKEN, verified: BROKEN}),
    "a model run without its entry": (without_its_entry, {verified: BROKEN}),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_around_the_gates_is_refused_or_does_no_harm(name: str, scene: Scene) -> None:
    harm, outcomes = WAYS[name]
    harm(scene)
    before = {path: path.read_bytes() for path in scene.releases.rglob("*") if path.is_file()}

    found = {act.__name__: code_of(act, scene) for act in outcomes}

    assert found == {act.__name__: code for act, code in outcomes.items()}
    if cut in outcomes:
        assert {path: path.read_bytes() for path in scene.releases.rglob("*") if path.is_file()} == before


def test_without_any_harm_everybody_may_act(scene: Scene) -> None:
    acts = {cut: DONE, load: DONE, train: DONE, curate: DONE, verified: DONE, ready: REFUSED}

    assert {act: code_of(act, scene) for act in acts} == acts


@pytest.mark.parametrize("key", ["1", "2", "v02", "v\u0662", "v3", "v0", "latest", "", "v2 "])
def test_a_version_has_one_spelling(key: str, scene: Scene) -> None:
    with pytest.raises(SynthError) as refused:
        versions.release(scene.work(key), scene.releases, reason="", actor="ada", protected=(), as_judged=False)

    assert refused.value.exit_code == REFUSED
    assert sorted(path.name for path in (scene.releases / DATASET).iterdir()) == ["v1"]


def test_whoever_lost_the_claim_commits_nothing(scene: Scene) -> None:
    claims = Claims(scene.lake, scene.path)
    with entered(scene):
        stale = claims.hold(scene.recipe.model, FRESH)
        claims.release()
        claims.hold(scene.recipe.model, FRESH)
    length = scene.lake.chain(DATASET).length

    with pytest.raises(SynthError, match="was claimed by another process") as refused:
        judgement.curate(scene.work(FRESH, stale))

    assert refused.value.exit_code == REFUSED
    assert scene.lake.chain(DATASET).length == length
    claims.release()


@contextmanager
def entered(scene: Scene) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"SYNTH_HOME": str(scene.path)}):
        yield


def tightened(recipe: Recipe, **gates: float) -> Recipe:
    """Return the recipe with other lower ends of thresholds."""
    bent = {name: getattr(recipe.model.gates, name).model_copy(update={"min": least}) for name, least in gates.items()}
    return replace(recipe, model=recipe.model.model_copy(update={"gates": recipe.model.gates.model_copy(update=bent)}))


def test_a_batch_judged_by_looser_thresholds_enters_only_when_a_person_says_so(scene: Scene) -> None:
    judged = scene.lake.read("verdicts", partition=FRESH, gate="acceptance_share")["value"][-1]
    scene.recipe = tightened(scene.recipe, acceptance_share=judged + 0.01)

    with pytest.raises(SynthError, match=f"{FRESH} has acceptance_share") as stopped:
        cut(scene)
    assert stopped.value.exit_code == STOPPED
    assert "--as-judged" in stopped.value.fix

    finished = versions.release(
        scene.work("v2"), scene.releases, reason="it is good enough", actor="ada", protected=(), as_judged=True
    )

    assert finished.passed
    card = (scene.releases / DATASET / "v2" / "README.md").read_text()
    assert "Inside by the rules of their time" in card
    entry = scene.lake.chain(DATASET).entries[-1]
    assert [(each["batch"], each["gate"]) for each in entry.details["as_judged"]] == [(FRESH, "acceptance_share")]
    assert (entry.details["purpose"], code_of(verified, scene)) == ("it is good enough", DONE)


def test_a_key_signs_every_entry_and_nobody_writes_without_it_any_more(scene: Scene, tmp_path: Path) -> None:
    key = {"SYNTH_AUDIT_KEY": "not in any file"}
    scene.lake.close()
    scene.lake = open_lake(scene.path, key)
    assert code_of(curate, scene) == DONE
    assert code_of(verified, scene) == DONE
    scene.lake.close()

    stripped = open_lake(Path(shutil.copytree(scene.path, tmp_path / "stripped")), key)
    stripped._connection.execute("UPDATE lake.audit_log SET hmac = NULL")
    file = stripped.ledger.file(DATASET)
    file.write_bytes(re.sub(rb',"hmac":"[0-9a-f]{64}"', b"", file.read_bytes()))
    with pytest.raises(SynthError, match="lost its signature"):
        stripped.chain(DATASET)
    stripped._connection.execute("UPDATE lake.audit_log SET hmac = 'ü'")
    with pytest.raises(SynthError, match="was given one"):
        stripped.chain(DATASET)
    stripped.close()

    scene.lake = open_lake(scene.path, {})
    assert code_of(curate, scene) == REFUSED
    assert code_of(verified, scene) == DONE, "reading needs no key"
    length = scene.lake.chain(DATASET).length
    appended(scene, action="curated", details={"form": 2, "batch": RED, "passed": True, "output": "x", "input": "x"})
    for act in (curate, cut, verified):
        assert code_of(act, scene) == BROKEN
    with pytest.raises(SynthError, match=f"entry {length + 1} is not signed"):
        scene.lake.chain(DATASET)
    scene.lake.close()

    scene.lake = open_lake(scene.path, {"SYNTH_AUDIT_KEY": "another"})
    with pytest.raises(SynthError, match="was not signed with the key"):
        scene.lake.chain(DATASET)


def test_a_head_kept_outside_tells_an_older_copy_of_everything(scene: Scene, tmp_path: Path) -> None:
    outside = {"SYNTH_HEAD_FILE": str(tmp_path / "heads.jsonl")}
    older = Path(shutil.copytree(scene.path, tmp_path / "older"))
    scene.lake.close()
    scene.lake = open_lake(scene.path, outside)
    cut(scene)
    assert scene.lake.keep_head(DATASET)["is_kept"]
    assert code_of(verified, scene) == DONE
    scene.lake.close()

    scene.lake = open_lake(older, outside)

    assert {act: code_of(act, scene) for act in (curate, verified)} == {curate: BROKEN, verified: BROKEN}


NEXT_DAY = "2026-11-05"


@pytest.mark.parametrize("harm", ["an answer forged", "the segment deleted"])
def test_bound_answers_of_an_open_attempt_are_believed_only_as_they_were_bound(
    harm: str, finished: tuple[Path, Recipe], tmp_path: Path
) -> None:
    path, recipe = finished
    with ChatProvider() as provider:
        provider.faults = [Fault("unauthorized", at=set(range(8, 1000)))]
        copy = Path(shutil.copytree(path, tmp_path / "home"))
        home = Home(copy, provider.base_url, recipe.folder.parent, {"SYNTH_ACTOR": "ada"})
        assert home.call("run", DATASET, "--batch", NEXT_DAY).code == STOPPED
        provider.faults = []
        asked = len(provider.requests)
        [segment] = (copy / "journal" / DATASET / NEXT_DAY).glob("*.jsonl")
        kept = segment.read_bytes()
        if harm == "an answer forged":
            lines = [line.partition(b" ")[2] for line in kept.splitlines()]
            forged = [re.sub(rb'"text":"[^"]*"', b'"text":"Nobody wrote this."', line) for line in lines]
            segment.write_bytes(b"".join(_checksum(line) + b" " + line + b"\n" for line in forged))
        else:
            segment.unlink()

        said = home.call("run", DATASET, "--batch", NEXT_DAY)

        assert (said.code, len(provider.requests)) == (BROKEN, asked), said.err
        assert "the journal of tiny 2026-11-05" in said.err
        segment.write_bytes(kept)
        assert home.call("run", DATASET, "--batch", NEXT_DAY).code in (DONE, STOPPED), "restored, it goes on"
        assert set(provider.paid_calls.values()) == {1}


def test_test_sets_that_were_there_before_may_not_be_gone_when_a_batch_is_judged(scene: Scene) -> None:
    """Otherwise rows of a test set could enter while nobody looks."""
    judgement.curate(scene.work(FRESH))
    gone = replace(FakeRealData().data.protected, rows=FakeRealData().data.protected.rows.clear())

    finished = judgement.make_ready(scene.work(FRESH), gone)

    assert [verdict.gate for verdict in finished.verdicts if not verdict.passed] == ["no_contamination"]


def test_a_batch_is_compared_with_the_test_sets_of_the_day_it_enters(scene: Scene) -> None:
    text = scene.lake.payload("texts", TEXTS_SCHEMA, dataset=DATASET, batch=FRESH)["text"][0]
    texts = tuple(scene.lake.payload("texts", TEXTS_SCHEMA, dataset=DATASET, batch=FRESH)["text"])
    assert text in texts

    with pytest.raises(SynthError, match=f"{FRESH} has no_contamination 1") as stopped:
        versions.release(scene.work("v2"), scene.releases, reason="", actor="ada", protected=texts, as_judged=False)

    assert stopped.value.exit_code == STOPPED
    finished = versions.release(
        scene.work("v2"), scene.releases, reason="no test set any more", actor="ada", protected=texts, as_judged=True
    )
    assert finished.passed
    assert (
        "2026-11-03: no\\_contamination 1, where today at most 0.5"
        in (scene.releases / DATASET / "v2" / "README.md").read_text()
    )


def test_whoever_may_only_read_reads_beside_somebody_who_commits(
    finished: tuple[Path, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog is copied once and the ledger goes on: what was written since is no contradiction."""
    path = Path(shutil.copytree(finished[0], tmp_path / "home"))
    writing = open_lake(path, {})
    monkeypatch.setattr("resources.lake.connection.is_writable", lambda home: False)
    reading = DuckLake(path, None, {}, is_read_only=True)
    before = reading.chain(DATASET).length
    for number in range(3):
        writing.commit(Commit(DATASET, f"beside {number}", "try", "", {}))

    again = DuckLake(path, None, {}, is_read_only=True)
    assert (reading.chain(DATASET).length, again.chain(DATASET).length) == (before, before + 3)
    assert verify(again, DATASET, None).findings == []
    writing.commit(Commit(DATASET, "once more", "try", "", {}))
    assert funnel.status(reading, DATASET)["head_version"] == 1
    for lake in (writing, reading, again):
        lake.close()


def test_a_version_is_trained_on_by_one_process_at_a_time(scene: Scene) -> None:
    with training(scene.path, DATASET, 1), training(scene.path, DATASET, 2):
        refused = pytest.raises(SynthError, match="another process is training on tiny v1")
        with refused, training(scene.path, DATASET, 1):
            pass


def test_two_releases_at_once_end_as_one_version(finished: tuple[Path, Recipe], tmp_path: Path) -> None:
    path, recipe = finished
    home = Home(Path(shutil.copytree(path, tmp_path / "home")), "", recipe.folder.parent, {"SYNTH_ACTOR": "ada"})
    both = [home.start("release", DATASET) for _ in range(2)]
    ended = [told(each) for each in both]

    assert DONE in {each.code for each in ended} <= {DONE, REFUSED}, [each.err for each in ended]
    said = home.call("audit", "verify", DATASET)
    assert (said.code, home.call("release", DATASET).code) == (DONE, DONE), said.err
    assert sorted(each.name for each in (home.path / "releases" / DATASET).iterdir()) == ["v1", "v2"]
