"""Two batches beside each other, two versions beside each other: numbers worked out by hand, and their pictures."""

from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.domain.comparison import BatchRows, Line, acceptance_of, compare, measures, previous_green
from synth_assets.domain.figures import WIDTH, Bar, chart, histogram, image, whole_edges
from synth_assets.domain.version_diff import version_diff
from synth_assets.tables import TABLES
from synth_assets.vocabulary import BATCH_STAGES

Sample = tuple[str | None, float | None, float | None, str, str | None]
"""Label, words, quality score, decision and reason."""


def rows_of(*samples: Sample, prompts: str = "", quarantined: int = 0) -> BatchRows:
    """A batch of one answered request a sample, rendered from the versions of `lines` named by ``prompts``."""
    ids = [f"s{place}" for place in range(len(samples))]
    asked = [f"r{place}" for place in range(len(samples) + quarantined)]
    outcomes = ["answered"] * len(samples) + ["quarantined"] * quarantined

    def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
        return TABLES[name].frame(rows)

    versions = prompts.ljust(len(asked), "1")
    judged = zip(ids, samples, strict=True)
    return BatchRows(
        requests=table(
            "requests",
            [
                {"request_id": each, "prompt_name": "lines", "prompt_version": version}
                for each, version in zip(asked, versions, strict=True)
            ],
        ),
        generations=table("generations", [{"outcome": each} for each in outcomes]),
        samples=table(
            "samples",
            [{"sample_id": f"s{n}", "request_id": f"r{n}", "label": each[0]} for n, each in enumerate(samples)],
        ),
        assessments=table(
            "assessments",
            [{"sample_id": f"s{n}", "name": "words", "value": each[1]} for n, each in enumerate(samples)],
        ),
        decisions=table(
            "decisions",
            [
                {"sample_id": name, "quality_score": each[2], "decision": each[3], "reason": each[4]}
                for name, each in judged
            ],
        ),
    )


def accepted(label: str, words: float, quality: float | None) -> Sample:
    return (label, words, quality, "accepted", None)


def rejected(reason: str) -> Sample:
    return ("pos", 5.0, 0.1, "rejected", reason)


BEFORE = rows_of(accepted("pos", 10, 0.2), accepted("pos", 20, 0.4), accepted("pos", 30, 0.6), accepted("neg", 40, 0.8))
NOW = rows_of(
    accepted("pos", 30, 0.5),
    accepted("neg", 50, None),
    rejected("length"),
    rejected("superseded"),
    rejected("surplus"),
    prompts="112",
    quarantined=1,
)


def line(section: str, name: str) -> Line:
    return next(each for each in compare(NOW, BEFORE).lines if (each.section, each.name) == (section, name))


@pytest.mark.parametrize(
    ("section", "name", "before", "now", "difference"),
    [
        ("counts", "planned", 4, 6, 2),
        ("counts", "answered", 4, 5, 1),
        ("counts", "quarantined", 0, 1, 1),
        ("counts", "samples", 4, 5, 1),
        ("counts", "accepted", 4, 2, -2),
        ("counts", "rejected", 0, 3, 3),
        ("rejected", "length", 0, 1, 1),  # the other batch has no such reason: none were rejected for it
        ("label share", "pos", 0.75, 0.5, -0.25),
        ("words", "mean", 25, 40, 15),
        ("words", "50% quantile", 25, 40, 15),
        ("words", "90% quantile", 37, 48, 11),
        ("quality score", "mean", 0.5, 0.5, 0),
        ("acceptance by prompt", "lines@1", 1, 1, 0),  # of s0, s1, s4; s3 was superseded, s4 is good but surplus
        ("acceptance by prompt", "lines@2", None, 0, None),
    ],
)
def test_every_number_stands_beside_the_other_batchs(
    section: str, name: str, before: float | None, now: float | None, difference: float | None
) -> None:
    found = line(section, name)

    assert (found.before, found.now, found.difference) == pytest.approx((before, now, difference))


def test_distances_are_those_of_the_drift_gate() -> None:
    # words: at 20 half of the one lies below and none of the other; labels: 0.75/0.25 against 0.5/0.5
    assert compare(NOW, BEFORE).distances == {"words": 0.5, "quality_score": 0.5, "label": 0.25}


def test_superseded_samples_say_nothing_about_a_prompt() -> None:
    assert acceptance_of(NOW).rows() == [("lines@1", 3, 3), ("lines@2", 1, 0)]


def test_a_batch_that_was_not_judged_yet_has_counts_and_no_shares() -> None:
    unjudged = BatchRows(NOW.requests, NOW.generations, NOW.samples, NOW.assessments.clear(), NOW.decisions.clear())
    found = measures(unjudged)

    assert found["counts", "samples"] == 5
    assert {name: found["label share", name] for name in ("pos", "neg")} == {"pos": None, "neg": None}
    assert found["words", "mean"] is None
    assert compare(unjudged, BEFORE).distances == {"words": None, "quality_score": None, "label": None}


some_samples = st.lists(
    st.tuples(
        st.sampled_from(["pos", "neg", None]),
        st.none() | st.floats(0, 100),
        st.none() | st.floats(0, 1),
        st.sampled_from(["accepted", "rejected", "pending_review"]),
        st.sampled_from(["length", "surplus", "superseded"]),
    ).map(lambda each: each if each[3] == "rejected" else (*each[:4], None)),
    max_size=8,
)


@settings(deadline=None, max_examples=30)
@given(some_samples)
def test_a_batch_does_not_differ_from_itself(samples: list[Sample]) -> None:
    found = compare(rows_of(*samples), rows_of(*samples))

    assert {each.difference for each in found.lines} <= {0.0, None}
    assert set(found.distances.values()) == {0.0 if rows_of(*samples).accepted.height else None}


@settings(deadline=None, max_examples=30)
@given(some_samples, some_samples)
def test_the_other_way_round_every_difference_changes_its_sign(left: list[Sample], right: list[Sample]) -> None:
    there = {(each.section, each.name): each for each in compare(rows_of(*left), rows_of(*right)).lines}
    back = {(each.section, each.name): each for each in compare(rows_of(*right), rows_of(*left)).lines}

    assert there.keys() == back.keys()
    for name, each in there.items():
        assert each.difference == (None if back[name].difference is None else -back[name].difference)


def green_commits(*batches: str) -> list[dict[str, Any]]:
    steps = ["generation_plan", *map(str, BATCH_STAGES)]
    return [
        {"partition": batch, "stage": stage, "commit_seq": place, "passed": True}
        | {"input_digest": f"{place}", "output_digest": f"{place + 1}"}
        for batch in batches
        for place, stage in enumerate(steps)
    ]


def test_the_batch_before_is_the_latest_earlier_one_that_is_green() -> None:
    red = [{**each, "passed": each["stage"] != "curated"} for each in green_commits("2026-11-03")]
    frame = TABLES["stage_commits"].frame([*green_commits("2026-11-01", "2026-11-02", "2026-11-05"), *red])

    found = {batch: previous_green(frame, batch) for batch in ("2026-11-01", "2026-11-02", "2026-11-04", "2026-11-09")}

    assert found == {"2026-11-01": None, "2026-11-02": "2026-11-01", "2026-11-04": "2026-11-02"} | {
        "2026-11-09": "2026-11-05"
    }


# --- versions


def members(**contents: str) -> pl.DataFrame:
    rows = [
        {"sample_id": name, "content_sha256": content, "split": "train", "batch": "b"}
        for name, content in contents.items()
    ]
    return pl.DataFrame(rows)


ABOUT = pl.DataFrame(
    {
        "sample_id": ["s0", "s1", "s2", "s3"],
        "label": ["pos", "neg", "pos", None],
        "prompt": ["lines@1", "lines@1", "lines@2", "lines@2"],
        "words": [10.0, 20.0, 30.0, 40.0],
        "quality_score": [0.2, 0.4, 0.6, None],
    }
)


def test_a_version_diff_names_what_came_went_and_changed() -> None:
    found = version_diff(members(s0="a", s1="b", s2="c"), members(s0="a", s2="other", s3="d"), ABOUT)

    assert found.samples == {"added": ["s3"], "removed": ["s1"], "changed": ["s2"]}
    assert found.labels == {
        "neg": {"added": 0, "removed": 1, "changed": 0},
        "no label": {"added": 1, "removed": 0, "changed": 0},
        "pos": {"added": 0, "removed": 0, "changed": 1},
    }
    assert found.prompts == {
        "lines@1": {"added": 0, "removed": 1, "changed": 0},
        "lines@2": {"added": 1, "removed": 0, "changed": 1},
    }
    means = {each.section: (each.before, each.now) for each in found.comparison.lines if each.name == "mean"}
    assert means["words"] == pytest.approx((20, 80 / 3))
    assert means["quality score"] == pytest.approx((0.4, 0.4))


def test_another_split_is_a_change() -> None:
    there = members(s0="a")

    found = version_diff(there, there.with_columns(split=pl.lit("test")), ABOUT)

    assert found.samples == {"added": [], "removed": [], "changed": ["s0"]}


def test_a_version_does_not_differ_from_itself() -> None:
    found = version_diff(members(s0="a", s3="d"), members(s0="a", s3="d"), ABOUT)

    assert found.samples == {"added": [], "removed": [], "changed": []}
    assert (found.labels, found.prompts) == ({}, {})
    assert {each.difference for each in found.comparison.lines} == {0.0}


# --- pictures

SVG = "{http://www.w3.org/2000/svg}"


def test_a_histogram_holds_shares_and_every_bound_belongs_to_the_bin_above() -> None:
    bars = histogram([0.0, 0.5, 0.5, 1.0], [0.2], edges=[0.0, 0.5, 1.0])

    assert bars == [Bar("0", 0.25, 1.0), Bar("0.5", 0.75, 0.0)]


def test_a_histogram_of_nothing_is_flat() -> None:
    assert histogram([], None, edges=[0.0, 1.0]) == [Bar("0", 0.0, None)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 500).map(float)), st.lists(st.integers(0, 500).map(float)), st.integers(1, 15))
def test_whole_edges_hold_every_value_in_few_bins(now: list[float], before: list[float], most: int) -> None:
    edges = whole_edges(now, before, most=most)
    bars = histogram(now, before, edges=edges)

    assert 1 <= len(bars) <= most
    assert sum(bar.now for bar in bars) == pytest.approx(1.0 if now else 0.0)
    assert sum(bar.before or 0.0 for bar in bars) == pytest.approx(1.0 if before else 0.0)


def test_a_chart_draws_heights_in_proportion_and_a_mark_for_the_batch_before() -> None:
    root = ET.fromstring(chart("words", [Bar("a", 0.5, 0.25), Bar("b", 0.25)]))
    first, second = root.iter(f"{SVG}rect")

    assert float(first.get("height")) == pytest.approx(2 * float(second.get("height")), abs=0.1)
    assert len(list(root.iter(f"{SVG}path"))) == 2  # the ground and one mark
    assert [text.text for text in root.iter(f"{SVG}text")] == ["words, up to 50%", "a", "b"]


def test_bars_stay_inside_the_picture() -> None:
    root = ET.fromstring(chart("words", [Bar("", 1.0, 1.0)] * 12))

    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x")) + float(rect.get("width")) <= WIDTH
        assert float(rect.get("y")) >= 0


def test_a_hostile_name_is_drawn_and_does_nothing() -> None:
    hostile = "<a>&\"'</svg>"
    root = ET.fromstring(chart(hostile, [Bar(hostile, 1.0)]))

    assert {each.tag for each in root.iter()} == {f"{SVG}{name}" for name in ("svg", "text", "rect", "path")}
    assert [text.text for text in root.iter(f"{SVG}text")][1] == hostile


def test_an_image_is_held_in_the_text() -> None:
    assert image("<svg/>", "words") == "![words](data:image/svg+xml;base64,PHN2Zy8+)"
