"""The inbox: what lies still and is whole is taken in once; what is half written waits; nothing is ever lost."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from resources import inbox
from resources.drops import content_sha256
from resources.inbox import Arrival, arrivals
from resources.seed_files import add_seeds
from sensors.inbox import Place, inbox_sensor, intakes, key_of
from synth_assets.definitions import build_defs
from synth_assets.errors import UsageError
from synth_assets.jobs import dataset_jobs
from synth_assets.recipe import load_recipe
from tests.fakes.world import World

HERE = Place(free_batch="2026-11-01", is_running=False, taken={})
FILE = Arrival("tiny", "samples", "scribe", Path("/inbox/a.jsonl"), "s" * 64, 100, is_whole=True)
STILL = {str(FILE.path): FILE.signature}
HOLDS = {str(FILE.path): "c" * 64}
ROWS = [{"text": f"The {word} room is bright and dry.", "label": "positive"} for word in ("first", "last")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def drop(world: World, path: str, rows: list[dict[str, Any]], *, end: bytes = b"\n") -> Path:
    file = world.home / "inbox/tiny" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\n".join(orjson.dumps(row) for row in rows) + end)
    return file


class Watcher:
    """The sensor as the daemon evaluates it: the cursor of one look is given to the next."""

    def __init__(self, world: World) -> None:
        self.world, self.cursor, self.reason = world, None, ""

    def look(self) -> list[dg.RunRequest]:
        jobs = {job.name: job for job in dataset_jobs(self.world.recipe)}
        context = dg.build_sensor_context(
            instance=self.world.instance, cursor=self.cursor, resources={"lake": self.world.lake}
        )
        result = inbox_sensor([self.world.recipe], jobs)(context)
        self.cursor = result.cursor
        self.reason = result.skip_reason.skip_message if result.skip_reason else ""
        return list(result.run_requests or [])


# --- the decision


def test_a_drop_that_lay_still_is_taken_in_and_never_again() -> None:
    [first], _ = intakes([FILE], {"tiny": HERE}, before=STILL, holds=HOLDS, asked=frozenset())

    assert (first.arrival, first.batch) == (FILE, "2026-11-01")
    assert intakes([FILE], {"tiny": HERE}, before=STILL, holds=HOLDS, asked=frozenset({first.key})) == ([], [])


def test_a_drop_is_what_it_holds_whatever_its_name_and_age() -> None:
    copy = replace(FILE, path=Path("/inbox/copy.jsonl"), name="another", signature="t" * 64)
    before, holds = {str(copy.path): copy.signature}, {str(copy.path): HOLDS[str(FILE.path)]}
    key = key_of(FILE, HOLDS[str(FILE.path)])

    assert intakes([copy], {"tiny": HERE}, before=before, holds=holds, asked=frozenset({key})) == ([], [])
    there = replace(HERE, is_running=True, free_batch=None, taken={key: "2026-10-31"})
    wanted, said = intakes([copy], {"tiny": there}, before={}, holds=holds, asked=frozenset())
    assert (wanted, said) == ([], ["tiny: taken in before: copy.jsonl as 2026-10-31"])


def test_of_many_drops_that_were_taken_in_the_last_are_named() -> None:
    drops = [replace(FILE, path=Path(f"/inbox/{number}.jsonl")) for number in range(9)]
    holds = {str(each.path): each.path.stem * 64 for each in drops}
    there = replace(HERE, taken={key_of(each, holds[str(each.path)]): each.path.stem for each in drops})

    _, [said] = intakes(drops, {"tiny": there}, before={}, holds=holds, asked=frozenset())

    assert said == (
        "tiny: taken in before: 4.jsonl as 4, 5.jsonl as 5, 6.jsonl as 6, 7.jsonl as 7, 8.jsonl as 8 and 4 more"
    )


@pytest.mark.parametrize(
    ("arrival", "place", "before", "why"),
    [
        (FILE, HERE, {}, "looked at for the first time in this state"),
        (FILE, HERE, {str(FILE.path): "older"}, "looked at for the first time in this state"),
        (replace(FILE, is_whole=False), HERE, STILL, "it is not written to its end"),
        (FILE, replace(HERE, is_running=True), STILL, "a run of the dataset is going on"),
        (FILE, replace(HERE, free_batch=None), STILL, "every batch holds generated samples"),
        (
            replace(FILE, path=Path("/inbox/b/a.jsonl")),
            HERE,
            {"/inbox/b/a.jsonl": "s" * 64},
            "other drops are read before it",
        ),
    ],
)
def test_a_drop_waits_for_a_reason(arrival: Arrival, place: Place, before: dict[str, str], why: str) -> None:
    wanted, waiting = intakes([arrival], {"tiny": place}, before=before, holds=HOLDS, asked=frozenset())

    assert (wanted, waiting) == ([], [f"tiny a.jsonl: {why}"])


def test_one_drop_of_a_dataset_is_taken_in_at_a_time() -> None:
    second = replace(FILE, path=Path("/inbox/b.jsonl"))
    elsewhere = replace(FILE, dataset="other", path=Path("/inbox/c.jsonl"))
    before = {str(each.path): each.signature for each in (FILE, second, elsewhere)}

    holds = {str(each.path): each.path.name for each in (FILE, second, elsewhere)}

    wanted, waiting = intakes(
        [FILE, second, elsewhere], {"tiny": HERE, "other": HERE}, before=before, holds=holds, asked=frozenset()
    )

    assert [each.arrival for each in wanted] == [FILE, elsewhere]
    assert waiting == ["tiny b.jsonl: another drop comes first"]


# --- what lies there


def test_every_drop_is_known_by_its_place(world: World) -> None:
    drop(world, "samples/scribe/a.jsonl", ROWS)
    drop(world, "samples/designer/out/parquet-files/part.jsonl", ROWS)
    drop(world, "seeds/words.jsonl", ROWS)
    for hidden in (".a.jsonl", "b.jsonl.part", "c.tmp"):
        drop(world, f"samples/scribe/{hidden}", ROWS)
    drop(world, "samples/lost.jsonl", ROWS)

    found = [(each.kind, each.name, each.path.name) for each in arrivals(world.home / "inbox", "tiny")]

    assert found == [
        ("samples", "designer", "out"),
        ("samples", "scribe", "a.jsonl"),
        ("seeds", "words", "words.jsonl"),
    ]
    assert list(arrivals(world.home / "inbox", "other")) == []


@pytest.mark.parametrize(
    ("name", "content", "is_whole"),
    [
        ("a.jsonl", b'{"text": "a"}\n', True),
        ("a.jsonl", b'{"text": "a"}', False),
        ("a.jsonl", b"", False),
        ("a.parquet", b"PAR1...PAR1", True),
        ("a.parquet", b"PAR1...", False),
        ("a.json", b"[]", True),
    ],
)
def test_a_file_is_whole_when_it_ends_as_its_format_ends(
    world: World, name: str, content: bytes, is_whole: bool
) -> None:
    drop(world, f"samples/scribe/{name}", []).write_bytes(content)

    [found] = arrivals(world.home / "inbox", "tiny")
    assert found.is_whole is is_whole


# --- the shell


def test_a_file_that_is_still_being_written_waits_until_it_lies_still(world: World) -> None:
    watcher = Watcher(world)
    assert (watcher.look(), watcher.reason) == ([], "nothing new lies in the inbox")

    drop(world, "samples/scribe/a.jsonl", ROWS[:1], end=b"")
    assert (watcher.look(), "not written to its end" in watcher.reason) == ([], True)
    file = drop(world, "samples/scribe/a.jsonl", ROWS)
    assert (watcher.look(), "for the first time" in watcher.reason) == ([], True)
    [request] = watcher.look()
    asked = request.run_config["ops"]["tiny__generation_plan"]["config"]["ingest"]
    assert (request.job_name, asked) == ("tiny_batch", {"file": str(file), "generator": "scribe"})
    assert (watcher.look(), watcher.look()) == ([], [])

    world.run(batch=str(request.partition_key), ingest=asked)
    assert world.counts("decisions", "decision") == {"accepted": 2}
    assert (watcher.look(), watcher.reason) == ([], f"tiny: taken in before: a.jsonl as {request.partition_key}")


def taken_in(world: World, path: str) -> Watcher:
    """A watcher whose first drop is a batch."""
    watcher = Watcher(world)
    drop(world, path, ROWS)
    watcher.look()
    [request] = watcher.look()
    asked = request.run_config["ops"]["tiny__generation_plan"]["config"]["ingest"]
    assert world.run(batch=str(request.partition_key), ingest=asked).success
    return watcher


@pytest.mark.parametrize("happens", ["touched", "copied", "forgotten"])
def test_what_a_batch_holds_is_asked_for_by_nobody_again(world: World, happens: str) -> None:
    watcher = taken_in(world, "samples/scribe/a.jsonl")
    file = world.home / "inbox/tiny/samples/scribe/a.jsonl"
    if happens == "touched":
        os.utime(file, (1, 1))
    elif happens == "copied":
        drop(world, "samples/another/b.jsonl", ROWS)
    else:
        watcher.cursor = None
    watcher.look()

    assert [watcher.look() for _ in range(2)] == [[], []]
    [batch] = world.rows("requests")["batch"].unique()
    assert watcher.reason.startswith("tiny: taken in before: ")
    assert f"a.jsonl as {batch}" in watcher.reason


def test_two_copies_of_one_file_are_one_run(world: World) -> None:
    watcher = Watcher(world)
    for name in ("a", "b"):
        drop(world, f"samples/scribe/{name}.jsonl", ROWS)

    assert [len(watcher.look()) for _ in range(4)] == [0, 1, 0, 0]


def test_a_drop_is_read_once_in_a_state_and_only_so_much_at_a_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def hashed(path: Path) -> str:
        read.append(path.name)
        return content_sha256(path)

    monkeypatch.setattr(inbox, "content_sha256", hashed)
    monkeypatch.setattr(inbox, "READ_AT_ONCE", 150)
    for name in ("a", "b", "c"):
        drop(world, f"samples/scribe/{name}.jsonl", [{**ROWS[0], "prompt": name * 99}])
    found: dict[str, Any] = {}
    looks = []
    for _ in range(4):
        found = inbox.contents(arrivals(world.home / "inbox", "tiny"), found)
        looks.append(len(found))

    assert read == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert looks == [1, 2, 3, 3]


def test_what_lies_under_no_datasets_name_is_said_to_be_ignored_beside_the_names_there_are(world: World) -> None:
    drop(world, "../tinny/samples/scribe/a.jsonl", ROWS)
    drop(world, "../.hidden/a.jsonl", ROWS)
    watcher = Watcher(world)

    assert watcher.look() == []
    assert watcher.reason == "'tinny' is ignored: no dataset has that name (datasets: tiny)"


def test_a_file_that_was_mended_is_taken_in_again(world: World) -> None:
    watcher = Watcher(world)
    drop(world, "samples/scribe/a.jsonl", [{"text": "No label."}])
    watcher.look()
    assert len(watcher.look()) == 1

    drop(world, "samples/scribe/a.jsonl", ROWS)
    watcher.look()
    assert len(watcher.look()) == 1


def test_dropped_seeds_become_rows_of_the_recipe_once(world: World) -> None:
    watcher = Watcher(world)
    dropped = drop(world, "seeds/words.jsonl", [{"text": "airy", "label": "positive"}] * 2)
    watcher.look()
    [request] = watcher.look()
    assert (request.job_name, request.partition_key) == ("tiny_inputs", None)
    assert request.run_config["ops"]["tiny__seeds"]["config"] == {"table": "words", "file": str(dropped)}

    for _ in range(2):
        result = (
            build_defs([world.recipe])
            .resolve_job_def("tiny_inputs")
            .execute_in_process(resources={"lake": world.lake}, run_config=request.run_config, instance=world.instance)
        )
        assert result.success
    present = load_recipe(world.recipe.folder)
    assert [row.fields["text"] for row in present.seeds][-1] == "airy"
    assert len(present.seeds) == len(world.recipe.seeds) + 1
    assert world.rows("seeds").height == len(present.seeds)

    watcher.cursor = None
    watcher.look()
    assert (watcher.look(), watcher.reason) == ([], "tiny: taken in before: words.jsonl as rows of seed table words")
    assert (watcher.look(), watcher.reason) == ([], "nothing new lies in the inbox")


def test_seeds_for_no_table_leave_the_recipe_as_it_was(world: World) -> None:
    before = (world.recipe.folder / "seeds/words.jsonl").read_bytes()
    file = drop(world, "seeds/verbs.jsonl", ROWS)

    with pytest.raises(UsageError, match="tiny has no seed table 'verbs'"):
        add_seeds(world.recipe, "verbs", file)
    assert (world.recipe.folder / "seeds/words.jsonl").read_bytes() == before
