"""What a model costs, as a recipe or `providers.yaml` says it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from synth_assets.recipe.strict import Strict


class PriceModel(Strict):
    """A dated price."""

    input_usd_per_million: float = Field(ge=0)
    output_usd_per_million: float = Field(ge=0)
    as_of: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
