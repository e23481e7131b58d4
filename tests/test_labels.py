"""Labels are texts of one line, in recipes and in what is taken in."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from synth_assets.domain.ingestion import Origin, adopt_rows, unmapped_labels
from synth_assets.errors import UsageError
from synth_assets.recipe import load_recipe
from tests.command import DATASET, Home, tiny
from tests.fakes.recipes import write_recipe
from tests.fakes.world import World

NO_SEEDS = {"seeds": {"words": {"file": "seeds/words.jsonl", "per_request": 2}}, "openings": []}


def labelled(folder: Path, *labels: str) -> list[str]:
    return list(
        load_recipe(write_recipe(folder, labels={label: {"share": 0.5} for label in labels}, **NO_SEEDS)).model.labels
    )


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("out of scope", "out of scope"),
        ("billing/refund", "billing/refund"),
        ("\u80af\u5b9a", "\u80af\u5b9a"),
        ("Positive", "Positive"),
        (" edge ", "edge"),
        ("caf" + "e\u0301", "caf\u00e9"),
        ("1", "1"),
    ],
)
def test_a_label_is_any_text_of_one_line_trimmed_and_composed(written: str, label: str, tmp_path: Path) -> None:
    assert labelled(tmp_path, written, "other") == [label, "other"]


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("a\tb", "no control characters"),
        ("a\nb", "no control characters"),
        ("a\u2028b", "no control characters"),
        ("  ", "1 to 100 characters"),
        ("x" * 101, "1 to 100 characters"),
        ("other ", "'other' stands twice"),
    ],
)
def test_what_is_no_label_is_refused_in_words(label: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        labelled(tmp_path, label, "other")


def test_rows_are_labelled_as_people_and_tools_write_labels(tmp_path: Path) -> None:
    model = load_recipe(write_recipe(tmp_path)).model
    said = ["positive ", "Positive", "1", 1, 1.0, "negative", "neutral", None, 0.5, ["positive"]]
    rows = [{"text": f"Door {n}.", "label": label} for n, label in enumerate(said)]
    origin = Origin("scribe", label_map={"Positive": "positive", "1": "positive"})

    adopted = adopt_rows(rows, model, origin, batch="2026-11-01", attempt=1)
    assert adopted.plan.requests["label"].to_list() == ["positive"] * 5 + ["negative"] + [None] * 4
    assert adopted.answers["text"].is_not_null().to_list() == [True] * 6 + [False] * 4
    assert unmapped_labels(rows, model, origin) == {"neutral": 1, "0.5": 1}
    assert unmapped_labels(rows, model, Origin("scribe")) == {"Positive": 1, "1": 3, "neutral": 1, "0.5": 1}


def drop(folder: Path, *labels: Any) -> str:
    file = folder / "rows.jsonl"
    texts = ["The door opens without a sound.", "Rain comes through the roof.", "Two windows face the garden."]
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(file)


def test_labels_the_recipe_does_not_have_are_named_with_the_cure_that_works(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", "", tiny(tmp_path))
    mine = ["ingest", DATASET, drop(tmp_path, "Positive", "Positive", 0), "--generator", "scribe"]

    refused = home.call(*mine)
    assert refused.code == 2
    assert "they say 'Positive' (2), '0' (1)" in refused.err
    assert "--map THEIRS=OURS" in refused.err
    assert home.call(*mine, "--map", "Positive=nobody").code == 2
    assert home.call(*mine, "--map", "Positive").code == 2
    assert home.read("batches").is_empty()


def test_mapped_labels_are_the_samples_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    asked = {"file": drop(tmp_path, "Positive", "positive ", 0), "generator": "scribe"}

    world.run("generation_plan", "generated", ingest=asked | {"label_map": {"Positive": "positive", "0": "negative"}})
    assert sorted(world.rows("samples")["label"]) == ["negative", "positive", "positive"]
