"""What every key of a recipe has in common: names, reasons, and that nothing unknown is ignored."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Names of prompts, axes, values and files."""

LONGEST_LABEL = 100


def label_text(text: str) -> str:
    """Return a label as it is compared: trimmed and composed (NFC).

    Raises:
        ValueError: it is empty, too long or holds control characters.
    """
    label = unicodedata.normalize("NFC", text.strip())
    if not label or len(label) > LONGEST_LABEL:
        raise ValueError(f"a label has 1 to {LONGEST_LABEL} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label):
        raise ValueError("a label holds no control characters and no line breaks")
    return label


LabelText = Annotated[str, AfterValidator(label_text)]
"""Labels: any text of one line."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Names that must also be Dagster and SQL names."""

Reason = Annotated[str, StringConstraints(min_length=10, max_length=300)]
"""Why a threshold is what it is."""


class Strict(BaseModel):
    """No unknown key is ever ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


RESERVED = frozenset({"marts", "broken_recipes"})
"""Names of groups in the web UI that are no dataset's."""
