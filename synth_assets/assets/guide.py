"""What a person who meets an asset in the web UI is told beyond what it is: what to do next, and where to read on.

The words live here and not beside the bodies, so that they can be read and corrected in one go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from resources.places import PROJECT
from synth_assets.recipe.loader import Recipe
from synth_assets.vocabulary import Stage

SPENDS, PUBLISHES = "spends", "publishes"
"""Tags of what calls a model, and of what others may follow."""


@dataclass(frozen=True)
class Guide:
    """What to do with an asset.

    Attributes:
        then: what a newcomer does next; ``{dataset}`` stands for the dataset.
        docs: page and heading to read on, below ``docs/``.
        tag: `SPENDS` or `PUBLISHES`, if it does.
    """

    then: str
    docs: str
    tag: str | None = None


GUIDES: Mapping[str, Guide] = {
    "prompt_templates": Guide(
        "To change a prompt, edit its file, raise its `version` and materialize this; it counts from the next plan on. "
        "To make a batch, launch the job `{dataset}_batch`, which runs this first.",
        "recipes.md#prompts",
    ),
    "seeds": Guide(
        "To add rows, append them to the JSONL file and materialize this; they count from the next plan on.",
        "recipes.md#seeds",
    ),
    Stage.GENERATION_PLAN: Guide(
        "Launch the job `{dataset}_batch` for a partition: it goes from here to `training_ready`. "
        "Materialized alone, this plans and pays nothing.",
        "recipes.md#recipe.yaml",
    ),
    Stage.GENERATED: Guide(
        "The one asset that calls the model. If a partition is red, its Checks tab names the gate; "
        "`{dataset}_batch` for the same partition pays only for what is missing.",
        "tables.md#generations",
        SPENDS,
    ),
    Stage.SCORED: Guide(
        "The means are plotted by partition: a step between two batches says what changed. Nothing is to be done here.",
        "recipes.md#assessments",
    ),
    Stage.CURATED: Guide(
        "If a partition is red, the check that failed shows the threshold, its reason and the funnel. "
        "`{dataset}_batch` for the same partition asks for the missing samples; after a changed threshold, materialize "
        "this alone, which pays nothing.",
        "recipes.md#recipe.yaml",
    ),
    Stage.TRAINING_READY: Guide(
        "Green partitions enter the next version: `synth release {dataset}`, or the sensor `release`.",
        "tables.md#training_examples",
    ),
    Stage.DATASET_VERSION: Guide(
        "`synth release {dataset}` adds the next partition and cuts it; materializing one that is there verifies it.",
        "tables.md#dataset_versions",
        PUBLISHES,
    ),
    Stage.MODEL_RUN: Guide(
        "Materialize it for a version that is there, or `synth train {dataset}@v1`. "
        "The preview holds the model beside its baselines, with their intervals.",
        "tables.md#evaluations",
    ),
}
"""One for every asset of a dataset."""


def guided(spec: dg.AssetSpec, recipe: Recipe) -> dg.AssetSpec:
    """Return an asset's spec with its guide in the description, and links to the recipe and the documentation."""
    guide = GUIDES[spec.key.path[-1]]
    described = f"{spec.description}\n\n**Next:** {guide.then.format(dataset=recipe.dataset)}"
    links = reading(guide.docs) | {"recipe": dg.MetadataValue.path(recipe.folder / "recipe.yaml")}
    tags = {guide.tag: ""} if guide.tag else {}
    return spec.replace_attributes(description=described).merge_attributes(metadata=links, tags=tags)


def reading(page: str) -> dict[str, dg.MetadataValue[str]]:
    """Return the metadata that leads to a page of the documentation.

    Args:
        page: file and heading below ``docs/``.
    """
    return {"docs": dg.MetadataValue.path(PROJECT / "docs" / page)}
