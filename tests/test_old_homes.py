"""Homes written before entries bound their rows: read as they are, bound by the first command that writes, used on."""

import shutil
import tarfile
from pathlib import Path

import pytest

from resources.lake import open_lake
from synth_assets.api import load_dataset
from synth_assets.domain.chain import MIGRATE
from synth_assets.errors import IntegrityError
from synth_assets.reports.audit import verify
from synth_assets.stages.proof import proven_release
from tests.command import DATASET, Home
from tests.fakes.chat_provider import ChatProvider

DATA = Path(__file__).parent / "data"
WHOLE, RED = "home_of_form_1", "home_of_form_1_with_v1_red"


@pytest.fixture(params=[WHOLE, RED])
def then(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A home with two green batches, v1 and a model on it; in the second, a look had turned v1 red."""
    return unpacked(request.param, tmp_path)


def unpacked(name: str, folder: Path) -> Home:
    with tarfile.open(DATA / f"{name}.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return Home(folder / "home", recipes=folder / "recipes")


def test_it_is_read_and_verified_as_it_is_and_nothing_is_written(then: Home) -> None:
    before = {path: path.read_bytes() for path in (then.path / "ledger").rglob("*.jsonl")}
    for command in (("status", DATASET), ("versions", DATASET), ("audit", "log", DATASET)):
        told = then.call(*command)
        assert told.code == 0, told.err
    lake = open_lake(then.path, {})
    assert verify(lake, DATASET, None).findings == []
    assert not lake.chain(DATASET).is_bound
    lake.close()

    assert {path: path.read_bytes() for path in before} == before


def test_its_version_is_exported_loaded_and_trained_on(then: Home, tmp_path: Path) -> None:
    assert then.call("export", f"{DATASET}@v1", "--format", "jsonl", "--to", str(tmp_path / "out")).code == 0
    assert load_dataset(f"{DATASET}@v1", home=then.path).height == 24
    lake = open_lake(then.path, {})
    version = proven_release(lake, then.path / "releases", DATASET, 1)
    known = lake.read("model_runs", dataset=DATASET)
    assert (known["digest"][0], known["num_samples"][0]) == (version.row["digest"], 24)
    lake.close()


def test_the_first_command_that_writes_binds_all_there_is_and_the_home_goes_on(then: Home, tmp_path: Path) -> None:
    with ChatProvider() as provider:
        then = Home(then.path, provider.base_url, then.recipes)
        assert then.call("run", DATASET, "--batch", "2026-11-03").code == 0
        released = then.call("release", DATASET, "--json")

    assert released.code == 0, released.err
    assert released.facts["version"] == "v2"
    lake = open_lake(then.path, {})
    chain = lake.chain(DATASET)
    assert [entry.action for entry in chain.entries].count(MIGRATE) == 1
    assert chain.is_bound
    assert verify(lake, DATASET, None).findings == []
    lake.close()
    first = (then.path / "releases" / DATASET / "v1" / "samples.jsonl").read_bytes().splitlines()
    second = (then.path / "releases" / DATASET / "v2" / "samples.jsonl").read_bytes().splitlines()
    assert set(first) & set(second), "lines that stay are the same bytes"
    assert then.call("export", f"{DATASET}@v1", "--format", "jsonl", "--to", str(tmp_path / "out")).code == 0


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE lake.stage_commits SET passed = NOT passed WHERE stage = 'scored'",
        "UPDATE lake.decisions SET decision = 'accepted' WHERE decision = 'rejected'",
        "DELETE FROM lake.samples WHERE ordinal = 0",
        "UPDATE lake.samples SET label = CASE label WHEN 'negative' THEN 'positive' ELSE 'negative' END",
        "UPDATE lake.dataset_versions SET manifest_sha256 = 'x'",
    ],
)
def test_what_contradicts_its_entries_is_not_bound(tmp_path: Path, harm: str) -> None:
    then = unpacked(WHOLE, tmp_path)
    lake = open_lake(then.path, {})
    lake._connection.execute(harm)

    with pytest.raises(IntegrityError):
        load_dataset(f"{DATASET}@v1", home=then.path)
    lake.close()


def test_an_entry_of_the_old_form_behind_the_binding_is_refused(tmp_path: Path) -> None:
    then = unpacked(WHOLE, tmp_path)
    lake = open_lake(then.path, {})
    last = lake.read("audit_log", dataset=DATASET).sort("seq").tail(1)
    shutil.copytree(then.path, tmp_path / "copy")
    load_dataset(f"{DATASET}@v1", home=then.path)
    chain = lake.chain(DATASET)
    forged = last.row(0, named=True) | {"seq": chain.length + 1, "previous_sha256": chain.head, "commit_key": "forged"}
    from synth_assets.domain.ledger import entry_sha256

    forged["entry_sha256"] = entry_sha256(forged)
    columns = ", ".join(forged)
    lake._connection.execute(
        f"INSERT INTO lake.audit_log ({columns}) VALUES ({', '.join('?' * len(forged))})", list(forged.values())
    )
    lake._connection.execute(
        "UPDATE lake.heads SET audit_seq = ?, audit_sha256 = ? WHERE dataset = ?",
        [forged["seq"], forged["entry_sha256"], DATASET],
    )

    with pytest.raises(IntegrityError, match="a form that was given up"):
        lake.chain(DATASET)
    lake.close()
