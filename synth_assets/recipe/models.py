"""Which models a recipe is written by: their shares, and who stands in for whom."""

from pydantic import Field, field_validator

from synth_assets.errors import UsageError
from synth_assets.recipe.providers import EMBEDDED, FILE, Profiles
from synth_assets.recipe.strict import Strict
from synth_assets.recipe.strict_yaml import Document, Path_


class ModelUse(Strict):
    """A model of `providers.yaml` that writes a share of the requests."""

    model: str = Field(description="PROVIDER/MODEL of providers.yaml, or `embedded`.")
    weight: float = Field(default=1.0, gt=0, description="Its share of the requests, in any unit.")
    fallback: list[str] = Field(
        default_factory=list, max_length=5, description="Who is asked instead, in order, if it does not answer."
    )

    @field_validator("fallback")
    @classmethod
    def _nobody_twice(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("one model is named twice")
        return value


def refuse_unknown(
    uses: list[ModelUse], profiles: Profiles, *, where: Document, file: str, at: Path_ = ("generator", "models")
) -> None:
    """Refuse models nobody knows, and stand-ins that cannot take the same prompt.

    Raises:
        UsageError: with the line of the recipe.
    """
    for place, use in enumerate(uses):
        mode = _mode(use.model, profiles, f"{file}:{where.line_of((*at, place, 'model'))}")
        for number, name in enumerate(use.fallback):
            line = f"{file}:{where.line_of((*at, place, 'fallback', number))}"
            if name == use.model:
                raise UsageError(f"{name} cannot stand in for itself", where=line, fix="name another model")
            if _mode(name, profiles, line) != mode:
                raise UsageError(
                    f"{name} cannot stand in for {use.model}: it does not take {mode} prompts",
                    where=line,
                    fix=f"name a model with `mode: {mode}`",
                )


def _mode(name: str, profiles: Profiles, where: str) -> str:
    if name == EMBEDDED:
        return "completion"
    try:
        profile = profiles.find(name)
    except KeyError:
        known = ", ".join(sorted(profiles.providers[name.partition("/")[0]].models))
        raise UsageError(f"{FILE} has no model '{name}'", where=where, fix=f"name one of {known}") from None
    if profile is None:
        known = ", ".join(sorted(profiles.providers)) or "none yet"
        raise UsageError(
            f"{FILE} has no provider '{name.partition('/')[0]}'",
            where=where,
            fix=f"write PROVIDER/MODEL; providers: {known}",
        )
    return profile.settings.mode
