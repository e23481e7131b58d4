"""Several providers at once: each call to its own, one journal, one purse; what stops one leaves the others at work."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from resources.llm.client import Remote, Router
from resources.llm.limits import Patience
from resources.llm.line import Line
from resources.llm.provider import Address
from synth_assets.domain import ids
from synth_assets.domain.ports import Call, Endings, Price, Provider, Route, Routing
from synth_assets.vocabulary import Outcome, QuarantineReason
from tests.fakes.openai_server import FakeOpenAI, Fault

PRICE = Price(1.0, 1000.0, "2026-01-01")
NEAR = Provider("near", "small", "small", "chat", takes_llama_params=False, price=PRICE)
FAR = replace(NEAR, name="far", model="big", model_id="big", price=Price(10.0, 10_000.0, "2026-02-01"))
PATIENT = Patience(concurrency=4, deadline_s=20.0, max_tries=2, backoff_s=0.001)
DOWN = {
    "unauthorized": QuarantineReason.UNAUTHORIZED,
    "quota": QuarantineReason.QUOTA_EXHAUSTED,
    "server_error": QuarantineReason.UNREACHABLE,  # nobody was answered: an outage
}


def call(number: int, provider: Provider, *, may_fall_back: bool = False) -> Call:
    prompt = [{"role": "user", "content": f"Write a positive review, number {number}."}]
    params = {"temperature": 1.0, "max_tokens": 64}
    seed = ids.sampling_seed(f"{provider.name}{number}")
    identity = ids.call_id(
        provider=provider.name, model=provider.model_id, params=params, prompt=prompt, schema=None, seed=seed
    )
    return Call(identity, f"r{number}", prompt, params, seed, asks=provider, may_fall_back=may_fall_back)


def alternating(count: int, *, may_fall_back: bool = False) -> list[Call]:
    return [call(number, (NEAR, FAR)[number % 2], may_fall_back=may_fall_back) for number in range(count)]


def router(home: Path, near: FakeOpenAI | str, far: FakeOpenAI | str, *, key: str = "") -> Router:
    addresses = {"near": near, "far": far}
    lines = {
        name: Line(Remote(Address(at if isinstance(at, str) else at.base_url, f"sk-{name}")), PATIENT)
        for name, at in addresses.items()
    }
    lines["far"] = replace(lines["far"], key=key, advice={QuarantineReason.UNAUTHORIZED: "look at FAR_KEY"})
    return Router(Routing((Route(NEAR), Route(FAR))), lines, home=home)


def generate(generator: Router, calls: Sequence[Call], *, limit_usd: float | None = None) -> Endings:
    return generator.generate(
        calls,
        dataset="reviews",
        batch="b1",
        spend_limit_usd=limit_usd,
        progress=lambda ended, total: None,
        is_ours=lambda: True,
    )


def by_provider(calls: Sequence[Call], found: Endings) -> Counter[tuple[str, str, str | None]]:
    return Counter(
        (each.asks.name, str(ending.outcome), ending.reason and str(ending.reason))
        for each, ending in zip(calls, found.endings, strict=True)
    )


def test_every_call_goes_to_its_provider_with_its_key_and_model_and_endings_keep_the_plans_order(
    tmp_path: Path,
) -> None:
    planned = alternating(20)
    told: list[tuple[int, int]] = []

    with FakeOpenAI() as near, FakeOpenAI() as far:
        found = router(tmp_path, near, far).generate(
            planned,
            dataset="reviews",
            batch="b1",
            spend_limit_usd=None,
            progress=lambda ended, total: told.append((ended, total)),
            is_ours=lambda: True,
        )
        again = generate(router(tmp_path, near, far), planned)

    assert [ending.request_id for ending in found.endings] == [each.request_id for each in planned]
    assert {ending.outcome for ending in found.endings} == {Outcome.ANSWERED}
    for server, name, model in ((near, "near", "small"), (far, "far", "big")):
        assert {(request.authorization, request.body["model"]) for request in server.requests} == {
            (f"Bearer sk-{name}", model)
        }
        assert set(server.paid.values()) == {1}
    assert (told[-1], found.paid_now, again.paid_now) == ((20, 20), 20, 0)
    assert again.endings == found.endings


def test_providers_are_asked_at_the_same_time(tmp_path: Path) -> None:
    with FakeOpenAI(Fault("hang")) as near, FakeOpenAI() as far:
        generator = router(tmp_path, near, far)
        short = replace(PATIENT, deadline_s=0.3)
        generator._lines = {name: replace(line, patience=short) for name, line in generator._lines.items()}
        planned = [*(call(number, NEAR) for number in range(4)), *(call(number, FAR) for number in range(4, 8))]
        found = generate(generator, planned)

    assert by_provider(planned, found)["far", "answered", None] == 4
    assert len(near.requests) == 4


@pytest.mark.parametrize("kind", DOWN)
def test_what_stops_one_provider_leaves_its_calls_unsent_and_the_others_at_work(tmp_path: Path, kind: str) -> None:
    planned = alternating(12)

    with FakeOpenAI() as near, FakeOpenAI(Fault(kind)) as far:
        stopped = generate(router(tmp_path, near, far), planned)
        far.faults.clear()
        resumed = generate(router(tmp_path, near, far), planned)

    assert by_provider(planned, stopped) == {("near", "answered", None): 6, ("far", "not_sent", DOWN[kind]): 6}
    assert stopped.stop.reason == DOWN[kind]
    assert stopped.stop.where.startswith("far")
    assert by_provider(planned, resumed) == {("near", "answered", None): 6, ("far", "answered", None): 6}
    assert set(near.paid.values()) | set(far.paid.values()) == {1}
    if kind == "unauthorized":
        assert stopped.stop.fix == "look at FAR_KEY"


@pytest.mark.parametrize("kind", DOWN)
def test_calls_that_may_fall_back_end_for_good_when_their_provider_stops(tmp_path: Path, kind: str) -> None:
    planned = alternating(12, may_fall_back=True)

    with FakeOpenAI() as near, FakeOpenAI(Fault(kind)) as far:
        found = generate(router(tmp_path, near, far), planned)
        far.faults.clear()
        sent = len(far.requests)
        again = generate(router(tmp_path, near, far), planned)

    assert by_provider(planned, found) == {("near", "answered", None): 6, ("far", "quarantined", DOWN[kind]): 6}
    assert found.stop is None
    assert again.endings == found.endings, "what another model answers in its place is not paid here too"
    assert len(far.requests) == sent


def test_an_interrupt_stops_everybody_and_ends_nothing_for_good(tmp_path: Path) -> None:
    planned = alternating(40, may_fall_back=True)

    def interrupt(ended: int, total: int) -> None:
        if ended == 4:
            raise KeyboardInterrupt

    with FakeOpenAI(Fault("latency", seconds=0.01)) as near, FakeOpenAI(Fault("latency", seconds=0.01)) as far:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("resources.llm.ledger.PROGRESS_S", 0.0)
            stopped = router(tmp_path, near, far).generate(
                planned,
                dataset="reviews",
                batch="b1",
                spend_limit_usd=None,
                progress=interrupt,
                is_ours=lambda: True,
            )
        resumed = generate(router(tmp_path, near, far), planned)

    assert stopped.stop.reason == QuarantineReason.STOPPED
    assert {name for name, outcome, _ in by_provider(planned, stopped) if outcome == "not_sent"} == {"near", "far"}
    assert {ending.outcome for ending in resumed.endings} == {Outcome.ANSWERED}


def test_an_interrupt_is_told_even_if_nothing_was_left_to_send(tmp_path: Path) -> None:
    told: list[int] = []

    def interrupt_at_the_end(ended: int, total: int) -> None:
        told.append(ended)
        if ended == total and told.count(total) == 1:
            raise KeyboardInterrupt

    planned = alternating(6)
    with pytest.MonkeyPatch.context() as patch, FakeOpenAI() as near, FakeOpenAI() as far:
        patch.setattr("resources.llm.ledger.PROGRESS_S", 0.0)
        found = router(tmp_path, near, far).generate(
            planned,
            dataset="reviews",
            batch="b1",
            spend_limit_usd=None,
            progress=interrupt_at_the_end,
            is_ours=lambda: True,
        )

    assert {ending.outcome for ending in found.endings} == {Outcome.ANSWERED}
    assert found.stop.reason == QuarantineReason.STOPPED


def spent(calls: Sequence[Call], found: Endings) -> float:
    return sum(
        each.asks.price.of(ending.answer.input_tokens, ending.answer.output_tokens)
        for each, ending in zip(calls, found.endings, strict=True)
        if ending.answer
    )


def test_one_budget_holds_for_all_providers_together_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    planned = alternating(40)
    with FakeOpenAI() as near, FakeOpenAI() as far:
        whole = generate(router(tmp_path / "a", near, far), planned)
        limit = spent(planned, whole) / 2
        first = generate(router(tmp_path / "b", near, far), planned, limit_usd=limit)
        sent = len(near.requests) + len(far.requests)
        second = generate(router(tmp_path / "b", near, far), planned, limit_usd=limit)
        assert len(near.requests) + len(far.requests) == sent
        last = generate(router(tmp_path / "b", near, far), planned, limit_usd=2.1 * limit)

    most_of_one_call = FAR.price.of(60, 64)
    assert limit - most_of_one_call < spent(planned, first) <= limit
    assert first.stop.reason == QuarantineReason.BUDGET_SPENT
    assert second.endings == first.endings
    assert {ending.outcome for ending in last.endings} == {Outcome.ANSWERED}
    assert max(Counter(request.headers["idempotency-key"] for request in far.requests).values()) == 2, "a, then b"


def test_a_budget_sends_nothing_to_anybody_while_one_price_is_missing(tmp_path: Path) -> None:
    with FakeOpenAI() as near, FakeOpenAI() as far:
        generator = router(tmp_path, near, far)
        free = replace(FAR, price=None)
        generator._routing = Routing((Route(NEAR, fallback=(free,)),))
        found = generate(generator, [call(1, NEAR)], limit_usd=1.0)

    assert near.requests == []
    assert (found.stop.reason, found.stop.where) == (QuarantineReason.BUDGET_SPENT, "far, model big")


def test_nobody_is_asked_while_a_key_is_missing(tmp_path: Path) -> None:
    with FakeOpenAI() as near, FakeOpenAI() as far:
        found = generate(router(tmp_path, near, far, key="FAR_KEY"), alternating(4, may_fall_back=True))

    assert near.requests == far.requests == []
    assert {ending.outcome for ending in found.endings} == {Outcome.NOT_SENT}
    assert "FAR_KEY" in found.stop.fix


def test_two_models_of_one_provider_share_its_connections_and_its_limits(tmp_path: Path) -> None:
    other = replace(NEAR, model="base", model_id="base", mode="completion", price=None)
    planned = [call(number, NEAR) for number in range(6)]
    planned += [replace(call(number, other), prompt=f"A review, number {number}: ") for number in range(6, 12)]

    with ExitStack() as stack:
        server = stack.enter_context(FakeOpenAI(Fault("latency", seconds=0.02)))
        line = Line(Remote(Address(server.base_url, "sk-near")), PATIENT)
        found = generate(Router(Routing((Route(NEAR), Route(other))), {"near": line}, home=tmp_path), planned)

    assert {ending.outcome for ending in found.endings} == {Outcome.ANSWERED}
    assert server.most_in_flight == PATIENT.concurrency
    assert {(request.path, request.body["model"]) for request in server.requests} == {
        ("/v1/chat/completions", "small"),
        ("/v1/completions", "base"),
    }
