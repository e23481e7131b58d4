"""The shape of `recipe.yaml`: every key a recipe may have, with its meaning.

Loading, hashing and error messages live in `loader`; what the values do lives in the domain.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from synth_assets.recipe.axes import Axis, Cover, TableAxis
from synth_assets.recipe.axis_rules import LABEL, names_by_axis, refuse_too_many, refuse_wrong_axes
from synth_assets.recipe.cron import refuse_no_cron
from synth_assets.recipe.models import ModelUse
from synth_assets.recipe.prices import PriceModel
from synth_assets.recipe.providers import EMBEDDED
from synth_assets.recipe.rotation import Rotation, WeightsRotation, refuse_high_floor
from synth_assets.recipe.strict import RESERVED, Identifier, LabelText, Name, Reason, Strict, label_text
from synth_assets.recipe.tags import AxisTag, TagRule
from synth_assets.vocabulary import Assessment

MOST_ACCEPTED = 100_000
"""Accepted samples one batch may owe: a plan is made whole, and made again for every look at it."""

HOURLY_KEY = "%Y-%m-%dT%H"
DAILY_KEY = "%Y-%m-%d"

YEARS = range(1970, 2200)
"""In which batches may begin; calendars of schedules do not go on for ever."""

LANGUAGE = "language"
"""What samples are written in: the recipe's, or that of the axis of this name."""

LANGUAGE_CODE = re.compile(r"[a-z]{2}")
TEMPLATE_NAMES = {"label", LANGUAGE, "opening", "rows", "steps", "parent", "operation"}
"""What templates see beside the axes."""

OF_JINJA = {
    *("self", "loop", "super", "caller", "varargs", "kwargs", "range", "dict", "lipsum", "cycler", "joiner"),
    *("namespace", "true", "false", "none", "and", "or", "not", "in", "is", "if", "else", "for"),
}
"""Words that mean something to Jinja wherever they stand."""

ROUNDING = 1e-9
"""How far shares may miss 1 for being decimal fractions."""


class Batch(Strict):
    """The promise of a batch."""

    accept: int = Field(ge=1, le=MOST_ACCEPTED, description="Accepted samples a batch owes.")
    overdraw: float = Field(default=1.3, ge=1.0, le=10.0, description="Requests planned per missing sample.")
    max_attempts: int = Field(default=3, ge=1, le=20, description="Attempts before the batch is left to a person.")
    budget_usd: float | None = Field(default=None, gt=0, description="Hard limit of spending per batch.")


class Generator(Strict):
    """Which model writes, and how it samples."""

    model: str = Field(
        default=EMBEDDED,
        description="`embedded`, PROVIDER/MODEL of providers.yaml, or a model of the endpoint in SYNTH_LLM_BASE_URL.",
    )
    models: list[ModelUse] = Field(default_factory=list, max_length=20, description="Several instead of `model`.")
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1, description="llama.cpp only; other providers never see it.")
    max_tokens: int = Field(default=256, ge=1, le=32_768)
    stop: list[str] = Field(default_factory=list, max_length=4, description="Stop strings of completion prompts.")
    dispatch: Literal["online", "batch"] = Field(
        default="online", description="`batch` sends files to the provider's batch endpoint and waits for them."
    )
    concurrency: int = Field(default=16, ge=1, le=1024, description="Calls in flight against an endpoint.")
    deadline_s: float = Field(default=120, gt=0, description="Total time of one call, retries included.")
    max_tries: int = Field(default=5, ge=1, le=20, description="HTTP requests per call.")
    prices: dict[str, PriceModel] = Field(default_factory=dict, description="By model name; no price, no cost.")

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> "Generator":
        names = [use.model for use in self.models]
        if names and self.model != EMBEDDED:
            raise ValueError("give `model` or `models`, not both")
        if names and self.dispatch == "batch":
            raise ValueError("batch files go to one `model`, not to several")
        if len(set(names)) < len(names):
            raise ValueError("`models` names one twice; give it one weight")
        return self


class Label(Strict):
    """One label of a classification."""

    words: str = Field(default="", max_length=500, description="What the template sees; default is the label itself.")
    share: float = Field(gt=0, le=1, description="Its exact share of the requests; shares add up to 1.")


class Opening(Strict):
    """A seeded opening that the answer continues."""

    text: str = Field(min_length=1, max_length=300, description="Jinja over label and axes.")
    weight: float = Field(default=1.0, gt=0)
    when: dict[Name, list[LabelText]] = Field(
        default_factory=dict, description="Only if every named axis has a listed value."
    )


class SeedTable(Strict):
    """Rows a prompt draws from; JSONL with a `text` field and, for labelled shots, a `label`."""

    file: Annotated[str, StringConstraints(pattern=r"^seeds/[A-Za-z0-9._-]+\.jsonl$")]
    per_request: int = Field(default=1, ge=1, le=50, description="Rows drawn for each request.")
    match: list[Name] = Field(default_factory=list, description="Row fields that must equal the drawn axis value.")
    differ: list[Name] = Field(default_factory=list, description="Row fields that must not equal the drawn axis value.")
    order: Literal["random", "ordered", "shuffled"] = Field(
        default="random", description="Each request draws on its own, or every row is shown before one again."
    )
    is_example: bool = Field(
        default=False,
        description="Rows show what an answer looks like: copies are rejected, and a baseline learns from them.",
    )

    @property
    def is_dealt_whole(self) -> bool:
        """Whether nothing says which of its rows fit a request, how many it is shown, or in which order."""
        return self.per_request == 1 and self.order == "random" and not self.match and not self.differ


class StepUse(Strict):
    """A template that follows another one in the same request."""

    name: Name
    continues: bool = Field(
        default=False, description="The chat goes on: its messages, the answer, then this template's messages."
    )


class PromptUse(Strict):
    """A template of the recipe and how often it is used."""

    name: Name
    weight: float = Field(default=1.0, gt=0)
    then: list[StepUse] = Field(default_factory=list, max_length=10, description="Templates that follow, in order.")
    evolves: Literal["deepen", "broaden", "constrain"] | None = Field(
        default=None, description="The template rewrites an accepted sample of an earlier batch, its `parent`."
    )

    @property
    def chain(self) -> list[str]:
        """Names of its templates, first to last."""
        return [self.name, *(step.name for step in self.then)]


class Rule(Strict):
    """A sample is rejected when its assessment leaves the range."""

    min: float | None = None
    max: float | None = None
    because: Reason

    @model_validator(mode="after")
    def _has_a_bound(self) -> "Rule":
        if self.min is None and self.max is None:
            raise ValueError("a rule needs `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no value lies between min {self.min:g} and max {self.max:g}")
        return self

    def admits(self, value: float | None) -> bool:
        """Whether a value passes; a value that could not be computed passes."""
        if value is None:
            return True
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class Gates(Strict):
    """Thresholds of the gates that judge a batch as a whole."""

    answered_share: Rule = Field(description="Answered requests of an attempt, or of all that count.")
    acceptance_share: Rule = Field(description="Accepted or surplus samples of an attempt, or of all that count.")
    label_deviation: Rule | None = Field(
        default=None,
        description="Largest distance of a label's share among the accepted from its wanted share; goes with `labels`.",
    )
    drift: Rule = Field(
        description="Largest distance between this batch's distributions and those of the batches before."
    )
    unknown_provenance: Rule | None = Field(
        default=None, description="Share of ingested rows of which prompt, model, parameters or time is not known."
    )


class Weight(Strict):
    """How an assessment enters the quality score: 0 at `worst`, 1 at `best`, clipped between."""

    weight: float = Field(gt=0)
    worst: float
    best: float

    @model_validator(mode="after")
    def _has_a_direction(self) -> "Weight":
        if self.worst == self.best:
            raise ValueError("`worst` and `best` must differ")
        return self


FOLDER = "folder"
"""The reader of test rows that stand in the recipe's own folder."""


class RealDataUse(Strict):
    """What models are measured on: rows of an installed data set, or a file of the recipe's own folder."""

    reader: Identifier = Field(description="A reader the project knows, e.g. movie_reviews, or `folder`.")
    test_rows: int | None = Field(default=None, ge=100, description="Rows of an installed test set that are used.")
    test: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.jsonl$")] | None = Field(
        default=None, description="The file of reader `folder`; JSONL with `text` and `label`, shown in no prompt."
    )
    source: Annotated[str, StringConstraints(min_length=10, max_length=200)] | None = Field(
        default=None, description="Who wrote the rows of that file."
    )

    @model_validator(mode="after")
    def _has_what_its_reader_takes(self) -> "RealDataUse":
        wanted = {"test", "source"} if self.reader == FOLDER else {"test_rows"}
        given = {name for name in ("test_rows", "test", "source") if getattr(self, name) is not None}
        if given != wanted:
            raise ValueError(f"reader {self.reader} takes {' and '.join(sorted(wanted))}, and nothing else")
        return self


class Automation(Strict):
    """What happens to the dataset without a person, once its schedule and the sensors are switched on."""

    schedule: Literal["stopped", "running"] = Field(
        default="stopped", description="State of the schedule when the project is first loaded."
    )
    release_after: int | None = Field(
        default=None, ge=1, description="New accepted samples that make a version; default is the promise of one batch."
    )


class Trainer(Strict):
    """The model that consumes the data."""

    name: Identifier = "linear"
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)


class RecipeModel(Strict):
    """All of `recipe.yaml`."""

    dataset: Identifier
    description: str = Field(min_length=10, max_length=2000)
    owners: list[str] = Field(min_length=1, description="team:NAME or an e-mail address.")
    license: str = Field(min_length=2, max_length=100, description="Licence of the released data.")
    task_type: Literal[
        "classification", "instruction", "question_answering", "summary", "code", "dialogue", "preference"
    ]
    language: Annotated[str, StringConstraints(pattern=rf"^{LANGUAGE_CODE.pattern}$")]
    start: str = Field(description="First partition key.")
    cadence: Literal["hourly", "daily", "weekly"] = "daily"
    timezone: str = "UTC"
    cron: str | None = Field(default=None, description="When the schedule ticks; default is once per period.")
    batch: Batch
    generator: Generator
    labels: dict[LabelText, Label] = Field(
        default_factory=dict, description="At least two of a classification; other tasks may have none."
    )
    axes: dict[Name, Axis] = Field(default_factory=dict)
    cover: Cover = Field(default="proportional", description="How the values of several axes come together.")
    openings: list[Opening] = Field(default_factory=list)
    seeds: dict[Identifier, SeedTable] = Field(default_factory=dict)
    prompts: list[PromptUse] = Field(min_length=1)
    max_ancestry_depth: int = Field(default=3, ge=1, le=20, description="How often a sample may be evolved again.")
    rotation: Rotation = WeightsRotation()
    rules: dict[Assessment, Rule] = Field(description="Asked of every sample; breaking one rejects it.")
    pii_regions: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]] = Field(
        default_factory=list,
        max_length=30,
        description="Regions, ISO 3166, whose national numbers and telephones are personal data too, besides those of "
        "the language.",
    )
    tags: dict[Identifier, TagRule] = Field(default_factory=dict, description="Given to every sample; none decides.")
    gates: Gates
    quality_score: dict[Assessment, Weight] = Field(min_length=1)
    splits: dict[Literal["train", "validation", "test"], float]
    real_data: RealDataUse | None = None
    trainer: Trainer = Trainer()
    automation: Automation = Automation()

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what no recipe of an earlier time could say, so that its hash stays what it was."""
        return {name: value for name, value in dump(self).items() if name != "pii_regions" or value}

    def prompt(self, name: str) -> PromptUse:
        """Return the use of the template that begins a request by this name."""
        return next(use for use in self.prompts if use.name == name)

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_are_told_apart(cls, value: Any) -> Any:
        names = [name for name in value if isinstance(name, str)] if isinstance(value, dict) else []
        known = [label_text(name) for name in names if name.strip()]
        twice = sorted({name for name in known if known.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice, but for spaces or composed letters")
        return value

    @field_validator("dataset")
    @classmethod
    def _name_is_free(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"{value!r} is the name of a group of its own; rename the folder and this key")
        return value

    @field_validator("cron")
    @classmethod
    def _cron_is_one(cls, value: str | None) -> str | None:
        if value is not None:
            refuse_no_cron(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a name may be too long for a file
            raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from error
        return value

    @field_validator("owners")
    @classmethod
    def _owners_are_dagster_owners(cls, value: list[str]) -> list[str]:
        for owner in value:
            if not re.fullmatch(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
                raise ValueError(f"{owner!r} is neither team:NAME nor an e-mail address")
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> "RecipeModel":
        """Ask every rule across keys, so that an author hears of all that are broken at once."""
        broken = []
        for rule in (
            self._labels_fit_the_task,
            self._shares_add_up,
            self._splits_add_up,
            self._start_is_a_key,
            self._names_are_known,
            self._prompts_are_told_apart,
            self._axes_can_be_dealt,
            self._tags_are_not_confused_with_axes,
        ):
            try:
                rule()
            except ValueError as error:
                broken.append(str(error))
        if broken:
            kinds = [PydanticCustomError("value_error", "{said}", {"said": each}) for each in broken]
            told = [InitErrorDetails(type=kind, loc=(), input=None) for kind in kinds]
            raise ValidationError.from_exception_data("recipe", told)
        return self

    def _labels_fit_the_task(self) -> None:
        if len(self.labels) == 1 or (self.task_type == "classification" and not self.labels):
            raise ValueError(f"labels: a {self.task_type} needs at least two")
        if (self.gates.label_deviation is None) == bool(self.labels):
            raise ValueError("gates: `label_deviation` goes with `labels`: give both or neither")
        if self.real_data is not None and not self.labels:
            raise ValueError("real_data: a dataset without labels cannot be measured on labelled rows")

    def _shares_add_up(self) -> None:
        shares = sum(label.share for label in self.labels.values())
        if self.labels and abs(shares - 1) > ROUNDING:
            raise ValueError(f"labels: shares add up to {shares:g}, not 1")

    def _splits_add_up(self) -> None:
        splits = sum(self.splits.values())
        if abs(splits - 1) > ROUNDING or min(self.splits.values()) < 0:
            raise ValueError(f"splits: shares add up to {splits:g}, not 1")

    def _start_is_a_key(self) -> None:
        pattern = HOURLY_KEY if self.cadence == "hourly" else DAILY_KEY
        try:
            start = datetime.strptime(self.start, pattern)  # noqa: DTZ007 - a partition key has no zone of its own
            is_key = start.strftime(pattern) == self.start  # 2026-11-1 is a date, but names no partition
        except ValueError:
            is_key = False
        if not is_key:
            raise ValueError(f"start: {self.start!r} is no key of cadence {self.cadence} ({pattern})")
        if start.year not in YEARS:
            raise ValueError(f"start: the year {start.year} lies outside {YEARS.start} to {YEARS.stop - 1}")
        if self.cadence == "hourly" and self.timezone != "UTC":
            raise ValueError("timezone: hourly batches are UTC only, or one hour a year would exist twice")

    def _names_are_known(self) -> None:
        axes = {LABEL: set(self.labels)} | names_by_axis(self.axes)
        for opening in self.openings:
            for axis, values in opening.when.items():
                if axis not in axes or not set(values) <= axes[axis]:
                    raise ValueError(f"openings: `when` names {axis}: {values}, which is no axis with such values")
        for name, table in self.seeds.items():
            unknown = sorted({*table.match, *table.differ} - set(axes))
            if unknown:
                raise ValueError(f"seeds.{name}: {unknown} is no axis of named values")
        taken = sorted((TEMPLATE_NAMES | OF_JINJA) & set(self.axes) - {LANGUAGE})
        if taken:
            raise ValueError(f"axes: templates know something else by the name of {taken}")
        if LANGUAGE in self.axes and not all(LANGUAGE_CODE.fullmatch(name) for name in axes.get(LANGUAGE, {""})):
            raise ValueError(f"axes.{LANGUAGE}: its values are ISO 639-1 codes, such as `de: {{words: German}}`")

    @property
    def languages(self) -> list[str]:
        """The languages samples are asked for in, ISO 639-1, sorted: those of the axis `language` if there is one."""
        return sorted(names_by_axis(self.axes).get(LANGUAGE, {self.language}))

    def _prompts_are_told_apart(self) -> None:
        for names in ([use.name for use in self.prompts], *(use.chain for use in self.prompts)):
            if len(set(names)) < len(names):
                raise ValueError(f"prompts: {names} names one twice")
        if all(use.evolves for use in self.prompts):
            raise ValueError("prompts: one must evolve nothing, or there would be no first sample")
        refuse_high_floor(self.rotation, len(self.prompts))

    def _axes_can_be_dealt(self) -> None:
        refuse_wrong_axes(self.axes, labels=self.labels, tables=self.seeds)
        if self.cover == "factorial":
            refuse_too_many(self.axes)
        for name, axis in self.axes.items():
            if isinstance(axis, TableAxis) and not self.seeds[axis.table].is_dealt_whole:
                raise ValueError(
                    f"seeds.{axis.table}: axis {name} deals it, one row for each request; it takes no "
                    "`per_request`, `order`, `match` or `differ`"
                )

    def _tags_are_not_confused_with_axes(self) -> None:
        for name, rule in self.tags.items():
            if isinstance(rule, AxisTag) and rule.axis not in self.axes:
                raise ValueError(f"tags.{name}.axis: {rule.axis!r} is none of the axes {sorted(self.axes)}")
            if name in self.axes and rule != AxisTag(kind="axis", axis=name):
                raise ValueError(f"tags.{name}: an axis has this name, and its drawn value is a tag already")
