"""A run worker that dies under the daemon: noticed, retried, and nothing of it commits or pays on."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from resources.owners import PID_TAG
from synth_assets.jobs import BATCH_ASSETS
from synth_assets.vocabulary import Outcome
from tests.command import BATCH, DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.torture import findings, journaled
from tests.web import Web, wait_for, web_ui

CHAIN = tuple(map(str, BATCH_ASSETS))
ACCEPT = 24
LATENCY_S = 0.2


def tags(web: Web, run: str) -> dict[str, str]:
    [found] = [each for each in web.runs() if each["runId"] == run]
    return {tag["key"]: tag["value"] for tag in found["tags"]}


def retries(web: Web, run: str) -> list[str]:
    return [each["runId"] for each in web.runs() if tags(web, each["runId"]).get("dagster/parent_run_id") == run]


def entries_of(home: Home, run: str) -> list[dict[str, Any]]:
    return home.read("audit_log", dataset=DATASET, run_id=run).sort("seq").rows(named=True)


@pytest.mark.slow
def test_a_worker_killed_while_it_generates_is_noticed_and_retried(tmp_path: Path) -> None:
    with ChatProvider(latency_s=LATENCY_S) as provider:
        recipes = tiny(tmp_path, batch={"accept": ACCEPT}, generator={"concurrency": 2})
        home = Home(tmp_path / "home", provider.base_url, recipes)
        with web_ui(home, tmp_path / "log") as web:
            run = web.launch(DATASET, CHAIN, BATCH)
            wait_for(lambda: len(provider.requests) > 6)
            provider.hold()  # whatever it sends from now on waits
            os.kill(int(tags(web, run)[PID_TAG]), signal.SIGKILL)
            assert web.ended(run) == "FAILURE"
            sent, durable, committed = provider.call_ids, journaled(home), entries_of(home, run)
            provider.go()
            [retry] = wait_for(lambda: retries(web, run))
            assert web.ended(retry) == "SUCCESS"
            assert retries(web, retry) == []

        assert 0 < len(durable) < home.read("requests", dataset=DATASET).height, "it was killed in the middle"
        assert not durable & set(provider.call_ids[len(sent) :]), "what was on disk is not paid again"
        repeats = [call for call in provider.call_ids if provider.call_ids.count(call) > 1]
        assert set(repeats) <= set(sent) - durable, "nobody else asks"
        assert max(provider.paid_calls.values()) <= 2
        assert entries_of(home, run) == committed, "nobody else commits"
        assert home.read("training_examples", dataset=DATASET, batch=BATCH).height == ACCEPT
        assert set(home.read("generations", dataset=DATASET)["outcome"]) == {Outcome.ANSWERED}
        assert home.read("batches").select("attempts", "open_attempt").rows() == [(1, None)]
        assert findings(home) == []
