"""The embedder on its real model."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resources import embedder as embedder_module
from resources.embedder import MiniLMEmbedder
from synth_assets.errors import IntegrityError, SynthError

TEXTS = [
    "A warm, funny film.",
    "",
    "The plot makes no sense at all and the ending is worse.",
    "A warm, funny film.",
    "很好看的电影",
    "😀" * 10,
    "nul\x00inside",
    "long " * 20_000,
    *[f"The {thing} of this film is {word}." for thing in ("plot", "cast", "score") for word in ("dull", "superb")],
]


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder()


@pytest.fixture(scope="module")
def vectors(embedder: MiniLMEmbedder) -> np.ndarray:
    return embedder.embed(TEXTS)


def test_vectors_are_float32_of_length_one(vectors: np.ndarray) -> None:
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_a_vector_is_the_same_to_the_bit_alone_and_in_any_company(
    embedder: MiniLMEmbedder, vectors: np.ndarray
) -> None:
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    backwards = embedder.embed(TEXTS[::-1])[::-1]
    crowded = embedder.embed([*(f"Company number {n} is here." for n in range(150)), *TEXTS])[150:]

    assert np.array_equal(vectors, alone)
    assert np.array_equal(vectors, backwards)
    assert np.array_equal(vectors, crowded)


def test_every_size_of_a_group_of_equal_length_gives_the_same_bits(embedder: MiniLMEmbedder) -> None:
    text, others = "The cast is superb.", [f"The {word} is superb." for word in ("plot", "score", "end", "film") * 12]
    alone = embedder.embed([text])

    for size in range(1, len(others)):
        assert np.array_equal(embedder.embed([*others[:size], text])[-1:], alone)


def test_more_threads_give_the_same_bits(vectors: np.ndarray) -> None:
    assert np.array_equal(MiniLMEmbedder(threads=2).embed(TEXTS), vectors)


def test_texts_that_mean_the_same_are_close_and_others_are_not(embedder: MiniLMEmbedder) -> None:
    praise, same, train = embedder.embed(["I loved this movie.", "I loved this film!", "The train leaves at noon."])

    assert praise @ same > 0.85
    assert praise @ train < 0.2


def test_only_the_first_256_tokens_are_seen(embedder: MiniLMEmbedder) -> None:
    same = embedder.embed(["word " * 254 + "one", "word " * 254 + "two"])
    other = embedder.embed(["word " * 253 + "one", "word " * 253 + "two"])

    assert np.array_equal(same[0], same[1])
    assert not np.array_equal(other[0], other[1])


def test_no_texts_give_no_vectors(embedder: MiniLMEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_the_name_says_the_model_and_its_files(embedder: MiniLMEmbedder) -> None:
    files = embedder_module.MODEL_SHA256 + embedder_module.TOKENIZER_SHA256

    assert embedder.name == f"all-MiniLM-L6-v2-int8@{hashlib.sha256(files.encode()).hexdigest()[:12]}"


def test_a_missing_tokenizer_names_the_command_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path))

    with pytest.raises(SynthError, match="make demo"):
        MiniLMEmbedder().embed(["text"])


def test_a_missing_model_names_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_module, "MODEL_PACKAGE", "no_such_package")

    with pytest.raises(SynthError, match="make demo"):
        MiniLMEmbedder().embed(["text"])


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / embedder_module.TOKENIZER_FILE
    changed.parent.mkdir(parents=True)
    changed.write_text("{}")
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path))

    with pytest.raises(IntegrityError, match="not the pinned file"):
        MiniLMEmbedder().embed(["text"])


def test_embedding_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "ORT_", "XDG_", "HF_"))}
    home = tmp_path / "home"
    home.mkdir()
    program = "from resources.embedder import MiniLMEmbedder as E; assert E().embed(['a film']).shape == (1, 384)"

    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", program], env={**kept, "HOME": str(home)}, check=True, cwd=root, timeout=60)

    assert list(home.rglob("*")) == []
