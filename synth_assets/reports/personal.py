"""Which kinds of personal data were found in samples: kinds and counts, never the text."""

from collections import Counter
from collections.abc import Mapping

import orjson
import polars as pl

from synth_assets.checks.evidence import texts_of
from synth_assets.domain.scoring import find_pii
from synth_assets.domain.transactions import Lake
from synth_assets.recipe.regions import regions_of
from synth_assets.vocabulary import Assessment, Decision, Stage

PII = str(Assessment.PII)
"""Name of the score, and of the reason for which samples are rejected by it."""


def rejected_kinds(lake: Lake, dataset: str, batch: str) -> dict[str, int]:
    """Return how many samples of a batch were rejected for each kind of personal data; a sample may have several."""
    rejected = lake.read("decisions", dataset=dataset, batch=batch, decision=str(Decision.REJECTED))
    named = rejected.filter(reason=PII)["sample_id"].to_list()
    found = Counter(kind for kinds in kinds_of(lake, dataset, batch, named).values() for kind in set(kinds))
    return dict(found.most_common())


def kinds_of(lake: Lake, dataset: str, batch: str, samples: list[str]) -> Mapping[str, list[str]]:
    """Return the kinds found in some samples of a batch, as the scorer looks for them: by language and named regions.

    Args:
        lake: the lake.
        dataset: whose.
        batch: of the samples.
        samples: their ids.
    """
    if not samples:
        return {}
    commits = lake.read("stage_commits", dataset=dataset, partition=batch, stage=str(Stage.SCORED)).sort("commit_seq")
    recipe = orjson.loads(lake.get(commits["recipe_object"][-1], ".json")) if commits.height else {}
    named = recipe.get("pii_regions") or ()
    spoken = lake.read("samples", dataset=dataset, sample_id=samples).select("sample_id", "language")
    told = texts_of(lake, dataset=dataset, batch=batch).join(spoken, on="sample_id", how="inner")
    return {
        sample: [finding.kind for finding in find_pii(text, regions=regions_of(language or "", named))]
        for sample, text, language in told.select("sample_id", pl.col("text").fill_null(""), "language").iter_rows()
    }
