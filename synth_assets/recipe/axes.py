"""The `axes` of a recipe: what a request is asked for besides its label. How values are dealt lives in the domain."""

import re
from datetime import date, timedelta
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from synth_assets.recipe.strict import Identifier, LabelText, Name, Strict

MOST_NUMBERS = 10**12
"""Values a number axis may have; beyond it two of them would look alike."""

FORMAT_CODES = "YmdBbAajy%"
"""What may follow a % in the format of a date."""

Spread = Literal["uniform", "stratified"]
Cover = Literal["proportional", "factorial", "stratified", "random"]


class AxisValue(Strict):
    """One value of a control axis."""

    words: str = Field(default="", max_length=500, description="What the template sees; default is the value's name.")
    weight: float = Field(default=1.0, gt=0)


Values = Annotated[dict[Name, AxisValue], Field(min_length=1)]


class CategoryAxis(Strict):
    """Named values in proportion to their weights."""

    kind: Literal["category"]
    values: Values


class ConditionalAxis(Strict):
    """Named values whose choice and weights depend on the value of another axis, or on the label."""

    kind: Literal["conditional"]
    on: Name = Field(description="An axis of named values, or `label`.")
    values: dict[LabelText, Values] = Field(description="What may follow each value of `on`.")


class NumberAxis(Strict):
    """A number between two bounds, both included."""

    kind: Literal["number"]
    min: float
    max: float
    step: float | None = Field(default=None, gt=0, description="Distance of neighbours, counted from `min`.")
    decimals: int | None = Field(default=None, ge=0, le=9, description="Digits behind the point, in place of `step`.")
    spread: Spread = Field(default="uniform", description="Independent draws, or one from each of as many strata.")

    @model_validator(mode="after")
    def _has_values(self) -> "NumberAxis":
        if self.step is not None and self.decimals is not None:
            raise ValueError("give `step` or `decimals`, not both")
        if not 1 < self.size <= MOST_NUMBERS:
            raise ValueError(f"from {self.min:g} to {self.max:g} there are not two to {MOST_NUMBERS:.0e} values")
        return self

    @property
    def size(self) -> int:
        """How many values there are; below 1 if `max` lies before `min`."""
        return (self._exact(self.max) - self._exact(self.min)) // self._unit + 1

    def at(self, place: int) -> int | float:
        """Return the value of a place from 0; whole numbers if `min` and the distances are whole."""
        start, unit = self._exact(self.min), self._unit
        value = start + unit * place
        return int(value) if start.denominator == unit.denominator == 1 else float(value)

    @property
    def _unit(self) -> Fraction:
        return self._exact(self.step) if self.step is not None else Fraction(1, 10 ** (self.decimals or 0))

    @staticmethod
    def _exact(value: float) -> Fraction:
        return Fraction(str(value))  # 0.1 as written, not as stored


class DateAxis(Strict):
    """A day between two days, both included."""

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["date"]
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    format: str = Field(default="%Y-%m-%d", max_length=100, description="How templates see it, in strftime's codes.")
    spread: Spread = "uniform"

    @field_validator("first", "last", mode="before")
    @classmethod
    def _is_a_day(cls, value: Any) -> Any:
        if not (isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value)):
            raise ValueError("a day is written like 2026-11-01")
        return value

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, value: str) -> str:
        strange = re.search(rf"%(?![{FORMAT_CODES}])", value.replace("%%", ""))
        if strange:
            raise ValueError(f"after a % stands one of {', '.join(FORMAT_CODES)}")
        return value

    @model_validator(mode="after")
    def _goes_forward(self) -> "DateAxis":
        if self.last < self.first:
            raise ValueError("`to` lies before `from`")
        return self

    @property
    def size(self) -> int:
        """How many days there are."""
        return (self.last - self.first).days + 1

    def at(self, place: int) -> date:
        """Return the day of a place from 0."""
        return self.first + timedelta(days=place)


class TableAxis(Strict):
    """A row of a seed table, whose fields templates see; every row is dealt before one is dealt again."""

    kind: Literal["table"]
    table: Identifier = Field(description="A key of `seeds`.")
    order: Literal["ordered", "shuffled"] = "shuffled"


def _written_out(value: Any) -> Any:
    """Values without a `kind` are a category."""
    is_short = isinstance(value, dict) and not isinstance(value.get("kind"), str)
    return {"kind": "category", "values": value} if is_short else value


Axis = Annotated[
    Annotated[CategoryAxis | ConditionalAxis | NumberAxis | DateAxis | TableAxis, Field(discriminator="kind")],
    BeforeValidator(_written_out),
]
"""One control axis; `kind` says which keys it takes."""
