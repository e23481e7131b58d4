"""Prompts that follow one another in a request: whether together they make a whole sample."""

from collections.abc import Sequence

from synth_assets.errors import UsageError
from synth_assets.recipe.model import PromptUse
from synth_assets.recipe.tasks import MESSAGES, TASKS
from synth_assets.recipe.template import PARTED, Template


def refuse_unfit(use: PromptUse, chain: Sequence[Template], task_type: str) -> None:
    """Refuse a chain of templates that cannot make a whole sample of the task.

    Args:
        use: the prompt as the recipe uses it.
        chain: its templates, first to last.
        task_type: a key of `TASKS`.

    Raises:
        UsageError: a field of the task is never filled, the last template fills none, the modes differ, a completion
            would continue a chat, or a format does not suit the task.
    """
    task = TASKS[task_type]
    for template, step in zip(chain[1:], use.then, strict=True):
        if template.mode != chain[0].mode:
            fix = f"give both `mode: {chain[0].mode}`: one request is worked off by one model"
            raise _unfit(template, f"it follows '{use.name}' but has another mode", fix)
        if step.continues and template.mode != "chat":
            raise _unfit(template, "only a chat can be continued", "remove `continues`, or make both chats")
    for template in chain:
        _refuse_format(template, task_type)
    last, filled = chain[-1], {name for template in chain for name in template.reply.outputs(task)}
    missing = [name for name in task.fields if name not in filled]
    if missing:
        said = "fields" if last.reply.format in PARTED else "fills"
        raise _unfit(
            last, f"no answer fills `{missing[0]}` of a {task_type}", f"name it in `reply.{said}` of a template"
        )
    if not set(last.reply.outputs(task)) & set(task.known):
        raise _unfit(last, f"its answer fills no field of a {task_type}", f"fill one of {', '.join(task.known)}")


def _refuse_format(template: Template, task_type: str) -> None:
    makes_dialogue = template.reply.format in ("turns", "conversation")
    if makes_dialogue and task_type != "dialogue":
        raise _unfit(
            template, f"format {template.reply.format} makes a dialogue, not a {task_type}", "use another format"
        )
    if template.reply.format == "conversation" and template.mode != "chat":
        raise _unfit(template, "format conversation needs a chat", "give it `mode: chat`, or use format turns")
    fills = template.reply.outputs(TASKS[task_type])
    if MESSAGES in fills and template.reply.format not in ("turns", "conversation", "json"):
        raise _unfit(
            template, f"format {template.reply.format} cannot hold a dialogue", "use format turns or conversation"
        )


def _unfit(template: Template, what: str, fix: str) -> UsageError:
    return UsageError(f"prompt '{template.name}': {what}", where=str(template.file), fix=fix)
