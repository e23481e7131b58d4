"""The commands that show and hand out what there is, as a person and a program meet them."""

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from resources.lake import DuckLake, leased_lake, open_lake
from synth_assets.cli import checkup, home_checks
from synth_assets.cli.main import _exit_code
from synth_assets.cli.output import console
from synth_assets.cli.project import Project
from synth_assets.cli.tree import MAX_CHILDREN
from synth_assets.domain.planning import plan_attempt
from synth_assets.domain.ports import Provider
from synth_assets.recipe import load_recipe
from synth_assets.stages.inputs import register_templates
from tests.fakes.lake_rows import DATASET, GREEN, SECRET, STOPPED, model_run, request, sample, small_lake

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("small") / "home"
    small_lake(home).close()
    return home


@pytest.fixture(scope="module")
def shared_lake(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckLake]:
    lake = open_lake(shutil.copytree(shared_home, tmp_path_factory.mktemp("open") / "home"), {})
    yield lake
    lake.close()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Points the project at a home and at an empty folder of recipes."""
    (tmp_path / "recipes").mkdir()
    for name in (
        "SYNTH_CATALOG",
        "SYNTH_INSTANCE",
        "SYNTH_STORAGE",
        "SYNTH_LLM_BASE_URL",
        "SYNTH_LLM_MODEL",
        "SYNTH_LLM_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNTH_RECIPES", str(tmp_path / "recipes"))
    monkeypatch.setenv("SYNTH_ACTOR", "grace")
    monkeypatch.setattr(console, "_width", 200)
    return lambda home: monkeypatch.setenv("SYNTH_HOME", str(home))


@pytest.fixture
def synth(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = _exit_code(list(arguments))
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def reading(
    environment: Callable[[Path], None], shared_lake: DuckLake, synth: Run, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs commands that change nothing on one lake that stays open."""
    environment(shared_lake.home)
    monkeypatch.setattr(Project, "lake", shared_lake)
    return synth


@pytest.fixture
def writing(environment: Callable[[Path], None], shared_home: Path, copy_of: Callable[[Path], Path], synth: Run) -> Run:
    """Runs commands on a lake of the test's own."""
    environment(copy_of(shared_home))
    return synth


@pytest.fixture
def fresh(environment: Callable[[Path], None], tmp_path: Path, synth: Run) -> Run:
    """Runs commands on a home that does not exist yet."""
    environment(tmp_path / "home")
    return synth


def facts(out: str) -> Any:
    return orjson.loads(out)


def is_one_paragraph(err: str) -> bool:
    lines = err.strip().splitlines()
    return len(lines) == 3 and lines[1].startswith("  where: ") and lines[2].startswith("  fix:   ")


def test_status_shows_every_batch_with_what_holds_it_back(reading: Run) -> None:
    code, out, _ = reading("status")

    assert code == 0
    assert "films: v2 is the latest version; v3 would add 1 and remove 0" in out
    assert any(line.split() == [GREEN, "r1", "6", "5", "5", "4", "4", "green"] for line in out.splitlines())
    assert "stopped: budget_spent" in out


def test_status_of_a_dataset_writes_out_both_sums(reading: Run) -> None:
    code, out, _ = reading("status", DATASET)

    assert code == 0
    assert "requests 6 = 5 answered + 1 quarantined (1 truncated) + 0 not sent" in out
    assert "samples 5 = 4 accepted + 1 rejected (1 length) + 0 pending review" in out
    assert "samples 2 = 0 accepted + 0 rejected + 0 pending review + 2 undecided" in out
    assert "generated.budget failed" in out


def test_status_counts_calls_and_names_the_tries_where_there_were_more(reading: Run) -> None:
    _, out, _ = reading("status", DATASET)

    took = [line for line in out.splitlines() if line.startswith("  tokens ")]
    assert took == [
        "  tokens 60 in, 30 out, in 6 calls (8 tries); 0.0600 USD",
        "  tokens 30 in, 15 out, in 3 calls; unknown cost",
    ]


def test_status_as_json_is_whole(reading: Run) -> None:
    code, out, _ = reading("status", DATASET, "--json")

    assert code == 0
    assert [each["batch"] for each in facts(out)["batches"]] == [GREEN, STOPPED]
    assert facts(out)["batches"][1]["cost_usd"] is None


@pytest.mark.parametrize("command", ["status", "versions"])
def test_an_unknown_dataset_is_a_usage_error(reading: Run, command: str) -> None:
    code, out, err = reading(command, "[red]no\x1b[31m")

    assert (code, out) == (2, "")
    assert is_one_paragraph(err)
    assert "\x1b[31m" not in err
    assert "datasets: films" in err


def test_versions_lists_changes_aliases_and_accuracy(reading: Run) -> None:
    code, out, _ = reading("versions", DATASET)

    assert code == 0
    lines = [line.split()[:6] for line in out.splitlines()]
    assert ["v1", "2", "+2", "-0", "release", "production"] in lines
    assert ["v2", "2", "+1", "-1", "disable", "latest"] in lines
    assert "v1 is marked" in out


def test_versions_as_json_holds_whole_hashes(reading: Run) -> None:
    _, out, _ = reading("versions", DATASET, "--json")

    assert [len(each["digest"]) for each in facts(out)] == [64, 64]
    assert facts(out)[1]["model_runs"][0]["model_run_id"] == model_run(2)


def test_lineage_of_a_sample_prints_the_chain_from_template_to_model(reading: Run) -> None:
    code, out, _ = reading("lineage", "--sample", sample(0)[:8])

    assert code == 0
    for identity in (
        sample(0),
        request(GREEN, 0),
        "films/critics@1",
        "films@v1",
        "films@v2",
        model_run(1),
        model_run(2),
    ):
        assert re.sub("(?<=[0-9a-f]{12})[0-9a-f]{20}$", "..", identity) in out
    assert "accuracy=0.71" in out
    assert sample(0) not in out

    _, full, _ = reading("lineage", "--sample", sample(0)[:8], "--full")
    for identity in (sample(0), request(GREEN, 0), model_run(1), "template_sha256=", "recipe_sha256="):
        assert identity in full
    assert "template_sha256=" not in out


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        (("--sample", sample(3)), sample(3)),
        (("--prompt", "films/critics@1"), "films/critics@1"),
        (("--prompt", "films/shorts"), "films/shorts"),
        (("--version", "films@v1"), "films@v1"),
        (("--version", "films@latest"), "films@v2"),
        (("--model-run", model_run(1)), model_run(1)),
    ],
)
def test_lineage_starts_at_any_link(reading: Run, arguments: tuple[str, ...], subject: str) -> None:
    code, out, _ = reading("lineage", *arguments, "--json")

    assert code == 0
    assert facts(out)["subject"]["id"] == subject
    assert set(facts(out)) == {"subject", "up", "down"}


def test_up_and_down_leave_the_other_way_out(reading: Run) -> None:
    up = facts(reading("lineage", "--sample", sample(0), "--up", "--json")[1])
    down = facts(reading("lineage", "--sample", sample(0), "--down", "--json")[1])
    both = facts(reading("lineage", "--sample", sample(0), "--up", "--down", "--json")[1])

    assert (set(up), set(down)) == ({"subject", "up"}, {"subject", "down"})
    assert both == up | down


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--sample", sample(0), "--version", "films@v1"),
        ("--sample", "abc"),
        ("--sample", "ffffff"),
        ("--prompt", "critics"),
        ("--prompt", "films/nobody"),
        ("--prompt", "films/"),
        ("--version", "films"),
        ("--version", "films@v9"),
        ("--version", "[/red]@\x1b[31m"),
        ("--model-run", "ffffff"),
    ],
)
def test_what_cannot_be_followed_is_a_usage_error(reading: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = reading("lineage", *arguments)

    assert (code, out) == (2, "")
    assert is_one_paragraph(err)
    assert "\x1b[31m" not in err


def test_a_hostile_label_is_shown_and_neither_obeyed_nor_read_as_markup(reading: Run) -> None:
    _, tree, _ = reading("lineage", "--sample", sample(4))
    _, table, _ = reading("query", "SELECT DISTINCT label FROM samples ORDER BY 1")

    for out in (tree, table):
        assert r"[red]bad[/red]\x1b[31m\nlabel" in out
        assert "\x1b" not in out
    _, out, _ = reading("query", "--json", "SELECT DISTINCT label FROM samples ORDER BY 1")
    assert facts(out)[0]["label"] == "[red]bad[/red]\x1b[31m\nlabel"


def test_long_lists_are_capped_in_the_tree_and_whole_in_json(reading: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_assets.cli.tree.MAX_CHILDREN", 2)

    _, tree, _ = reading("lineage", "--prompt", "films/critics@1", "--down")
    _, out, _ = reading("lineage", "--prompt", "films/critics@1", "--down", "--json")

    assert MAX_CHILDREN > 2
    assert "and 3 more requests" in tree
    assert sum(node["kind"] == "request" for node in facts(out)["down"]) == 5


def test_a_query_prints_a_table_and_as_json_rows(reading: Run) -> None:
    code, out, _ = reading("query", "SELECT batch, count(*) AS n FROM samples GROUP BY 1 ORDER BY 1")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:3]] == [[GREEN, "5"], [STOPPED, "2"]]

    code, out, _ = reading("query", "--json", "SELECT batch, count(*) AS n FROM samples GROUP BY 1 ORDER BY 1")
    assert facts(out) == [{"batch": GREEN, "n": 5}, {"batch": STOPPED, "n": 2}]


@pytest.mark.parametrize(("limit", "words"), [(1, "cut after 1 row; "), (2, "cut after 2 rows; ")])
def test_a_query_says_when_rows_are_left_out(reading: Run, limit: int, words: str) -> None:
    code, out, err = reading("query", "--json", "--limit", str(limit), "FROM range(5)")
    assert (code, len(facts(out))) == (0, limit)
    assert words in err

    _, out, err = reading("query", "--json", "--limit", "0", "FROM range(5)")
    assert (len(facts(out)), err) == (5, "")


def test_hostile_column_names_are_shown_as_they_are(reading: Run) -> None:
    code, out, _ = reading("query", 'SELECT 1 AS "[/red]\x1b[31m"')

    assert code == 0
    assert r"[/red]\x1b[31m" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "sql", ["DROP TABLE samples", "SELECT text::INT FROM texts", "SELECT * FROM '/etc/passwd'", "SELECT [red"]
)
def test_a_refused_query_is_one_paragraph_without_any_text(reading: Run, sql: str) -> None:
    code, out, err = reading("query", sql)

    assert (code, out) == (2, "")
    assert is_one_paragraph(err)
    assert SECRET not in err


def test_a_query_before_the_first_batch_is_a_usage_error(fresh: Run, tmp_path: Path) -> None:
    code, _, err = fresh("query", "SELECT 1")

    assert code == 2
    assert is_one_paragraph(err)
    assert not (tmp_path / "home").exists()


def test_init_writes_a_dataset_that_loads_and_plans_for_both_kinds_of_model(fresh: Run, tmp_path: Path) -> None:
    code, out, _ = fresh("init", "support")
    assert code == 0
    assert "synth run support" in out

    recipe = load_recipe(tmp_path / "recipes" / "support")
    for mode in ("completion", "chat"):
        provider = Provider(name="x", model="m", model_id="m", mode=mode, takes_llama_params=False, price=None)
        planned = plan_attempt(
            recipe, provider, batch=recipe.model.start, attempt=1, wanted={"positive": 3, "negative": 3}
        )
        assert planned.requests.height == 6
        assert set(planned.requests["prompt_name"]) == {mode}


@pytest.mark.parametrize("name", ["Upper", "1st", "a-b", "../up", "a/b", "", "a" * 64, "[red]", "ünder"])
def test_init_refuses_a_name_that_cannot_be(fresh: Run, tmp_path: Path, name: str) -> None:
    code, _, err = fresh("init", name)

    assert code == 2
    assert is_one_paragraph(err)
    assert list((tmp_path / "recipes").iterdir()) == []


def test_init_never_overwrites(fresh: Run, tmp_path: Path) -> None:
    mine = tmp_path / "recipes" / "mine"
    mine.mkdir()
    (mine / "recipe.yaml").write_text("precious")

    code, _, err = fresh("init", "mine")

    assert code == 3
    assert is_one_paragraph(err)
    assert [file.name for file in mine.iterdir()] == ["recipe.yaml"]
    assert (mine / "recipe.yaml").read_text() == "precious"


def test_doctor_finds_nothing_wrong_with_a_new_dataset(fresh: Run) -> None:
    fresh("init", "support")

    code, out, err = fresh("doctor", "--json")

    findings = {each["name"]: each for each in facts(out)}
    assert [each for each in findings.values() if not each["is_ok"]] == []
    assert (code, err) == (0, "")
    assert {"python", "packages", "SYNTH_HOME", "recipe support"} <= set(findings)
    assert "embedded" in findings["provider of support"]["says"]


def test_doctor_names_what_is_broken_and_how_to_mend_it(
    fresh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "CHECKS", (checkup._recipes, checkup._provider, checkup._data_files))
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path / "nothing"))
    broken = tmp_path / "recipes" / "broken"
    broken.mkdir()
    (broken / "recipe.yaml").write_text("dataset: broken\nowner: x\n")

    code, out, err = fresh("doctor")

    assert code == 2, "as every other command on a wrong recipe"
    assert "problem  recipe broken" in out
    assert "problem  embedded model" in out
    assert "problem  real film reviews" in out
    assert "fix: run `make demo`" in out
    assert "4 of 5 checks found a problem" in err


def test_doctor_finds_what_a_run_would_be_refused_for(
    fresh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "CHECKS", (checkup._recipes,))
    fresh("init", "edited")
    fresh("init", "later")
    edited, later = (tmp_path / "recipes" / name for name in ("edited", "later"))
    with leased_lake(tmp_path / "home") as lake:
        register_templates(load_recipe(edited), lake, run_id="", at=datetime(2026, 11, 21, tzinfo=UTC))
    prompt = sorted(edited.glob("prompts/*"))[0]
    prompt.write_text(prompt.read_text() + "One word more.\n")
    (later / "recipe.yaml").write_text(re.sub("start: .*", "start: 2027-12-01", (later / "recipe.yaml").read_text()))

    code, out, _ = fresh("doctor")

    assert code == 3, "the gravest: a run would be refused"
    assert "changed its text but not its version" in out
    assert "raise `version` in its front matter" in out
    assert "later starts at 2027-12-01, which is in the future" in out
    for name in ("edited", "later"):
        assert fresh("plan", name)[0] == {"edited": 3, "later": 2}[name]


def test_doctor_ends_as_a_stop_when_no_recipe_is_wrong(
    fresh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "CHECKS", (checkup._recipes, checkup._data_files))
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path / "nothing"))

    assert fresh("doctor")[0] == 1


def test_doctor_never_shows_the_key(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh("init", "support")
    monkeypatch.setattr(checkup, "CHECKS", (checkup._provider,))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("SYNTH_LLM_BASE_URL", f"http://127.0.0.1:{port}/v1")
        monkeypatch.setenv("SYNTH_LLM_MODEL", "big-model")
        monkeypatch.setenv("SYNTH_LLM_API_KEY", "sk-very-secret")
        code, out, err = fresh("doctor")
    assert code == 0
    assert f"big-model at 127.0.0.1:{port}, key set: yes" in out
    assert f"endpoint 127.0.0.1:{port}: takes connections" in out

    code, gone, told = fresh("doctor")

    assert code == 1
    assert f"problem  endpoint 127.0.0.1:{port}" in gone
    assert "sk-very-secret" not in out + err + gone + told


def test_a_check_that_breaks_is_a_finding_itself(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def _bad_luck(*_: object) -> list[checkup.Finding]:
        raise KeyError(SECRET)

    monkeypatch.setattr(checkup, "CHECKS", (_bad_luck,))

    code, out, err = fresh("doctor")

    assert code == 1
    assert "bad luck: failed with KeyError" in out
    assert SECRET not in out + err


def test_an_open_attempt_without_a_recipe_is_pointed_out(reading: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "CHECKS", ())
    monkeypatch.setattr(checkup, "OF_A_HOME", (home_checks._claims,))

    code, out, _ = reading("doctor")

    assert code == 0
    assert f"`synth run films --batch {STOPPED}` goes on once its recipe can be read" in out


@pytest.mark.parametrize(
    ("form", "files"), [("jsonl", {"samples.jsonl"}), ("parquet", {"data/train.parquet"})], ids=["jsonl", "parquet"]
)
def test_export_copies_a_release_and_writes_down_who_took_it(
    writing: Run, tmp_path: Path, form: str, files: set[str]
) -> None:
    target = tmp_path / "out" / "here"

    code, _, _ = writing("export", "films@latest", "--format", form, "--to", str(target))

    assert code == 0
    there = {file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file()}
    assert there == {"README.md", "manifest.json", "meta.json"} | files
    for name in there:
        assert (target / name).read_bytes() == (tmp_path / "home/releases/films/v2" / name).read_bytes()
    used = _used(tmp_path / "home")
    assert [(row["action"], row["version"], row["actor"]) for row in used] == [("export", 2, "grace")]
    assert orjson.loads(used[0]["details"])["format"] == form
    assert [entry.name for entry in target.parent.iterdir()] == ["here"]


def _used(home: Path) -> list[dict[str, Any]]:
    lake = open_lake(home, {})
    try:
        return lake.read("usage_log").to_dicts()
    finally:
        lake.close()


def test_exporting_twice_is_written_down_twice(writing: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert writing("export", "films@v2", "--format", "jsonl", "--to", str(tmp_path / name))[0] == 0

    assert len(_used(tmp_path / "home")) == 2


def test_export_refuses_a_folder_that_holds_something(writing: Run, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("precious")

    code, _, err = writing("export", "films@v2", "--format", "jsonl", "--to", str(taken))

    assert code == 3
    assert is_one_paragraph(err)
    assert [file.name for file in taken.iterdir()] == ["mine.txt"]
    assert _used(tmp_path / "home") == []


def test_export_fills_an_empty_folder(writing: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert writing("export", "films@v2", "--format", "jsonl", "--to", str(tmp_path / "empty"))[0] == 0
    assert (tmp_path / "empty" / "samples.jsonl").is_file()


def test_export_of_a_marked_version_needs_force_and_a_reason(writing: Run, tmp_path: Path) -> None:
    asked = ("export", "films@production", "--format", "jsonl", "--to", str(tmp_path / "out"))

    assert writing(*asked)[0] == 3
    assert writing(*asked, "--force")[0] == 2
    assert not (tmp_path / "out").exists()
    assert writing(*asked, "--force", "--reason", "the audit wants it")[0] == 0
    (used,) = _used(tmp_path / "home")
    assert orjson.loads(used["details"])["purpose"] == "the audit wants it"
    assert orjson.loads(used["details"])["forced"] is True


def test_export_of_a_changed_release_is_an_integrity_error(writing: Run, tmp_path: Path) -> None:
    (tmp_path / "home/releases/films/v2/samples.jsonl").write_text("changed")

    code, _, err = writing("export", "films@v2", "--format", "jsonl", "--to", str(tmp_path / "out"))

    assert code == 4
    assert is_one_paragraph(err)
    assert not (tmp_path / "out").exists()
    assert _used(tmp_path / "home") == []


@pytest.mark.parametrize("version", ["films", "films@v9", "nobody@v1", "@", "[red]@\x1b"])
def test_export_of_an_unknown_version_is_a_usage_error(reading: Run, tmp_path: Path, version: str) -> None:
    code, _, err = reading("export", version, "--format", "jsonl", "--to", str(tmp_path / "out"))

    assert code == 2
    assert is_one_paragraph(err)
