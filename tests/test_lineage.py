"""Lineage of samples whose batch has a past."""

from pathlib import Path

import orjson

from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider


def test_the_chain_of_a_sample_is_whole_whichever_attempt_it_is_of(tmp_path: Path) -> None:
    """Each attempt stores its prompts in a file of its own."""
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        for promise in ("4", "8"):
            assert home.call(*RUN, "--accept", promise).code == 0
    with home.lake() as lake:
        samples = lake.read("samples", dataset=DATASET, batch=BATCH).unique("attempt")
        assert samples.height == 2

    for row in samples.iter_rows(named=True):
        said = home.call("lineage", "--sample", row["sample_id"], "--json")
        assert said.code == 0, said.err
        [generation] = orjson.loads(said.out)["up"]
        [request] = generation["children"]
        assert (request["kind"], request["id"]) == ("request", row["request_id"])
        assert request["facts"]["attempt"] == row["attempt"]
        assert {each["kind"] for each in request["children"]} >= {"prompt", "seed"}
