"""The flat files of a release: they say what its lines say, for every task type, or it is seen."""

from io import BytesIO
from typing import Any

import orjson
import polars as pl
import pytest

from synth_assets.api import AFTER_THE_FIELDS, _frame
from synth_assets.domain.flat import METADATA, TAG, disagreements, field_types, flat_file, flat_name
from synth_assets.recipe.tasks import TASKS

TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]


def line(task_type: str, number: int, **changes: Any) -> dict[str, Any]:
    """A released line that has every required field; ``fields`` adds to them."""
    texts = {name: TURNS if name == "messages" else f"{name} {number}" for name in TASKS[task_type].fields}
    return {
        "sample_id": f"s{number}",
        "content_sha256": f"c{number}",
        "split": ("train", "test")[number % 2],
        "task_type": task_type,
        "language": "en",
        "label": None,
        "fields": texts | changes.pop("fields", {}),
        "tags": {},
        "prompt_name": "choice",
        "prompt_version": "1",
        "model": "m",
        "batch": "2026-11-01",
        "quality_score": None,
        "generator": "synth-assets",
    } | changes


def written(task_type: str, *lines: dict[str, Any], tags: tuple[str, ...] = ()) -> tuple[bytes, dict[str, bytes]]:
    """The lines as bytes, and a flat file for each split."""
    splits = sorted({each["split"] for each in lines})
    files = {
        flat_name(split): flat_file(
            [each for each in lines if each["split"] == split], task_type=task_type, tags=list(tags)
        )
        for split in splits
    }
    return b"".join(orjson.dumps(each) + b"\n" for each in lines), files


@pytest.mark.parametrize("task_type", TASKS)
def test_no_column_beside_the_fields_bears_the_name_of_a_field_of_any_task_type(task_type: str) -> None:
    for field in TASKS[task_type].known:
        assert field not in METADATA, field
        assert field not in AFTER_THE_FIELDS, field
        assert not field.startswith(TAG), field


@pytest.mark.parametrize("task_type", TASKS)
def test_the_flat_files_of_every_task_type_say_what_its_lines_say(task_type: str) -> None:
    optional = dict.fromkeys(TASKS[task_type].optional, "given")
    some = [line(task_type, n, fields=optional if n == 2 else {}, tags={"prompt": "x"} if n else {}) for n in range(4)]
    lines, files = written(task_type, *some, tags=("prompt",))

    assert disagreements(lines, files) == []
    frames = [pl.read_parquet(BytesIO(data)) for data in files.values()]
    assert frames[0].schema == frames[1].schema
    assert dict(frames[0].select(TASKS[task_type].known).schema) == field_types(task_type)
    train = pl.read_parquet(BytesIO(files["data/train.parquet"])).rows(named=True)
    for field in TASKS[task_type].known:
        assert [row[field] for row in train] == [each["fields"].get(field) for each in some if each["split"] == "train"]


def test_a_release_is_loaded_with_every_field_of_its_task_type_however_late_the_first_row_has_one() -> None:
    some = [line("instruction", n, fields={"input": "given"} if n == 149 else {}) for n in range(150)]
    lines, files = written("instruction", *some)
    meta = orjson.dumps({"task_type": "instruction"})

    frame = _frame({"samples.jsonl": lines, "meta.json": meta})
    assert frame["input"].to_list() == [None] * 149 + ["given"]
    assert pl.read_parquet(BytesIO(files["data/test.parquet"]))["input"].to_list()[-1] == "given"
    talk, _ = written("dialogue", line("dialogue", 0))
    assert _frame({"samples.jsonl": talk, "meta.json": orjson.dumps({"task_type": "dialogue"})})[
        "messages"
    ].to_list() == [TURNS]
    erased, _ = written("instruction", {**some[0], "fields": None})
    assert _frame({"samples.jsonl": erased, "meta.json": meta})["response"].to_list() == [None]


def test_whatever_a_flat_file_says_otherwise_is_named_by_file_sample_and_column() -> None:
    one, two = line("preference", 0), line("preference", 2)
    lines, files = written("preference", one, two, line("preference", 1))
    train = "data/train.parquet"

    def instead(*rows: dict[str, Any], **more: Any) -> list[str]:
        return disagreements(lines, files | written("preference", *rows)[1] | more)

    assert instead({**one, "fields": one["fields"] | {"prompt": "choice@1"}}, two) == [f"{train}: s0: prompt"]
    assert instead(two, one)[0] == f"{train}: s0: sample_id" or f"{train}: s0: prompt" in instead(two, one)
    assert instead(one) == [f"{train}: 1 rows for 2 lines"]
    assert instead({**one, "quality_score": 0.5}, two) == [f"{train}: s0: quality_score"]
    assert disagreements(lines, {train: files[train]}) == ["data/test.parquet: only in the lines"]
    assert disagreements(lines, files | {"data/validation.parquet": b""}) == [
        "data/validation.parquet: no line is of its split"
    ]
    frame = pl.read_parquet(BytesIO(files[train]))
    for changed, column in ((frame.drop("prompt"), "prompt"), (frame.with_columns(stranger=pl.lit("x")), "stranger")):
        buffer = BytesIO()
        changed.write_parquet(buffer)
        found = disagreements(lines, files | {train: buffer.getvalue()})
        assert found
        assert all(column in each for each in found)
