"""The embedded model: one real server per home, found again, mended once, gone when nobody needs it."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resources.llm import Router, embedded, make_generator
from resources.llm.embedded import EmbeddedServer
from resources.llm.weights import model_file, model_sha256
from synth_assets.domain import ids
from synth_assets.domain.ports import Call, Endings, Provider
from synth_assets.recipe.model import Generator as Settings
from synth_assets.vocabulary import Outcome, QuarantineReason

SETTINGS = Settings(max_tokens=8, min_p=0.05, stop=["\n"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert server_of(tmp_path).stop()


def server_of(home: Path, *, idle_s: float = 60.0) -> EmbeddedServer:
    path = model_file({})
    return EmbeddedServer(home, path, model_sha256(path, home), idle_s=idle_s)


def generator_at(home: Path) -> Router:
    return make_generator(SETTINGS, home=home, environ={}, idle_s=60.0)


def calls(provider: Provider, count: int) -> list[Call]:
    params = {"temperature": 1.0, "max_tokens": 8, "min_p": 0.05, "stop": ["\n"]}
    prompt = "Short film reviews, all of them positive:\n- The acting"
    found = []
    for number in range(count):
        seed = ids.sampling_seed(f"r{number}")
        call_id = ids.call_id(
            provider=provider.name, model=provider.model_id, params=params, prompt=prompt, schema=None, seed=seed
        )
        found.append(Call(call_id, f"r{number}", prompt, params, seed))
    return found


def generate(
    generator: Router, planned: list[Call], batch: str, progress: Callable[[int, int], None] | None = None
) -> Endings:
    return generator.generate(
        planned,
        dataset="reviews",
        batch=batch,
        spend_limit_usd=0.0,
        progress=progress or (lambda ended, total: None),
        is_ours=lambda: True,
    )


def server_pid(home: Path) -> int:
    (port_file,) = (home / "runtime").glob("*/llm-*.json")
    return json.loads(port_file.read_bytes())["pid"]


def test_the_same_seed_gives_the_same_text_in_any_order_from_a_server_found_again(home: Path) -> None:
    generator = generator_at(home)
    planned = calls(generator.routing.providers[0], 4)

    forth = generate(generator, planned, "b1")
    first_pid = server_pid(home)
    back = generate(generator_at(home), planned[::-1], "b2")

    assert server_pid(home) == first_pid
    assert {ending.outcome for ending in forth.endings} <= {Outcome.ANSWERED, Outcome.QUARANTINED}
    assert [ending.answer.text for ending in back.endings[::-1]] == [ending.answer.text for ending in forth.endings]
    assert len({ending.answer.text for ending in forth.endings}) > 1
    assert forth.paid_now == back.paid_now == 4
    answer = forth.endings[0].answer
    assert answer.model == generator.routing.providers[0].model
    assert answer.mean_logprob < 0
    assert answer.input_tokens > 0


def test_two_starts_at_once_give_one_server_and_a_stale_port_file_is_replaced(home: Path) -> None:
    servers = [server_of(home), server_of(home)]
    stale = servers[0]._path("json")
    stale.parent.mkdir(parents=True)
    stale.write_text('{"base_url": "http://127.0.0.1:9/v1", "api_key": "old", "pid": 1}')
    found: list[str] = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.open().base_url)) for one in servers]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 2
    assert len(set(found)) == 1
    assert not server_of(home).stop(), "somebody holds the lease"
    for server in servers:
        server.close()
    assert server_of(home).stop()
    assert not server_of(home).is_alive


def test_a_server_that_dies_is_started_again_once_and_then_stops_the_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.llm.ledger.PROGRESS_S", 0.0)
    generator = generator_at(home)
    pids: list[int] = []

    def kill_at_two_and_four(ended: int, total: int) -> None:
        if ended in (2, 4):
            pids.append(server_pid(home))
            os.kill(pids[-1], signal.SIGKILL)

    found = generate(generator, calls(generator.routing.providers[0], 7), "b1", kill_at_two_and_four)

    assert len(set(pids)) == 2
    assert found.stop.reason == QuarantineReason.UNREACHABLE
    answered = [ending.answer for ending in found.endings if ending.answer]
    assert 4 <= len(answered) < 7
    assert [ending.outcome for ending in found.endings].count(Outcome.NOT_SENT) == 7 - len(answered)


def test_a_server_nobody_needs_ends_by_itself(tmp_path: Path) -> None:
    server = server_of(tmp_path, idle_s=0.0)
    server.open()
    child = embedded._CHILDREN[-1]
    assert child.poll() is None

    server.close()

    assert child.wait(timeout=10) == 0
    assert list((tmp_path / "runtime").glob("*/*.json")) == []


def test_a_server_whose_home_is_gone_ends_by_itself(tmp_path: Path) -> None:
    server = server_of(tmp_path / "home")
    server.open()
    child = embedded._CHILDREN[-1]

    shutil.rmtree(tmp_path / "home")

    assert child.wait(timeout=10) == 0
    server.close()


def test_the_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "w.gguf"
    weights.write_bytes(b"weights")
    first = model_sha256(weights, tmp_path)
    monkeypatch.setattr("hashlib.file_digest", None)

    assert model_sha256(weights, tmp_path) == first == ids.sha256(b"weights")
