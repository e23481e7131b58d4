"""`synth plan` tells how the next plan divides its requests among the prompts, and why."""

import re
from pathlib import Path

import pytest

from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.recipes import FILES

BRIEF = FILES["prompts/talk.md"].replace("name: talk", "name: brief").replace("format: text", "format: json")


@pytest.mark.slow
def test_a_forecast_names_what_each_prompt_gets_and_the_cost_that_decided_it(tmp_path: Path) -> None:
    prompts = [{"name": "talk"}, {"name": "brief"}, {"name": "lines"}]
    folder = tiny(tmp_path, prompts=prompts, rotation="adaptive", files={"prompts/brief.md": BRIEF})
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, folder)
        before = home.call("plan", DATASET, "--batch", BATCH)
        ran = home.call(*RUN)
        after = home.call("plan", DATASET, "--batch", "2026-11-02")

    assert (before.code, after.code, ran.code) == (0, 0, 0), ran.err
    assert "with prompt brief" in before.out
    assert "9: never tried: it counts as average" in " ".join(before.out.split())
    told = " ".join(after.out.split())
    assert re.search(r"with prompt talk 1\d: \d+ of \d+ requests accepted, \S+ tokens per accepted sample", told)
    assert re.search(r"with prompt brief \d: 0 of \d+ requests accepted", told)
    assert set(home.read("prompt_allocations", batch=BATCH, attempt=1)["planned_requests"]) == {9}
