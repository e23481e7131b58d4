"""`synth backfill`: what was missed is made, oldest first, and what is there is left alone."""

from pathlib import Path

import polars as pl
import pytest

from tests.command import DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.openai_server import Fault

FIRST, SECOND, THIRD = "2026-11-01", "2026-11-02", "2026-11-03"
DAYS = ("backfill", DATASET, "--from", FIRST, "--to", THIRD, "--json")


@pytest.mark.slow
def test_missed_days_are_made_and_green_ones_are_left_alone(tmp_path: Path) -> None:
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        assert home.call("run", DATASET, "--batch", SECOND).code == 0

        done = home.call(*DAYS)
        assert (done.code, done.facts["batches"]) == (0, {FIRST: "green", THIRD: "green"})
        paid = provider.paid_calls.total()
        assert home.call(*DAYS).facts["batches"] == {}
        assert provider.paid_calls.total() == paid
        opened = home.read("batches").sort("opened_at")["batch"].to_list()
        assert opened == [SECOND, FIRST, THIRD]


@pytest.mark.slow
def test_a_provider_that_fails_is_not_asked_for_the_days_after(tmp_path: Path) -> None:
    with ChatProvider(Fault("unauthorized")) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))

        done = home.call(*DAYS)
        assert done.code == 1
        assert list(done.facts["batches"]) == [FIRST]
        assert home.read("requests").filter(pl.col("batch") != FIRST).is_empty()


@pytest.mark.parametrize(
    ("ends", "words", "where"),
    [
        (("--from", THIRD, "--to", FIRST), f"{THIRD} lies after {FIRST}", "--from and --to"),
        (("--from", "2026-10-01"), "'2026-10-01' is no batch of tiny", "--from"),
        (("--from", FIRST, "--to", "9999-01-01"), "'9999-01-01' is no batch of tiny", "--to"),
    ],
)
def test_a_range_that_cannot_be_is_refused_by_the_name_of_its_option(
    tmp_path: Path, ends: tuple[str, ...], words: str, where: str
) -> None:
    refused = Home(tmp_path / "home", "", tiny(tmp_path)).call("backfill", DATASET, *ends)

    assert (refused.code, refused.err.splitlines()[:2]) == (2, [words, f"  where: {where}"])
