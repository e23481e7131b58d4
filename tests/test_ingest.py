"""Samples made elsewhere: they enter as a batch with what is known of them, and nothing is guessed or lost."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from resources.drops import content_sha256, read_drop
from synth_assets.canonical import sha256
from synth_assets.domain.ingestion import Origin, adopt_rows, unknown_provenance
from synth_assets.domain.transactions import Commit
from synth_assets.errors import RefusedError, UsageError
from synth_assets.recipe import load_recipe
from synth_assets.reports.answers import unusable
from synth_assets.stages.ingestion import SOURCE_FILE, batch_for
from synth_assets.vocabulary import OURS, UNKNOWN
from tests.command import DATASET, Home, tiny
from tests.fakes.recipes import write_recipe
from tests.fakes.world import DAY, NEXT_DAY, World

TOOL = Origin("scribe")
PLAIN = [
    {"text": "The door opens without a sound every morning.", "label": "positive"},
    {"text": "Rain comes through the roof in three places.", "label": "negative"},
    {"text": "Two windows face the garden and let in light.", "label": "positive", "model": "big", "prompt": "One."},
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return file


def take_in(world: World, file: Path, *, batch: str = DAY) -> Any:
    return world.run(batch=batch, ingest={"file": str(file), "generator": "scribe"})


# --- what a file says


def test_plain_files_give_their_rows_in_order(tmp_path: Path) -> None:
    written = lines(tmp_path / "a.jsonl", PLAIN)
    (tmp_path / "b.json").write_text(json.dumps(PLAIN))
    pl.DataFrame(PLAIN).write_parquet(tmp_path / "c.parquet")

    assert list(read_drop(written, TOOL).rows) == PLAIN
    assert list(read_drop(tmp_path / "b.json", TOOL).rows) == PLAIN
    assert [row["text"] for row in read_drop(tmp_path / "c.parquet", TOOL).rows] == [row["text"] for row in PLAIN]


def test_a_folder_of_datadesigner_tells_prompt_and_model_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "out/parquet-files").mkdir(parents=True)
    pl.DataFrame(PLAIN[:1]).write_parquet(tmp_path / "out/parquet-files/batch_00000.parquet")
    pl.DataFrame(PLAIN[1:2]).write_parquet(tmp_path / "out/parquet-files/batch_00001.parquet")
    config = {
        "columns": [{"name": "text", "column_type": "llm-text", "prompt": "Write {{ label }}", "model_alias": "w"}],
        "model_configs": [{"alias": "w", "model": "nemotron", "inference_parameters": {"temperature": 0.7}}],
    }
    (tmp_path / "out/builder_config.json").write_text(json.dumps({"data_designer": config}))

    drop = read_drop(tmp_path / "out", TOOL)

    assert [row["label"] for row in drop.rows] == ["positive", "negative"]
    assert (drop.origin.prompt, drop.origin.model, drop.origin.params) == (
        *("Write {{ label }}", "nemotron", {"temperature": 0.7}),
    )


def test_curators_response_files_tell_messages_model_and_time(tmp_path: Path) -> None:
    asked = {"model": "gpt", "messages": [{"role": "user", "content": "Write."}], "original_row": {"label": "negative"}}
    row = {
        "generic_request": {**asked, "generation_params": {"temperature": 1}},
        "response_message": "Rain comes in.",
        "finished_at": "2026-11-01T10:00:00",
        "token_usage": {"input": 5, "output": 3},
    }
    lines(tmp_path / "responses_0.jsonl", [row])

    [flat] = read_drop(tmp_path, TOOL).rows

    assert (flat["text"], flat["label"], flat["model"]) == ("Rain comes in.", "negative", "gpt")
    assert flat["prompt"] == [{"role": "user", "content": "Write."}]
    assert flat["generated_at"] == datetime(2026, 11, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b'{"text": "a"}\n{"text": \n', "no JSON", 2),
        (b'{"text": "a", "text": "b"}\n', "a key stands twice", 1),
        (b'{"text": NaN}\n', "no JSON", 1),
        (b'{"text": "\xff"}\n', "not UTF-8", 1),
        (b"[1]\n", "one JSON object", 1),
        (b"[" * 100_000, "no JSON", 1),
        (b"\n\n", "not one row", None),
    ],
)
def test_a_file_with_one_bad_line_is_refused_as_a_whole(
    tmp_path: Path, content: bytes, words: str, line: int | None
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)

    with pytest.raises(UsageError) as refusal:
        read_drop(file, TOOL)

    assert words in refusal.value.what
    assert refusal.value.where == (f"{file}:{line}" if line else str(file))


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")

    for path in (tmp_path / "none.jsonl", tmp_path / "x.txt", tmp_path):
        with pytest.raises(UsageError, match=r"nothing to take in|no such file"):
            read_drop(path, TOOL)


# --- what a row says


def test_what_a_row_does_not_tell_is_unknown_and_counted(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path)).model
    told = {**PLAIN[2], "generation_params": {"t": 1}, "generated_at": "2026-11-01T10:00:00+01:00", "prompt_name": "p"}

    adopted = adopt_rows([PLAIN[0], told], model, TOOL, batch=DAY, attempt=1)
    first, second = adopted.plan.requests.rows(named=True)

    assert [first[name] for name in ("prompt_name", "prompt_sha256", "model", "generation_params")] == [
        *(UNKNOWN, UNKNOWN, UNKNOWN, "null"),
    ]
    assert (second["prompt_name"], second["model"], second["generation_params"]) == ("p", "big", '{"t":1}')
    assert adopted.answers["generated_at"].to_list() == [None, datetime(2026, 11, 1, 9, tzinfo=UTC)]
    generations = pl.DataFrame(
        {"request_id": adopted.answers["request_id"], "generated_at": adopted.answers["generated_at"]}
    )
    unknown = unknown_provenance(adopted.plan.requests, generations).drop("request_id")
    assert unknown.rows() == [(True, True, True, True), (False, False, False, False)]


def test_the_same_rows_give_the_same_attempt(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path)).model

    one, other = (adopt_rows(PLAIN, model, TOOL, batch=DAY, attempt=1) for _ in range(2))

    assert one.plan.requests.equals(other.plan.requests)
    assert one.answers.equals(other.answers)


def test_what_may_be_text_never_enters_the_lake(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path)).model
    said = "He said quokka."
    row = {**PLAIN[0], "model": said, "prompt_name": said, "finish_reason": said, "prompt_version": 7}
    row |= {"prompt": said, "generation_params": {"t": 0.5, "stop": said, said: 1, "sampler": "top-k", "x": [said]}}

    adopted = adopt_rows([row], model, TOOL, batch=DAY, attempt=1)

    assert "quokka" not in str(adopted.plan.requests.rows())
    assert adopted.plan.requests["generation_params"].to_list() == ['{"sampler":"top-k","t":0.5}']
    assert adopted.answers["finish_reason"].to_list() == [None]
    assert orjson.loads(adopted.plan.prompts["prompt"][0]) == said


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"label": "positive"}, "wrong_schema"),
        ({"text": 7, "label": "positive"}, "wrong_schema"),
        ({"text": "A house.", "label": "neutral"}, "wrong_schema"),
        ({"text": "A house.", "label": ["positive"]}, "wrong_schema"),
        ({"text": "A house."}, "wrong_schema"),
        ({"text": "  ", "label": "positive"}, "empty_answer"),
        ({"text": "A\0house.", "label": "positive"}, "malformed_answer"),
        ({"text": "A \ud800 house.", "label": "positive"}, "malformed_answer"),
    ],
)
def test_a_row_that_holds_no_sample_ends_with_a_reason(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    model = load_recipe(write_recipe(tmp_path)).model

    answers = adopt_rows([row], model, TOOL, batch=DAY, attempt=1).answers

    assert answers.select("text", "reason").row(0) == (None, reason)


# --- the batch


def test_ingested_samples_go_all_the_way_to_a_version(world: World) -> None:
    ran = take_in(world, lines(world.folder / "a.jsonl", [*PLAIN, {"text": "No label."}]))

    assert (ran.told, ran.red) == ({}, set())
    assert world.paid == 0
    assert world.counts("generations", "outcome") == {"answered": 3, "quarantined": 1}
    [named] = unusable(world.lake, world.home, "tiny")
    assert named.expected.endswith("this is row 4")
    assert set(world.rows("requests")["generator"]) == {"scribe"}
    assert world.counts("decisions", "decision") == {"accepted": 3}
    assert (world.batch()["promised"], world.batch()["open_attempt"]) == (0, None)
    assert world.release("v1").success
    folder = world.home / "releases/tiny/v1"
    written = [orjson.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]
    assert [row["fields"]["text"] for row in written] == [row["text"] for row in PLAIN]
    assert [(row["generator"], row["model"], row["generated_at"]) for row in written] == [
        *(("scribe", UNKNOWN, None), ("scribe", UNKNOWN, None), ("scribe", "big", None)),
    ]
    assert orjson.loads((folder / "meta.json").read_bytes())["generator"] == ["big by scribe", "unknown by scribe"]


def test_a_text_keeps_its_quotation_marks_and_dashes(world: World) -> None:
    row = {"text": '"- A quiet house," he said twice.', "label": "positive"}
    take_in(world, lines(world.folder / "a.jsonl", [row]))

    stored = world.lake.payload("texts", {"sample_id": pl.String, "field": pl.String, "text": pl.String})
    assert stored["text"].to_list() == [row["text"]]


def test_rates_are_measured_and_not_judged(world: World) -> None:
    """Nobody planned these labels: all are positive, and half of the rows hold no sample."""
    rows = [{"text": f"The {word} room is bright and dry.", "label": "positive"} for word in ("first", "last")]
    ran = take_in(world, lines(world.folder / "a.jsonl", [*rows, {}, {}, {}]))

    facts = {row["gate"]: orjson.loads(row["facts"]) for row in world.rows("verdicts").iter_rows(named=True)}
    assert ran.red == set()
    assert facts["answered_share"]["answered_share"] == 0.4
    for gate in ("answered_share", "acceptance_share", "label_balance"):
        assert "not_judged" in facts[gate], gate


def test_a_gate_may_refuse_what_is_of_unknown_origin(world: World) -> None:
    world.edit(gates={"unknown_provenance": {"max": 0.5, "because": "Half may be old, not more."}})
    file = lines(world.folder / "a.jsonl", PLAIN)

    assert take_in(world, file).red == {("generated", "provenance_known")}

    world.edit()
    assert world.run().success


def test_ingested_samples_are_never_topped_up_or_generated_anew(world: World) -> None:
    take_in(world, lines(world.folder / "a.jsonl", PLAIN))

    assert world.run().success
    assert world.paid == 0
    for asked in ({"regenerate": True}, {"accept": 5}):
        assert "holds ingested samples" in world.run("generation_plan", **asked).told["what"]


def test_a_second_file_joins_the_first_and_the_same_one_is_refused(world: World) -> None:
    first = lines(world.folder / "a.jsonl", PLAIN)
    take_in(world, first)

    assert (
        take_in(world, lines(world.folder / "b.jsonl", [PLAIN[0], {**PLAIN[1], "text": "It snows on the sofa."}])).red
        == set()
    )
    assert world.counts("decisions", "reason") == {None: 4, "exact_duplicate": 1}
    again = take_in(world, first, batch=NEXT_DAY)
    assert "were taken in before, as batch 2026-11-01" in again.told["what"]
    assert again.told["exit_code"] == RefusedError.exit_code


def test_a_run_that_is_tried_again_after_it_planned_goes_on_with_its_plan(world: World) -> None:
    file = lines(world.folder / "a.jsonl", PLAIN)
    world.run("prompt_templates", "seeds", "generation_plan", ingest={"file": str(file), "generator": "scribe"})

    assert take_in(world, file).success
    assert world.counts("decisions", "decision") == {"accepted": 3}


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_drop_is_known_by_the_hash_of_what_its_rows_are_read_from(tmp_path: Path, is_folder: bool) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for number in range(2):
        lines(folder / f"{number}.jsonl", PLAIN)
    (folder / "notes.txt").write_text("no rows")
    path = folder if is_folder else folder / "0.jsonl"

    assert content_sha256(path) == sha256(read_drop(path, TOOL).data)


def test_a_batch_with_generated_samples_takes_nothing_in(world: World) -> None:
    assert world.run().success

    assert "holds generated samples" in take_in(world, lines(world.folder / "a.jsonl", PLAIN)).told["what"]


def test_a_crash_after_the_plan_is_resumed_from_the_stored_rows(world: World) -> None:
    file = lines(world.folder / "a.jsonl", PLAIN)
    world.run("prompt_templates", "seeds", "generation_plan", ingest={"file": str(file), "generator": "scribe"})
    file.unlink()

    assert world.run().success
    assert world.counts("decisions", "decision") == {"accepted": 3}


def test_no_text_of_a_row_reaches_the_refusal(world: World) -> None:
    told = take_in(world, lines(world.folder / "a.jsonl", [{"text": "quokka", "label": "quokka"}])).told

    assert "no row has a text" in told["what"]
    assert "quokka" not in str(told)


# --- which batch


@pytest.mark.parametrize(
    ("taken", "batch"),
    [
        ({}, "c"),
        ({"c": 12}, "b"),
        ({"c": 0}, "c"),
        ({"a": 12, "b": 12, "c": 12}, "d"),
        ({"a": 12, "b": 12, "c": 12, "d": 12}, None),
    ],
)
def test_the_latest_past_period_without_generated_samples_takes_them_in(
    taken: dict[str, int], batch: str | None
) -> None:
    rows = [{"batch": key, "promised": promised, "attempts": 1} for key, promised in taken.items()]
    batches = pl.DataFrame(rows, schema={"batch": pl.String, "promised": pl.Int64, "attempts": pl.Int64})

    assert batch_for(["a", "b", "c", "d"], batches) == batch


# --- the command


def test_a_file_that_was_taken_in_before_is_nothing_new_and_writes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", "", tiny(tmp_path))
    file = lines(tmp_path / "a.jsonl", PLAIN)
    with home.lake() as lake:
        stored = lake.put(file.read_bytes(), ".drop")
        payload = [(SOURCE_FILE, DAY, stored)]
        lake.commit(Commit(DATASET, key="before", action="generation_plan", run_id="", details={}, payload=payload))

    again = home.call("ingest", DATASET, str(file), "--generator", "scribe", "--batch", NEXT_DAY)

    assert (again.code, f"nothing new: {DATASET} {DAY} holds these rows already" in again.out) == (0, True), again.err
    assert f"`synth run {DATASET} --batch {DAY}` judges it again" in again.out
    assert home.read("batches").is_empty()
    assert home.read("audit_log")["action"].to_list() == ["generation_plan"]


@pytest.mark.slow
def test_the_command_takes_a_file_in_and_says_how_it_ended(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", "", tiny(tmp_path))
    file = lines(tmp_path / "a.jsonl", [{"body": row["text"], "mood": row["label"]} for row in PLAIN])
    command = ("ingest", DATASET, str(file), "--generator", "scribe", "--batch", DAY)

    wrong = home.call(*command)
    assert (wrong.code, "no row has a text" in wrong.err) == (2, True)
    done = home.call(*command, "--text-field", "body", "--label-field", "mood", "--json")
    assert (done.code, done.facts["accepted"], done.facts["requested"]) == (0, 3, 3)
    written = home.read("audit_log").height
    again = home.call(*command, "--text-field", "body", "--label-field", "mood", "--json")
    assert (again.code, again.facts) == (0, {**done.facts, "is_new": False})
    assert home.read("audit_log").height == written
    sample = home.read("samples")["sample_id"][0]
    chain = home.call("lineage", "--sample", sample)
    assert (chain.code, "scribe" in chain.out, OURS in chain.out) == (0, True, False)
