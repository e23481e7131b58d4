"""Working off planned requests call by call: what is asked next, given what was answered so far.

A request is a conversation of one call, or of several: the later prompts of its recipe entry, which see the answers
before them, one second chance where an answer has the wrong shape, and the next model where one did not answer. Calls
of all requests that can be made now form a wave; some of them may wait. Everything is a function of the plan and the
answers, so a journal alone leads through it again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import polars as pl

from synth_assets.canonical import canonical_json, sha256
from synth_assets.domain import ids
from synth_assets.domain.parsing import Fields, Prompt, Reading, parse_answer, schema_of
from synth_assets.domain.planning import calls_of, in_plan_order, render_prompt
from synth_assets.domain.ports import Call, Ending, Provider, Routing
from synth_assets.domain.routing import ASKED, asked_by
from synth_assets.domain.thoughts import part
from synth_assets.errors import UsageError
from synth_assets.recipe.tasks import TASKS
from synth_assets.recipe.template import Template
from synth_assets.vocabulary import FALLS_BACK, CallKind, Outcome, QuarantineReason

AGAIN = (
    "That was not in the form that was asked for. Answer once more, with the same content, exactly in that form and "
    "with nothing before or after it."
)
"""What a chat is told after an answer of the wrong shape."""


@dataclass(frozen=True)
class Step:
    """One template of a request as it was planned.

    Attributes:
        sha256: hash of the template version.
        continues: whether its messages continue the chat so far.
    """

    template: Template
    sha256: str
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of a request and what became of it.

    Attributes:
        step: the template it belongs to; None for a row that was made elsewhere.
        call: what was sent; None likewise.
        found: fields read from a usable answer, or why none could be; None where there is no usable answer.
        repairs: what had to be cut or mended to read them.
    """

    kind: CallKind
    step: Step | None
    call: Call | None
    ending: Ending
    found: Fields | QuarantineReason | None
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class Conversation:
    """A planned request on its way.

    Attributes:
        steps: its templates, first to last.
        values: what its templates see besides the answers; empty for a single template.
        turns: its calls so far.
        models: who may be asked, in order; a call goes to the model that answered the one before.
        stuck: why a later prompt could not be made.
    """

    steps: Sequence[Step]
    opening: str
    values: Mapping[str, Any]
    turns: list[Turn] = field(default_factory=list)
    models: Sequence[Provider] = ()
    stuck: QuarantineReason | None = None

    @property
    def fields(self) -> Fields:
        """Everything the answers fill, later ones over earlier ones."""
        merged: Fields = {}
        for turn in self.turns:
            merged |= turn.found if isinstance(turn.found, dict) else {}
        return merged

    @property
    def repairs(self) -> list[str]:
        """What the readings of its answers took, each once, in the order of the calls."""
        return list(dict.fromkeys(each for turn in self.turns for each in turn.repairs))

    def has_repaired(self, step: Step) -> bool:
        """Whether the step was given its second chance."""
        return any(turn.kind is CallKind.REPAIR and turn.step is step for turn in self.turns)


class Conversations:
    """All requests of an attempt.

    Args:
        requests: in plan order, rows of `requests`.
        prompts: their payload as `planning.PROMPTS_SCHEMA`.
        templates: every template version that was planned with, by name and version.
        task_type: a key of `TASKS`.
        routing: who may be asked; it knows every model of the plan.
        quarantined: requests that were quarantined for good in an earlier run, with the calls they took: nothing more
            is asked for them.
    """

    def __init__(
        self,
        requests: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        templates: Mapping[tuple[str, str], Step],
        task_type: str,
        routing: Routing,
        quarantined: Mapping[str, int],
    ) -> None:
        self._task_type, self._quarantined = task_type, quarantined
        self._all: dict[str, Conversation] = {}
        self.wave: list[Call] = []
        self._next: dict[tuple[str, str], tuple[CallKind, Step]] = {}
        rows = in_plan_order(requests, prompts).select(
            "request_id", "prompt_name", "prompt_version", "opening_right", "then", "values", *ASKED
        )
        known: dict[tuple[str, str, str | None], list[Provider]] = {}
        for row, call in zip(rows.iter_rows(named=True), calls_of(requests, prompts), strict=True):
            first = templates[row["prompt_name"], row["prompt_version"]]
            later = [
                Step(step.template, step.sha256, continues)
                for name, version, continues in orjson.loads(row["then"] or "[]")
                for step in (templates[name, version],)
            ]
            values = orjson.loads(row["values"]) if row["values"] else {}
            asked = row["provider"], row["model"], row["fallback"]
            models = known.get(asked) or known.setdefault(asked, _models(row, routing))
            conversation = Conversation([first, *later], row["opening_right"] or "", values, models=models)
            self._all[row["request_id"]] = conversation
            self._ask(replace(call, asks=models[0], may_fall_back=len(models) > 1), CallKind.PROMPT, first)

    def take(self, calls: Sequence[Call], endings: Sequence[Ending]) -> None:
        """Take the endings of calls of the present wave, and add to it what follows from them; empty, it is the end."""
        self.wave = [] if len(calls) == len(self.wave) else _without(self.wave, calls)
        for call, ending in zip(calls, map(_parted, endings), strict=True):
            kind, step = self._next.pop((call.call_id, call.request_id))
            conversation = self._all[call.request_id]
            found = self._found(conversation, step, call, ending)
            fields, repairs = (found.fields, found.repairs) if isinstance(found, Reading) else (found, ())
            turn = Turn(kind, step, call, ending, fields, repairs)
            conversation.turns.append(turn)
            self._go_on(conversation, turn)

    def leave(self, calls: Sequence[Call], reason: QuarantineReason) -> None:
        """End calls of the present wave here: they are not sent."""
        self.take(calls, [Ending(call.request_id, call.call_id, Outcome.NOT_SENT, reason, None, 0) for call in calls])

    def forgo(self, calls: Sequence[Call], reason: QuarantineReason) -> None:
        """End calls of the present wave here for good: a request that would get a second chance ends without it."""
        repairs = [call for call in calls if self.kind_of(call) is CallKind.REPAIR]
        self.wave = _without(self.wave, repairs)
        self.leave(_without(calls, repairs), reason)

    def kind_of(self, call: Call) -> CallKind:
        """Return why a call of the present wave is made."""
        return self._next[call.call_id, call.request_id][0]

    def conversation(self, request: str) -> Conversation:
        """Return the conversation of a request."""
        return self._all[request]

    @property
    def in_plan_order(self) -> list[Conversation]:
        """Every request's conversation."""
        return list(self._all.values())

    def _found(
        self, conversation: Conversation, step: Step, call: Call, ending: Ending
    ) -> Reading | QuarantineReason | None:
        if ending.answer is None or ending.outcome != Outcome.ANSWERED:
            return None
        return parse_answer(
            ending.answer.text,
            step.template.reply,
            task_type=self._task_type,
            opening=conversation.opening,
            asked=call.prompt,
        )

    def _go_on(self, conversation: Conversation, turn: Turn) -> None:
        """Ask what follows from a turn, if anything does."""
        step, call = turn.step, turn.call
        if step is None or call is None:
            return
        if turn.ending.outcome == Outcome.QUARANTINED and turn.ending.reason in FALLS_BACK and call.may_fall_back:
            self._ask(self._like(call, call.prompt, step, self._models_from(call)[1:]), CallKind.FALLBACK, step)
        if turn.ending.answer is None:
            return
        if isinstance(turn.found, dict):
            place = [each.template.name for each in conversation.steps].index(step.template.name) + 1
            if place < len(conversation.steps):
                self._follow(conversation, conversation.steps[place], call, turn.ending.answer.text)
        elif turn.found == QuarantineReason.WRONG_SCHEMA and not conversation.has_repaired(step):
            self._repair(step, call, turn.ending.answer.text)

    def _repair(self, step: Step, call: Call, answer: str) -> None:
        """Ask a chat once more; a completion has nobody to tell."""
        if step.template.reply.is_repaired and isinstance(call.prompt, list):
            again = [*_continued(call.prompt, answer), {"role": "user", "content": AGAIN}]
            self._ask(self._like(call, again, step, self._models_from(call)), CallKind.REPAIR, step)

    def _models_from(self, call: Call) -> Sequence[Provider]:
        """Return the model a call addresses and those that may still be asked in its place."""
        models = self._all[call.request_id].models
        return models[next(place for place, each in enumerate(models) if each == call.asks) :]

    def _follow(self, conversation: Conversation, step: Step, before: Call, answer: str) -> None:
        answers = {
            turn.step.template.name: dict.fromkeys(TASKS[self._task_type].optional, "") | turn.found
            for turn in conversation.turns
            if turn.step is not None and isinstance(turn.found, dict)
        }
        try:
            prompt = render_prompt(step.template, {**conversation.values, "steps": answers})
        except UsageError:
            conversation.stuck = QuarantineReason.UNRENDERABLE
            return
        if step.continues and isinstance(prompt, list):
            prompt = [*_continued(before.prompt, answer), *prompt]
        self._ask(self._like(before, prompt, step, self._models_from(before)), CallKind.STEP, step)

    def _like(self, call: Call, prompt: Prompt, step: Step, models: Sequence[Provider]) -> Call:
        """Return a call like another one, with another prompt or to another model: the first of ``models``."""
        provider = models[0]
        params = {name: value for name, value in call.params.items() if provider.takes_llama_params or name != "min_p"}
        schema = schema_of(step.template.reply, task_type=self._task_type) if provider.takes_schema else None
        identity = ids.call_id(
            provider=provider.name,
            model=provider.model_id,
            params=params,
            prompt=prompt,
            schema=schema,
            seed=call.seed,
        )
        may_fall_back = len(models) > 1
        return Call(identity, call.request_id, prompt, params, call.seed, schema, provider, may_fall_back)

    def _ask(self, call: Call, kind: CallKind, step: Step) -> None:
        if len(self._all[call.request_id].turns) >= self._quarantined.get(call.request_id, math.inf):
            return
        self.wave.append(call)
        self._next[call.call_id, call.request_id] = kind, step


def _parted(ending: Ending) -> Ending:
    """Return an ending whose answer is apart from its thoughts; journals of an earlier time hold both in one."""
    answer = ending.answer
    if answer is None or not (parted := part(answer.text)).thoughts:
        return ending
    return replace(ending, answer=replace(answer, text=parted.answer, reasoning=answer.reasoning or parted.thoughts))


def _models(row: Mapping[str, Any], routing: Routing) -> list[Provider]:
    return [each for asked in asked_by(row) if (each := routing.find(*asked)) is not None]


def _without(calls: Sequence[Call], some: Sequence[Call]) -> list[Call]:
    left_out = {(call.call_id, call.request_id) for call in some}
    return [call for call in calls if (call.call_id, call.request_id) not in left_out]


def _continued(prompt: Prompt, answer: str) -> list[dict[str, str]]:
    """Return a chat with the answer it got."""
    return [*(prompt if isinstance(prompt, list) else []), {"role": "assistant", "content": answer}]


def prompt_sha256(call: Call) -> str:
    """Hash a rendered prompt as `requests.prompt_sha256` does."""
    return sha256(canonical_json(call.prompt))
