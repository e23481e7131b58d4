"""The files of a release: bytes that depend on the content alone, and a card nobody can write into."""

import hashlib
import html
import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from synth_assets.domain import release
from synth_assets.domain.cards import escaped
from synth_assets.domain.flat import flat_file
from synth_assets.domain.release import Contents, Parts, release_files, sample_lines, sample_rows, told_content
from synth_assets.errors import IntegrityError
from synth_assets.recipe import RecipeModel
from synth_assets.tables import TABLES
from synth_assets.vocabulary import Stage
from tests.fakes.recipes import RECIPE

KEYS = """
    sample_id content_sha256 split task_type language label fields tags tag_sources prompt_name prompt_version
    template_sha256 prompt_sha256 model generation_params generated_at batch generation_id assessments quality_score
    generator
""".split()  # noqa: SIM905 - as the contract prints them

HOSTILE = [
    "</td></table><script>alert(1)</script> and more",
    "![x](javascript:alert(1)) [click](http://evil.example) here",
    "| a | b |\n|---|---|\n| injected | row |",
    "---\nlicense: mit\n---\n# Another card",
    "~~~ everything below would be code",
    "    indented code and `ticks` and ```fences```",
    "&lt;b&gt; is not bold &amp; &#60; is no tag",
    "1. a list that is none",
    "=== not a heading above ===",
    "back\\slash \\| pipe \\` tick",
]

WORDS_SOURCE = "words@1:0f3a5c21d4e6"

AS_GITHUB = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def sample(number: int, **changes: Any) -> dict[str, Any]:
    """Everything about one member, over all tables."""
    facts = {
        "dataset": "tiny",
        "batch": f"2026-11-0{1 + number // 3}",
        "attempt": 1,
        "ordinal": 9 - number,
        "position": 0,
        "sample_id": f"s{number}",
        "request_id": f"r{number}",
        "generation_id": f"g{number}",
        "content_sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "split": "train",
        "task_type": "classification",
        "language": "en",
        "label": ("positive", "negative")[number % 2],
        "text": f'Door {number} is "warm" \u2014 \u00e9, and\u2028wide.',
        "prompt_name": "lines",
        "prompt_version": "1",
        "template_sha256": "t" * 64,
        "prompt_sha256": "p" * 64,
        "generator": "synth-assets",
        "model": "fake-base",
        "generation_params": '{"temperature":0.8}',
        "axes": '{"part":"door","tone":"wry"}',
        "outcome": "answered",
        "generated_at": datetime(2026, 11, 1, 12, number, 0, 250_000, tzinfo=UTC),
        "decision": "accepted",
        "quality_score": 0.5 + number / 10,
        "moods": ["wry"] if number % 2 else [],
    }
    return facts | changes


def parts(*samples: dict[str, Any]) -> Parts:
    rows = list(samples) or [sample(number) for number in range(5)]

    def table(name: str) -> pl.DataFrame:
        return TABLES[name].frame([{key: row[key] for key in TABLES[name].dtypes if key in row} for row in rows])

    assessments = [
        {"sample_id": row["sample_id"], "name": name, "value": value}
        for row in rows
        for name, value in {"words": 7.0, "repetition": None, "language": 0.1 + 0.2}.items()
    ]
    tags = [
        {"sample_id": row["sample_id"], "name": "mood", "value": mood, "source_id": WORDS_SOURCE}
        for row in rows
        for mood in row["moods"]
    ]
    return Parts(
        members=pl.DataFrame(
            [{key: row[key] for key in ("sample_id", "content_sha256", "split", "batch")} for row in rows]
        ),
        samples=table("samples"),
        requests=table("requests"),
        generations=table("generations"),
        decisions=table("decisions"),
        assessments=TABLES["assessments"].frame(assessments),
        tags=TABLES["tags"].frame(tags),
        texts=pl.DataFrame([{"sample_id": row["sample_id"], "field": "text", "text": row["text"]} for row in rows]),
    )


def contents(
    *samples: dict[str, Any], model: RecipeModel | None = None, cost_usd: float | None = 0.0125, **changes: Any
) -> Contents:
    made = sample_lines(parts(*samples))
    batches = sorted({json.loads(line)["batch"] for line in made})
    verdicts = [
        {"batch": batch, "stage": stage, "gate": gate, "passed": True}
        for batch in batches
        for stage, gate in ((Stage.GENERATED, "contract"), (Stage.CURATED, "label_balance"), (Stage.CURATED, "drift"))
    ]
    costs = [cost_usd] + [0.0] * (len(batches) - 1)
    figures = {"requested": 3, "answered": 3, "parsed": 3, "accepted": 3, "recipe_sha256": "r" * 64}
    whole = Contents(
        model=model or RecipeModel.model_validate(RECIPE),
        version=2,
        parent_version=1,
        digest="d" * 64,
        lines=made,
        batches={batch: {**figures, "cost_usd": cost} for batch, cost in zip(batches, costs, strict=True)},
        verdicts=verdicts,
        batches_left_out={"2026-11-09": "curated", "2026-11-08": "scored"},
    )
    return replace(whole, **changes)


def mixed(whole: Parts, seed: int) -> Parts:
    """The same parts with the rows of every table in another order."""
    frames = {
        field.name: getattr(whole, field.name).sample(fraction=1.0, shuffle=True, seed=seed) for field in fields(whole)
    }
    return replace(whole, **frames)


def lines(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files["samples.jsonl"].splitlines()]


def front_matter(card: str) -> Any:
    return next(yaml.safe_load_all(card.removeprefix("---\n").partition("\n---\n")[0]))


# --- bytes


@pytest.mark.parametrize("seed", range(5))
def test_the_same_contents_give_the_same_bytes_whatever_the_order_of_rows(seed: int) -> None:
    whole, made = parts(), contents()
    turned = {name: dict(reversed(getattr(made, name).items())) for name in ("batches", "batches_left_out")}

    assert sample_lines(mixed(whole, seed)) == made.lines
    assert release_files(replace(made, verdicts=made.verdicts[::-1], **turned)) == release_files(made)


@pytest.mark.parametrize(
    "change", [{"text": "Another door."}, {"quality_score": 0.1}, {"label": "negative"}, {"split": "test"}]
)
def test_another_content_gives_other_bytes(change: dict[str, Any]) -> None:
    here, there = (release_files(contents(sample(0, **each), sample(1))) for each in ({}, change))

    assert here["samples.jsonl"] != there["samples.jsonl"]
    assert here["manifest.json"] != there["manifest.json"]


def test_a_release_has_the_files_of_the_contract() -> None:
    files = release_files(contents(sample(0), sample(1, split="test")))

    assert sorted(files) == [
        "README.md",
        "data/test.parquet",
        "data/train.parquet",
        "manifest.json",
        "meta.json",
        "samples.jsonl",
    ]


def test_the_manifest_knows_every_other_file_by_hash_and_size() -> None:
    files = release_files(contents())
    manifest = json.loads(files["manifest.json"])

    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    assert manifest["digest"] == "d" * 64
    assert manifest["counts"] == {"samples": 5, "labels": {"positive": 3, "negative": 2}}
    assert len(manifest["verdicts"]) == 6
    assert manifest["batches_left_out"] == {"2026-11-08": "scored", "2026-11-09": "curated"}


def test_a_version_tells_its_difference_in_a_file_of_its_own_and_the_first_has_none() -> None:
    diff = {"from": "v1", "counts": {"added": 5}}

    assert json.loads(release_files(contents(diff=diff))["diff.json"]) == diff
    assert "diff.json" not in release_files(contents())


def test_the_card_names_batches_that_are_inside_by_older_rules_or_an_older_revision() -> None:
    made = contents(
        batches_behind={"2026-11-01": "curated"}, as_judged={"2026-11-02": "drift 0.2, where today at most 0.1"}
    )
    card = release_files(made)["README.md"].decode()

    assert "batch 2026-11-01 is inside as it was last green: what came since is held back at curated" in card
    assert "## Inside by the rules of their time" in card
    assert "batch 2026-11-02: drift 0.2, where today at most 0.1" in card


def test_the_content_hash_of_a_line_can_be_computed_from_the_line() -> None:
    line = json.loads(sample_lines(parts(sample(1)))[0])
    told = json.dumps(
        {"fields": line["fields"], "label": line["label"]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )

    assert told_content(line) == hashlib.sha256(told.encode()).hexdigest()


# --- rows


def test_a_line_of_samples_has_exactly_the_keys_of_the_contract_in_their_order() -> None:
    for line in lines(release_files(contents())):
        assert list(line) == KEYS


def test_a_line_says_everything_about_its_sample() -> None:
    (line,) = lines(release_files(contents(sample(3))))

    assert line == {
        "sample_id": "s3",
        "content_sha256": hashlib.sha256(b"3").hexdigest(),
        "split": "train",
        "task_type": "classification",
        "language": "en",
        "label": "negative",
        "fields": {"text": 'Door 3 is "warm" \u2014 \u00e9, and\u2028wide.'},
        "tags": {"part": "door", "tone": "wry", "mood": "wry"},
        "tag_sources": {"part": "drawn", "tone": "drawn", "mood": WORDS_SOURCE},
        "prompt_name": "lines",
        "prompt_version": "1",
        "template_sha256": "t" * 64,
        "prompt_sha256": "p" * 64,
        "model": "fake-base",
        "generation_params": {"temperature": 0.8},
        "generated_at": "2026-11-01T12:03:00.250000+00:00",
        "batch": "2026-11-02",
        "generation_id": "g3",
        "assessments": {"language": 0.30000000000000004, "repetition": None, "words": 7.0},
        "quality_score": 0.8,
        "generator": "synth-assets",
    }


def test_lines_come_by_batch_attempt_and_ordinal() -> None:
    assert [line["sample_id"] for line in lines(release_files(contents()))] == ["s2", "s1", "s0", "s4", "s3"]


def test_only_members_are_released_though_their_batches_hold_more() -> None:
    whole = parts()
    inside = whole.members.filter(pl.col("sample_id").is_in(["s1", "s4"]))

    assert [row["sample_id"] for row in sample_rows(replace(whole, members=inside))] == ["s1", "s4"]


def test_parquet_holds_the_same_rows_as_the_lines_of_its_split() -> None:
    files = release_files(contents(sample(0), sample(1, split="test"), sample(2, quality_score=None)))
    released = lines(files)

    for split in ("train", "test"):
        frame = pl.read_parquet(BytesIO(files[f"data/{split}.parquet"]))
        mine = [line for line in released if line["split"] == split]
        assert frame["text"].to_list() == [line["fields"]["text"] for line in mine]
        assert frame["label"].to_list() == [line["label"] for line in mine]
        assert frame["quality_score"].to_list() == [line["quality_score"] for line in mine]
        assert set(frame["prompt_template"]) == {"lines@1"}


def test_a_flat_file_that_says_something_else_than_the_lines_is_never_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(lines: list[dict[str, Any]], **known: Any) -> bytes:
        return flat_file([{**line, "fields": {"text": "another"}} for line in lines], **known)

    monkeypatch.setattr(release, "flat_file", wrong)

    with pytest.raises(IntegrityError, match=r"data/train\.parquet: s2: text"):
        release_files(contents())


def test_parquet_has_a_column_for_every_tag_in_every_split_and_null_where_a_sample_has_none() -> None:
    files = release_files(contents(sample(0), sample(1, split="test"), sample(2, axes='{"part":"roof"}')))

    train, test = (pl.read_parquet(BytesIO(files[f"data/{split}.parquet"])) for split in ("train", "test"))
    assert train.schema == test.schema
    assert train.select("sample_id", "tag_mood", "tag_part", "tag_tone").rows() == [
        ("s2", None, "roof", None),
        ("s0", None, "door", "wry"),
    ]
    assert test["tag_mood"].to_list() == ["wry"]


def test_meta_and_card_count_every_tag_by_value() -> None:
    model = RecipeModel.model_validate(RECIPE | {"tags": {"mood": {"kind": "words", "values": {"wry": ["oddly"]}}}})
    files = release_files(contents(*(sample(n, axes='{"former":"a"}') for n in range(4)), model=model))

    assert json.loads(files["meta.json"])["tag_counts"] == {"former": {"a": 4}, "mood": {"wry": 2}}
    rows = [line for line in files["README.md"].decode().splitlines() if line.startswith(("| mood", "| former"))]
    assert rows == ["| former | before | a 4 |", "| mood | words | wry 2 |"]


# --- meta


def test_drawn_numbers_are_tags_in_words_and_the_card_counts_those_that_nearly_all_differ() -> None:
    samples = [
        sample(n, batch="2026-11-01", ordinal=n, axes=json.dumps({"stars": n % 2 + 1, "size": n / 4}))
        for n in range(21)
    ]

    files = release_files(contents(*samples))

    first = json.loads(files["samples.jsonl"].splitlines()[0])
    assert first["tags"]["stars"] == "1"
    assert pl.read_parquet(BytesIO(files["data/train.parquet"])).schema["tag_size"] == pl.String
    assert len(json.loads(files["meta.json"])["tag_counts"]["size"]) == 21
    assert "| stars | before | 1 11, 2 10 |" in files["README.md"].decode()
    assert "| size | before | 21 different values |" in files["README.md"].decode()


def test_meta_says_what_the_release_is() -> None:
    files = release_files(contents(sample(0), sample(1, model="other"), sample(4, prompt_version="2")))

    assert json.loads(files["meta.json"]) == {
        "dataset": "tiny",
        "version": "v2",
        "date": "2026-11-02",
        "generator": ["fake-base", "other"],
        "task_type": "classification",
        "prompt_template": ["lines@1", "lines@2"],
        "quality_score_avg": 0.666667,  # (0.5 + 0.6 + 0.9) / 3
        "num_samples": 3,
        "digest": "d" * 64,
        "parent_version": "v1",
        "label_counts": {"positive": 2, "negative": 1},
        "tag_counts": {"mood": {"wry": 1}, "part": {"door": 3}, "tone": {"wry": 3}},
        "cost_usd": 0.0125,
    }


def test_what_is_unknown_is_null_and_the_card_says_so() -> None:
    files = release_files(contents(sample(0, quality_score=None), cost_usd=None, parent_version=None))
    meta = json.loads(files["meta.json"])

    assert (meta["quality_score_avg"], meta["cost_usd"], meta["parent_version"]) == (None, None, None)
    assert "| cost | unknown: a price is missing |" in files["README.md"].decode()
    assert "| mean quality score | unknown |" in files["README.md"].decode()


def test_a_label_the_recipe_has_given_up_is_still_counted() -> None:
    meta = json.loads(release_files(contents(sample(0), sample(1, label="neutral")))["meta.json"])

    assert meta["label_counts"] == {"positive": 1, "negative": 0, "neutral": 1}


# --- the card


def test_the_card_names_the_splits_that_have_a_file_and_no_others() -> None:
    shares = RECIPE | {"splits": {"train": 0.8, "validation": 0.1, "test": 0.1}}
    files = release_files(contents(sample(0), sample(1, split="test"), model=RecipeModel.model_validate(shares)))

    (config,) = front_matter(files["README.md"].decode())["configs"]

    assert [(entry["split"], entry["path"]) for entry in config["data_files"]] == [
        ("test", "data/test.parquet"),
        ("train", "data/train.parquet"),
    ]
    assert {entry["path"] for entry in config["data_files"]} <= set(files)


def test_no_sample_text_is_in_the_card_the_meta_or_the_manifest() -> None:
    files = release_files(contents(sample(0, text="CANARY in the coal mine.")))

    assert [name for name, data in sorted(files.items()) if b"CANARY" in data] == [
        "data/train.parquet",
        "samples.jsonl",
    ]


def test_the_card_says_how_samples_were_judged() -> None:
    card = release_files(contents())["README.md"].decode()

    assert "| words | 3 to 60 | Shorter lines are fragments. |" in card
    assert "| refusal | at most 0 |" in card
    assert "- repetition: weight 3, from 0.5 to 0" in card
    assert "- batch 2026-11-08: held back at scored\n- batch 2026-11-09: held back at curated" in card


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_in_a_recipe_are_shown_and_do_nothing(text: str) -> None:
    rules = {"words": {"min": 3, "because": text}}
    hostile = RecipeModel.model_validate(RECIPE | {"description": text, "license": text[:100], "rules": rules})
    row = sample(0, model=text, prompt_name=text)

    card = release_files(contents(row, sample(1), model=hostile))["README.md"].decode()
    tame = release_files(contents(sample(0), sample(1)))["README.md"].decode()
    body, expected = (AS_GITHUB.render(each.partition("\n---\n")[2]) for each in (card, tame))

    assert front_matter(card)["license"] == text[:100]
    assert front_matter(card)["configs"] == front_matter(tame)["configs"]
    tags, wanted = (re.findall(r"</?\w+", each) for each in (body, expected))
    rows_of_other_rules = len(RECIPE["rules"]) - 1
    assert tags.count("<tr") == wanted.count("<tr") - rows_of_other_rules
    assert set(tags) == set(wanted)
    assert body.count(html.escape(" ".join(text.split()))) == 4  # description, generator, prompt, reason


def _shown(tokens: list[Any]) -> Iterator[str]:
    for token in tokens:
        if token.type in {"text", "text_special"}:
            yield token.content
        yield from _shown(token.children or [])


@given(st.text(st.sampled_from("\\`*_{}[]()#+!|~<>&;=-.:0123abx \n\"'/@$^%"), max_size=40))
def test_markdown_shows_escaped_text_as_it_is(text: str) -> None:
    plain = " ".join(text.split())

    alone = AS_GITHUB.parse(f"above\n\n{escaped(text)}\n\nbelow")
    cell = AS_GITHUB.parse(f"| a | b |\n|---|---|\n| left | {escaped(text)} |\n")

    assert "".join(_shown(alone)) == f"above{plain}below"
    assert {token.type for token in alone} == {"paragraph_open", "inline", "paragraph_close"}
    assert "".join(_shown(cell)) == f"ableft{plain}"
