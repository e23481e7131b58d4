"""The `rotation` of a recipe: by what the requests of a plan are divided among its prompts."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from synth_assets.recipe.strict import Strict


class WeightsRotation(Strict):
    """By the weights of the prompts."""

    kind: Literal["weights"] = "weights"


class AdaptiveRotation(Strict):
    """By what an accepted sample cost with each prompt so far."""

    kind: Literal["adaptive"] = "adaptive"
    floor: float = Field(default=0.1, gt=0, le=0.5, description="Smallest share of the requests a prompt keeps.")
    memory: int = Field(default=10, ge=1, le=1000, description="Latest batches that are looked at.")


def _written_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Rotation = Annotated[
    Annotated[WeightsRotation | AdaptiveRotation, Field(discriminator="kind")], BeforeValidator(_written_out)
]
"""`weights`, `adaptive`, or `{kind: adaptive, ...}`."""


def refuse_high_floor(rotation: Rotation, prompts: int) -> None:
    """Refuse floors that are more than everything together.

    Raises:
        ValueError: with the key to look at.
    """
    if isinstance(rotation, AdaptiveRotation) and rotation.floor * prompts > 1:
        raise ValueError(f"rotation.floor: {prompts} prompts cannot keep {rotation.floor:g} each; 1 is everything")
