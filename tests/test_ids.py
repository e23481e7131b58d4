"""Identity: the same thing has the same name for ever, and another thing another one."""

import hashlib
import json
import random
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.canonical import canonical_json, digest, sha256, stored_json
from synth_assets.domain import ids

HASHES = st.text("0123456789abcdef", min_size=4, max_size=4)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé\n"\\ z'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def as_defined(value: Any) -> Any:
    """Floats as decimal strings, written the long way."""
    if isinstance(value, float):
        return f"{Decimal(str(value)).normalize():f}"
    if isinstance(value, dict):
        return {key: as_defined(item) for key, item in value.items()}
    return [as_defined(item) for item in value] if isinstance(value, list) else value


@given(PLAIN)
def test_canonical_json_is_sorted_json_without_spaces_and_floats_as_strings(value: Any) -> None:
    reference = json.dumps(as_defined(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert canonical_json(value) == reference.encode()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (1.0, "1"),
        (100.0, "100"),
        (1e-7, "0.0000001"),
        (1e21, "1" + "0" * 21),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_a_float_is_written_as_its_shortest_decimal(number: float, text: str) -> None:
    assert canonical_json([number]) == f'["{text}"]'.encode()


def test_the_order_of_keys_is_no_part_of_a_value_but_the_order_of_a_list_is() -> None:
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"a":{"c":3,"d":2},"b":1}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert digest((1, 2)) == digest([1, 2])


def test_a_word_of_a_closed_list_is_its_text() -> None:
    class Word(StrEnum):
        YES = "yes"

    assert canonical_json([Word.YES]) == b'["yes"]'


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", "\ud800"])
def test_what_json_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_stored_json_is_read_back_as_the_same_values() -> None:
    value = {"temperature": 0.9, "stop": ["\n"], "max_tokens": 48}

    assert json.loads(stored_json(value)) == value
    assert stored_json(value) == '{"max_tokens":48,"stop":["\\n"],"temperature":0.9}'


# --- written down once: whoever changes one of these renames everything that was ever stored

REQUEST = "37386660bb1fc8bdf42b48e241b25da3"
CALL: dict[str, Any] = {
    "provider": "embedded",
    "model": "smol:0123",
    "params": {"temperature": 0.9, "max_tokens": 48},
    "prompt": "- The door",
    "schema": None,
    "seed": 7,
}


def test_ids_are_what_they_have_always_been() -> None:
    assert ids.request_id("tiny", "2026-11-01", 1, 0) == REQUEST
    assert ids.sampling_seed(REQUEST) == 1_185_516_381
    assert ids.call_id(**CALL) == "3890a6264b5433505f294f1e6fc0048d"
    assert ids.generation_id(REQUEST, ids.call_id(**CALL)) == "6f16dd145230ded24c6ca7e60bb129b8"
    assert ids.sample_id(REQUEST, 0) == "15df02ffd47ae9e4914756bbe7014791"
    assert (
        ids.content_sha256({"text": "The door is warm."}, "positive")
        == "056658a43dd0b57365fb72c2d9d55a11069a46d5cf8965413e17be8aca36ef76"
    )
    assert (
        ids.version_digest([("b", "2", "train"), ("a", "1", "train")])
        == "8bde85d81dbe3ea3694f0aa49c3dea53f358030fc2cbbe1011d8e927da8669d5"
    )
    assert (
        ids.model_run_id(version_digest="d", trainer="linear", params={"C": 1.0}, seed=0, test_set="t")
        == "62496aa4aeb68a24d6bd9286ed137f67"
    )


def test_a_request_id_is_the_hash_of_its_place() -> None:
    place = '["request","tiny","2026-11-01",1,0]'

    assert ids.request_id("tiny", "2026-11-01", 1, 0) == hashlib.sha256(place.encode()).hexdigest()[:32]


def test_a_content_hash_is_fields_and_label_and_nothing_else() -> None:
    text = '{"fields":{"text":"The door is warm."},"label":"positive"}'

    assert ids.content_sha256({"text": "The door is warm."}, "positive") == hashlib.sha256(text.encode()).hexdigest()


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_a_sampling_seed_is_positive_in_31_bits_and_a_function_of_the_request(request: str) -> None:
    seed = ids.sampling_seed(request)

    assert 0 <= seed < 2**31
    assert seed == int(hashlib.sha256(f"seed:{request}".encode()).hexdigest(), 16) >> (256 - 31)


def test_sampling_seeds_use_the_whole_range() -> None:
    seeds = [ids.sampling_seed(str(number)) for number in range(2_000)]

    assert len(set(seeds)) > 1_990
    assert min(seeds) < 2**31 * 0.01
    assert max(seeds) > 2**31 * 0.99


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "other"},
        {"model": "smol:0124"},
        {"params": {"temperature": 0.8, "max_tokens": 48}},
        {"prompt": "- The roof"},
        {"prompt": [{"role": "user", "content": "- The door"}]},
        {"schema": {"type": "object"}},
        {"seed": 8},
    ],
)
def test_whatever_is_sent_differently_is_another_call(change: Mapping[str, Any]) -> None:
    assert ids.call_id(**(CALL | change)) != ids.call_id(**CALL)


def test_the_order_of_parameters_is_not_sent() -> None:
    turned = dict(reversed(CALL["params"].items()))

    assert ids.call_id(**(CALL | {"params": turned})) == ids.call_id(**CALL)


def test_names_of_different_kinds_never_meet() -> None:
    assert len({ids.generation_id("a", "0"), ids.sample_id("a", 0), ids.request_id("a", "0", 0, 0)}) == 3


@given(st.lists(st.tuples(HASHES, HASHES, st.sampled_from(["train", "test"])), max_size=8), st.randoms())
def test_a_versions_digest_does_not_know_the_order_of_its_members(
    members: list[tuple[str, str, str]], dice: random.Random
) -> None:
    mixed = list(members)
    dice.shuffle(mixed)
    reference = json.dumps(sorted(map(list, members)), separators=(",", ":"))

    assert ids.version_digest(mixed) == sha256(reference.encode())


def test_a_seeded_draw_depends_on_its_parts_alone() -> None:
    draws = [ids.seeded("tiny", "2026-11-01", attempt).random() for attempt in (1, 2, 1)]

    assert draws[0] == draws[2] != draws[1]
