"""A release is on disk before the commit that names it, and its name is once it has its place."""

import os
from pathlib import Path

import pytest

from synth_assets.stages.folders import place, stage_folder


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file and folder that is synced, in order, by what its handle stands for."""
    paths: list[Path] = []
    real = os.fsync

    def record(handle: int) -> None:
        paths.append(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    monkeypatch.setattr(os, "fsync", record)
    return paths


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="handles have names on Linux only")
def test_every_file_and_folder_of_a_release_is_synced_before_it_is_named(tmp_path: Path, synced: list[Path]) -> None:
    folder = tmp_path / "releases" / "tiny"
    folder.mkdir(parents=True)

    staged = stage_folder(folder, "ab" * 32, {"samples.jsonl": b"{}", "data/train.parquet": b"x"})

    files = [staged / "samples.jsonl", staged / "data" / "train.parquet"]
    assert synced[:2] == files, "what is in the files, first"
    assert set(synced[2:]) == {staged / "data", staged, folder, folder.parent}

    synced.clear()
    place(staged, folder / "v1")
    assert synced == [folder]
    assert (folder / "v1" / "samples.jsonl").read_bytes() == b"{}"
