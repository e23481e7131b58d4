"""Prompt templates: `prompts/NAME.md` with front matter and a Jinja body."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from synth_assets.errors import UsageError
from synth_assets.recipe.strict import Identifier, Name, Strict
from synth_assets.recipe.strict_yaml import parse
from synth_assets.recipe.validation import validated

ROLES = ("system", "user", "assistant")


class Reply(Strict):
    """How an answer becomes a sample.

    ``line``: the seeded opening continued to the end of its line. ``text``: the whole answer. ``json``: one object
    whose string `field` is the text.
    """

    format: Literal["line", "text", "json"]
    field: Identifier = Field(default="text", description="Key of the text in a JSON answer.")


class FrontMatter(Strict):
    """What stands between the two `---` of a template."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,31}$")]
    mode: Literal["completion", "chat"]
    reply: Reply


class Template(Strict):
    """One version of one prompt template; ``messages`` holds (role, Jinja source) pairs of a chat."""

    name: str
    version: str
    mode: Literal["completion", "chat"]
    reply: Reply
    body: str
    file: Path = Field(exclude=True)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The body cut at its `## role` lines, before rendering, so that no rendered text can add a role."""
        parts: list[tuple[str, list[str]]] = []
        for line in self.body.splitlines():
            if line.startswith("## ") and line[3:].strip() in ROLES:
                parts.append((line[3:].strip(), []))
            elif parts:
                parts[-1][1].append(line)
        return [(role, "\n".join(lines).strip()) for role, lines in parts]


def load_template(file: Path) -> Template:
    """Read one template.

    Raises:
        UsageError: no file, no front matter, a wrong key, or a chat without `## user`.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(
            f"prompt '{file.stem}' cannot be read",
            where=str(file),
            fix="write the file as UTF-8, or remove it from `prompts:`",
        ) from None
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not mark:
        raise UsageError("front matter is missing", where=f"{file}:1", fix="begin the file with `---`, keys, `---`")
    document = parse(head, file=file, first_line=2)
    front = validated(FrontMatter, document, file=file)
    template = Template(
        name=front.name, version=front.version, mode=front.mode, reply=front.reply, body=body.strip("\n"), file=file
    )
    if template.name != file.stem:
        line = document.line_of(("name",))
        raise UsageError(
            f"name '{template.name}' is not the file's", where=f"{file}:{line}", fix=f"set `name: {file.stem}`"
        )
    if template.mode == "chat":
        _check_sections(template, first_line=head.count("\n") + 4)
    return template


def _check_sections(template: Template, *, first_line: int) -> None:
    """Refuse a chat that asks nothing, or whose text would be sent to nobody."""
    if "user" not in {role for role, _ in template.messages}:
        raise UsageError(
            "a chat prompt has no `## user` section",
            where=f"{template.file}:{first_line}",
            fix="add a line `## user` above its text",
        )
    before = next(line for line in template.body.splitlines() if line.strip())
    if not (before.startswith("## ") and before[3:].strip() in ROLES):
        raise UsageError(
            "a chat prompt has text before its first section",
            where=f"{template.file}:{first_line}",
            fix="put `## system` or `## user` above it",
        )
