"""The shipped dataset against a provider that only chats: nothing in the recipe changes, only the environment."""

from collections import Counter
from pathlib import Path

import orjson
import pytest

from tests.command import Home
from tests.fakes.chat_provider import CHAT_ONLY, ChatProvider

SHIPPED, FIRST = "movie_sentiment", "2026-11-01"
ACCEPT = 24


@pytest.mark.slow
def test_the_shipped_recipe_becomes_a_release_with_a_chat_provider(tmp_path: Path) -> None:
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url)

        ran = home.call("run", SHIPPED, "--batch", FIRST, "--accept", str(ACCEPT), "--json")
        assert ran.code == 0, ran.err
        released = home.call("release", SHIPPED, "--json")
        assert released.code == 0, released.err

    assert {request.path for request in provider.requests} == {CHAT_ONLY}
    assert not {"min_p", "stop", "cache_prompt", "prompt"} & {key for r in provider.requests for key in r.body}
    assert set(provider.paid_calls.values()) == {1}
    assert ran.facts["quarantined"] == {}
    assert ran.facts["accepted_by_label"] == {"negative": ACCEPT // 2, "positive": ACCEPT // 2}

    folder = home.path / "releases" / SHIPPED / "v1"
    lines = [orjson.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]
    meta = orjson.loads((folder / "meta.json").read_bytes())
    assert Counter(line["label"] for line in lines) == {"negative": ACCEPT // 2, "positive": ACCEPT // 2}
    assert {line["prompt_name"] for line in lines} == {"chat"}
    assert {line["model"] for line in lines} == {"fake-model"}
    assert not any(line["fields"]["text"].startswith("{") for line in lines)
    assert (meta["num_samples"], meta["digest"]) == (ACCEPT, released.facts["digest"])
    assert meta["prompt_template"] == ["chat@1"]
    assert released.facts["version"] == "v1"
