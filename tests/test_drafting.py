"""From answers to samples: parsing by the rules, one ending per request, and what it cost."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.domain import ids
from synth_assets.domain.conversations import Conversation, Turn
from synth_assets.domain.drafting import Drafts, draft
from synth_assets.domain.parsing import Fields, Reading, parse_answer
from synth_assets.domain.planning import Plan, plan_attempt
from synth_assets.domain.ports import Answer, Call, Ending, Price
from synth_assets.recipe import Recipe, load_recipe
from synth_assets.recipe.template import Reply
from synth_assets.tables import TABLES
from synth_assets.vocabulary import CallKind, Outcome, QuarantineReason
from tests.fakes.recipes import COMPLETIONS, write_recipe

LINE, WHOLE, JSON = Reply(format="line"), Reply(format="text"), Reply(format="json", field="review")
EMPTY, WRONG = QuarantineReason.EMPTY_ANSWER, QuarantineReason.WRONG_SCHEMA
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PRICE = Price(input_usd_per_million=1.0, output_usd_per_million=2.0, as_of="2026-11-01")


# --- parsing


def read(answer: str, reply: Reply, opening: str) -> str | QuarantineReason:
    """Return the text of a classification's sample."""
    found = fields_of(answer, reply, opening)
    return found if isinstance(found, QuarantineReason) else found["text"]


def fields_of(answer: str, reply: Reply, opening: str) -> Fields | QuarantineReason:
    found = parse_answer(answer, reply, task_type="classification", opening=opening)
    return found.fields if isinstance(found, Reading) else found


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (" is warm and wide.", "The door is warm and wide."),
        (" is warm.\n- The roof is damp.", "The door is warm."),
        (" is warm and wide. It was", "The door is warm and wide."),
        (" is warm! Or is it? Nobody", "The door is warm! Or is it?"),
        (" shut. It was a", "The door shut. It was a"),  # three words would remain: too few
        (" is warm and wide", "The door is warm and wide"),
        (" is warm (as doors", "The door is warm"),
        (" is (nearly) warm", "The door is (nearly) warm"),
        (' is   warm\t"', "The door is warm"),
        (" is \u201cwarm\u201d and wide.", "The door is \u201cwarm\u201d and wide."),
        (" **", EMPTY),
        ("", EMPTY),
        ("  \n and more", EMPTY),
        ('"', EMPTY),
        (" (as", EMPTY),
    ],
)
def test_a_line_continues_its_opening_to_the_last_whole_sentence(answer: str, text: str) -> None:
    assert read(answer, LINE, "The door") == text


def test_an_opening_that_holds_a_sentence_is_no_sample_by_itself() -> None:
    opening = "It is a fine old house. The door"

    assert read(" is", LINE, opening) == EMPTY
    assert read(" is red. It", LINE, opening) == "It is a fine old house. The door is red."


@pytest.mark.parametrize(("answer", "text"), [('"', EMPTY), ("(as", EMPTY), ("- A warm door.", "A warm door.")])
def test_a_line_without_opening_is_what_the_model_wrote(answer: str, text: str) -> None:
    assert read(answer, LINE, "") == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("A warm door.\nAnd a damp roof.", "A warm door. And a damp roof."),
        ('- "A warm door."', "A warm door."),
        ("An unfinished sentence about", "An unfinished sentence about"),
        (' "" ', EMPTY),
        ("\n\t ", EMPTY),
    ],
)
def test_a_text_is_the_whole_answer_without_what_a_list_or_quotation_left(answer: str, text: str) -> None:
    assert read(answer, WHOLE, "") == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('{"review": "A warm door."}', "A warm door."),
        ('{"review": "A warm\\n door.", "stars": 5}', "A warm door."),
        ('```json\n{"review": "A warm door."}\n```', "A warm door."),
        ('```\n{"review": "A warm door."}\n```\n', "A warm door."),
        ('{"review": " "}', EMPTY),
        ('{"text": "A warm door."}', WRONG),
        ('{"review": ["A warm door."]}', WRONG),
        ('{"review": null}', WRONG),
        ('["A warm door."]', WRONG),
        ('"A warm door."', WRONG),
        ('{"review": "A warm', WRONG),
        ('Sure! {"review": "A warm door."}', "A warm door."),
        ('{"review": "A warm door."} {"review": "A damp roof."}', WRONG),
        ('{"review": "\\ud800"}', WRONG),
        ('{"review": NaN}', WRONG),
        ("[" * 5_000, WRONG),
        ("", WRONG),
    ],
)
def test_json_is_one_object_whose_field_is_the_text(answer: str, text: str) -> None:
    assert read(answer, JSON, "") == text


@given(
    st.text(st.sampled_from('ab .!?()"-*\n\u201c{}:`'), max_size=30),
    st.sampled_from([LINE, WHOLE, JSON]),
    st.sampled_from(["", "The door"]),
)
def test_a_sample_is_never_empty_nor_spread_over_lines(answer: str, reply: Reply, opening: str) -> None:
    text = read(answer, reply, opening)

    assert text
    assert isinstance(text, QuarantineReason) or text == " ".join(text.split())
    assert not opening.startswith(text)


# --- rows


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return load_recipe(write_recipe(tmp_path_factory.mktemp("recipes")))


@pytest.fixture(scope="module")
def plan(recipe: Recipe) -> Plan:
    return plan_attempt(recipe, COMPLETIONS, batch="2026-11-01", attempt=1, wanted={"positive": 6, "negative": 6})


def answer(text: str, *, tokens: tuple[int | None, int | None] = (100, 10)) -> Answer:
    return Answer(
        call_id="",
        text=text,
        refusal=False,
        finish_reason="stop",
        model="fake-base-0301",
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        mean_logprob=-0.7,
        latency_s=0.25,
        generated_at=NOON,
        tries=2,
    )


KINDS = ("answered", "unreadable", "refused", "failed", "not_sent")


def ending(row: dict, kind: str) -> Ending:
    """How a planned request ended, by kind."""
    outcome, reason, got = {
        "answered": (Outcome.ANSWERED, None, answer(" is warm and wide.")),
        "unreadable": (Outcome.ANSWERED, None, answer(" \n")),
        "refused": (Outcome.QUARANTINED, QuarantineReason.REFUSED, answer("I cannot.")),
        "failed": (Outcome.QUARANTINED, QuarantineReason.SERVER_ERROR, None),
        "not_sent": (Outcome.NOT_SENT, QuarantineReason.BUDGET_SPENT, None),
    }[kind]
    return Ending(row["request_id"], row["call_id"], outcome, reason, got, tries=3 if kind == "failed" else 1)


def drafted(recipe: Recipe, plan: Plan, kinds: list[str], price: Price | None = PRICE) -> Drafts:
    requests = plan.requests.head(len(kinds))
    openings = dict(plan.prompts.select("request_id", "opening").iter_rows())
    conversations = []
    for row, kind in zip(requests.iter_rows(named=True), kinds, strict=True):
        said = ending(row, kind)
        reply, opening = recipe.template(row["prompt_name"]).reply, openings[row["request_id"]]
        is_answered = said.outcome == Outcome.ANSWERED
        found = fields_of(said.answer.text, reply, opening) if is_answered else None
        call = Call(row["call_id"], row["request_id"], "", {}, 0, asks=replace(COMPLETIONS, price=price))
        conversations.append(Conversation((), opening, {}, [Turn(CallKind.PROMPT, None, call, said, found)]))
    return draft(requests, conversations, model=recipe.model)


@given(st.lists(st.sampled_from(KINDS), max_size=12))
@settings(max_examples=60, deadline=None)
def test_planned_is_answered_and_quarantined_and_not_sent(recipe: Recipe, plan: Plan, kinds: list[str]) -> None:
    drafts = drafted(recipe, plan, kinds)
    outcomes = drafts.generations["outcome"].to_list()

    assert drafts.generations["request_id"].to_list() == plan.requests["request_id"].head(len(kinds)).to_list()
    assert outcomes.count("answered") == kinds.count("answered") == drafts.samples.height == drafts.texts.height
    assert outcomes.count("quarantined") == sum(kinds.count(kind) for kind in ("unreadable", "refused", "failed"))
    assert outcomes.count("not_sent") == kinds.count("not_sent")
    assert drafts.answers.height == len(kinds) - kinds.count("failed") - kinds.count("not_sent")


@given(st.lists(st.sampled_from(KINDS), max_size=12))
@settings(max_examples=30, deadline=None)
def test_drafts_satisfy_their_contracts_once_stored(recipe: Recipe, plan: Plan, kinds: list[str]) -> None:
    drafts = drafted(recipe, plan, kinds)

    TABLES["generations"].schema.validate(drafts.generations)
    TABLES["samples"].schema.validate(drafts.samples)


def test_a_reason_stands_wherever_there_is_no_sample_and_nowhere_else(recipe: Recipe, plan: Plan) -> None:
    generations = drafted(recipe, plan, list(KINDS)).generations

    assert generations["reason"].to_list() == [None, "empty_answer", "refused", "server_error", "budget_spent"]
    assert generations["tries"].to_list() == [1, 1, 1, 3, 1]


def test_a_sample_carries_its_provenance(recipe: Recipe, plan: Plan) -> None:
    drafts = drafted(recipe, plan, ["answered"])
    request, generation = plan.requests.row(0, named=True), drafts.generations.row(0, named=True)
    sample = drafts.samples.row(0, named=True)
    text = drafts.texts.row(0, named=True)

    assert text == {
        "sample_id": sample["sample_id"],
        "field": "text",
        "text": f"{plan.prompts['opening'][0]} is warm and wide.",
    }
    assert sample["sample_id"] == ids.sample_id(request["request_id"], 0)
    assert (
        sample["generation_id"]
        == generation["generation_id"]
        == ids.generation_id(request["request_id"], request["call_id"])
    )
    assert sample["content_sha256"] == ids.content_sha256({"text": text["text"]}, request["label"])
    assert sample["characters"] == len(text["text"])
    assert (sample["label"], sample["language"], sample["attempt"]) == (request["label"], "en", 1)
    assert generation["generated_at"] == NOON
    assert generation["model"] == "fake-base-0301"


def test_answers_are_kept_raw_even_if_they_hold_no_sample(recipe: Recipe, plan: Plan) -> None:
    drafts = drafted(recipe, plan, ["unreadable", "refused"])

    assert drafts.answers["text"].to_list() == [" \n", "I cannot."]
    assert drafts.answers["generation_id"].to_list() == drafts.generations["generation_id"].to_list()


# --- money


def test_every_answer_costs_whether_it_could_be_used_or_not(recipe: Recipe, plan: Plan) -> None:
    costs = drafted(recipe, plan, list(KINDS)).generations["cost_usd"].to_list()

    assert costs == [0.00012, 0.00012, 0.00012, None, None]  # (100 x 1 + 10 x 2) / 1,000,000


def test_without_a_price_or_a_count_the_cost_is_unknown_and_not_nothing(recipe: Recipe, plan: Plan) -> None:
    assert drafted(recipe, plan, ["answered"], price=None).generations["cost_usd"].to_list() == [None]
    assert PRICE.of(None, 10) is None
    assert PRICE.of(100, None) is None
    assert PRICE.of(0, 0) == 0.0


@pytest.mark.parametrize(("tokens", "usd"), [((1_000_000, 0), 1.0), ((0, 1_000_000), 2.0), ((250_000, 500_000), 1.25)])
def test_prices_are_per_million_tokens(tokens: tuple[int, int], usd: float) -> None:
    assert PRICE.of(*tokens) == usd


def test_endings_that_are_not_one_per_request_are_refused(recipe: Recipe, plan: Plan) -> None:
    with pytest.raises(ValueError, match="zip"):
        draft(plan.requests, [], model=recipe.model)
