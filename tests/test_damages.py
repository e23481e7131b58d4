"""Any damage to any file of a finished home that changes what anyone could read is named, and nothing falls over."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from resources.lake import open_lake
from tests.command import DATASET, Home, tiny
from tests.damage import HARMLESS, Damage, Seen, damages, everything, look
from tests.fakes.chat_provider import ChatProvider

ANY_BALANCE = {"label_deviation": {"max": 0.5, "because": "How many repeat themselves is not planned by label."}}
NUMBER, SEED, WORKERS = 300, 1, 2


def _look(homes: Path, dataset: str, before: str, damage: Damage) -> Seen:
    """Look in a home of the worker's own."""
    from multiprocessing import current_process

    mine = homes / f"of-{current_process().name}"
    if not mine.exists():
        shutil.copytree(homes / "whole", mine)
    return look(mine, dataset, damage, before)


@pytest.mark.slow
def test_every_damage_that_changes_what_can_be_read_is_named(tmp_path: Path) -> None:
    with ChatProvider() as provider:
        recipes = tiny(tmp_path, gates=ANY_BALANCE, real_data={"reader": "movie_reviews", "test_rows": 100})
        home = Home(tmp_path / "whole", provider.base_url, recipes)
        for command in (("run", DATASET, "--batch", "2026-11-01"), ("release", DATASET), ("train", f"{DATASET}@v1")):
            assert home.call(*command).code == 0
        assert home.call("run", DATASET, "--batch", "2026-11-02").code == 0
    shutil.rmtree(home.path / "dagster")
    lake = open_lake(home.path, {})
    before = everything(lake, DATASET)
    lake.close()
    tried = list(damages(home.path, NUMBER, SEED))

    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        seen = list(pool.map(partial(_look, tmp_path, DATASET, before), tried, chunksize=10))

    pairs = list(zip(tried, seen, strict=True))
    assert [(damage, each.fault) for damage, each in pairs if each.fault] == []
    assert [damage for damage, each in pairs if each.named is None and not each.is_same] == []
    assert sum(each.named is not None for each in seen) > NUMBER / 2
    assert len({damage.file.split("/")[0] for damage in tried}) >= 6
    page = (Path(__file__).parents[1] / "docs" / "audit.md").read_text()
    assert all(f"`{place.rstrip('/')}" in page for place in HARMLESS)
