"""What every key of a recipe has in common: names, reasons, and that nothing unknown is ignored."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Names of prompts, axes, values and files."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Names that must also be Dagster and SQL names."""

Reason = Annotated[str, StringConstraints(min_length=10, max_length=300)]
"""Why a threshold is what it is."""


class Strict(BaseModel):
    """No unknown key is ever ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


RESERVED = frozenset({"marts", "broken_recipes"})
"""Names of groups in the web UI that are no dataset's."""
