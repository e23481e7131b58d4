"""A batch that fell short is topped up by itself, and a person decides once its attempts are used up."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.instance import instance_for
from synth_assets.cli.batches import batch_job
from synth_assets.cli.execution import Ran, run_job
from synth_assets.cli.project import Project
from synth_assets.vocabulary import RejectReason, Stage
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.fakes.openai_server import Fault
from tests.fakes.recipes import RECIPE

PLAN = ("plan", DATASET, "--batch", BATCH, "--json")
STATES = ("generated", "scored", "curated", "training_ready")
ANY_BALANCE = {"label_deviation": {"max": 0.5, "because": "How many repeat themselves is not planned by label."}}


def one_attempt(home: Home) -> Ran:
    """Materialize the chain once, as the web UI does; `synth run` would go on by itself."""
    with home.entered():
        project = Project(may_begin=True)
        with project.instance() as instance:
            return run_job(project, instance, batch_job(DATASET), recipe=project.recipe(DATASET), partition=BATCH)


def materialized(home: Home) -> set[str]:
    """Stages Dagster shows as there for the batch."""
    with instance_for(home.path / "dagster") as instance:
        return {
            stage for stage in STATES if BATCH in instance.get_materialized_partitions(dg.AssetKey([DATASET, stage]))
        }


def states(funnel: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["state"] for stage in funnel["stages"] if stage["stage"] in STATES}


def accepted_ids(home: Home) -> set[str]:
    return set(home.read("training_examples", dataset=DATASET)["sample_id"])


def planned(home: Home) -> dict[int, int]:
    """Requests by attempt."""
    rows = home.read("requests", dataset=DATASET, batch=BATCH)
    return dict(rows.group_by("attempt").len().sort("attempt").rows())


@pytest.mark.slow
def test_a_short_batch_stays_red_before_its_examples_until_a_run_tops_it_up(tmp_path: Path) -> None:
    with ChatProvider(repeats=0.6) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, gates=ANY_BALANCE))
        first = home.call(*PLAN).facts
        assert (provider.requests, first["attempt"]) == ([], 1)

        red = one_attempt(home)
        assert [(stage, gate) for stage, gate, _ in red.failed_checks] == [("curated", "minimum_count")]
        assert materialized(home) == {"generated", "scored"}
        assert home.read("training_examples", dataset=DATASET).is_empty()

        paid = len(provider.requests)
        second = home.call(*PLAN).facts
        assert (len(provider.requests), second["attempt"], second["because"]) == (paid, 2, None)
        short_by = 12 - home.read("decisions", decision="accepted").height
        assert short_by <= second["requests"] < first["requests"]

        provider.repeats = 0.0
        green = home.call(*RUN, "--json")

    assert green.code == 0, green.err
    assert set(states(green.facts).values()) == {"passed"}
    assert materialized(home) == set(STATES)
    assert (green.facts["accepted"], green.facts["attempts"]) == (12, 2)
    assert planned(home) == {1: first["requests"], 2: second["requests"]}
    assert len(provider.requests) == first["requests"] + second["requests"]
    assert set(provider.paid_calls.values()) == {1}
    assert home.call(*PLAN).facts["because"] == "the promise is kept"


@pytest.mark.slow
def test_out_of_attempts_a_person_accepts_the_batch_short_and_that_is_kept(tmp_path: Path) -> None:
    with ChatProvider(repeats=0.6) as provider:
        recipes = tiny(tmp_path, batch={"max_attempts": 1}, gates=ANY_BALANCE)
        home = Home(tmp_path / "home", provider.base_url, recipes, variables={"SYNTH_ACTOR": "rosa"})
        early = home.call("accept-short", DATASET, BATCH, "--reason", "in a hurry")
        assert early.code == 2

        red = home.call(*RUN, "--json")
        assert red.code == 1
        assert "red at curated.minimum_count" in red.err
        assert "all 1 attempts are used up" in red.err
        assert states(red.facts)["training_ready"] == "missing"
        paid = len(provider.requests)

        accepted = home.call("accept-short", DATASET, BATCH, "--reason", "twelve were too many")
        assert accepted.code == 0, accepted.err

    assert len(provider.requests) == paid
    assert materialized(home) == set(STATES)
    assert home.read("batches", dataset=DATASET)["short_accepted_by"].to_list() == ["rosa"]
    assert 0 < home.read("training_examples", dataset=DATASET).height == red.facts["accepted"] < 12
    entry = home.read("audit_log", dataset=DATASET, action="accept_short").row(0, named=True)
    assert entry["actor"] == "rosa"
    assert "twelve were too many" in entry["details"]
    due = home.read("label_balances", dataset=DATASET)["due"]
    assert sum(due) == 12 - red.facts["accepted"], "what was not delivered is due to its labels in the next batches"


@pytest.mark.slow
def test_a_gate_that_fails_before_scoring_is_topped_up_too(tmp_path: Path) -> None:
    strict = {"answered_share": {"min": 0.9, "because": "A tenth of refusals says that the prompt is wrong."}}
    with ChatProvider(Fault("refusal", at=set(range(1, 7)))) as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, gates=strict))

        green = home.call(*RUN, "--json")

    assert green.code == 0, green.err
    assert (green.facts["quarantined"], green.facts["attempts"]) == ({"refused": 6}, 2)
    failed = home.read("verdicts", dataset=DATASET, partition=BATCH, passed=False)
    assert failed.select("stage", "gate").rows() == [("generated", "answered_share")]
    assert home.read("stage_commits", dataset=DATASET, stage=str(Stage.SCORED)).height == 1


@pytest.mark.slow
def test_regenerating_supersedes_and_a_tighter_rule_promotes_the_surplus_before_anything_is_paid(
    tmp_path: Path,
) -> None:
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path))
        assert home.call(*RUN).code == 0
        old, samples = accepted_ids(home), home.read("samples", dataset=DATASET).height

        anew = home.call(*RUN, "--regenerate", "--json")
        assert anew.code == 0, anew.err
        assert anew.facts["rejected"][RejectReason.SUPERSEDED] == samples
        new = accepted_ids(home)
        assert len(new) == 12
        assert not new & old
        assert home.read("batches", dataset=DATASET)["current_from"].to_list() == [2]
        assert home.read("audit_log", dataset=DATASET, action="generation_plan").height == 2

        paid = len(provider.requests)
        words = home.read("assessments", dataset=DATASET, name="words", sample_id=sorted(new))["value"].sort()
        longest = {"words": {"min": 3, "max": words[-2] - 1, "because": "Longer lines ramble, or so we think now."}}
        tiny(tmp_path, rules=RECIPE["rules"] | longest)
        judged = home.call(*RUN, "--json")

    assert judged.code == 0, judged.err
    assert judged.facts["rejected"][RejectReason.LENGTH] >= 2
    assert len(accepted_ids(home) - new) >= 2
    assert (judged.facts["accepted"], judged.facts["attempts"], len(provider.requests)) == (12, 2, paid)


@pytest.mark.slow
def test_a_rule_so_tight_that_the_surplus_does_not_do_is_paid_for_by_a_top_up(tmp_path: Path) -> None:
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, tiny(tmp_path, batch={"max_attempts": 9}))
        assert home.call(*RUN).code == 0
        words = home.read("assessments", dataset=DATASET, name="words")["value"].median()
        middling = {"words": {"min": 3, "max": words, "because": "The longer half rambles, or so we think now."}}
        tiny(tmp_path, batch={"max_attempts": 9}, rules=RECIPE["rules"] | middling)

        judged = home.call(*RUN, "--json")

    assert judged.code == 0, judged.err
    assert judged.facts["attempts"] > 1
    assert home.read("stage_commits", dataset=DATASET, stage="curated", passed=False).height >= 1
    assert set(provider.paid_calls.values()) == {1}
