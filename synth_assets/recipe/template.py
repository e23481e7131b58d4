"""Prompt templates: `prompts/NAME.md` with front matter and a Jinja body."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer, model_validator

from synth_assets.errors import UsageError
from synth_assets.recipe.strict import Identifier, Name, Strict
from synth_assets.recipe.strict_yaml import parse
from synth_assets.recipe.tasks import TEXT, Task
from synth_assets.recipe.validation import validated

ROLES = ("system", "user", "assistant")

PARTED = ("json", "sections")
"""Formats whose answers have named parts."""

Heading = Annotated[str, StringConstraints(pattern=r"^[^\W\d_][\w \-]{0,62}$")]
"""Key or heading of a part; it must be recognisable in running text."""


class Reply(Strict):
    """How an answer becomes fields of a sample; see `domain.parsing`.

    ``line``: the seeded opening continued to the end of its line. ``text``: the whole answer. ``json``: one object.
    ``sections``: parts below headings such as ``Question:``. ``code``: the first fenced block. ``turns``: a dialogue
    written as ``User:`` and ``Assistant:``. ``conversation``: the chat itself, up to this answer.
    """

    format: Literal["line", "text", "json", "sections", "code", "turns", "conversation"]
    field: Identifier = Field(default="text", description="Key of the text in a JSON answer of a classification.")
    fields: dict[Identifier, Heading] | None = Field(
        default=None, description="Sample field to key of the object, or heading of the section."
    )
    fills: Identifier | None = Field(default=None, description="Sample field that an answer without parts fills.")
    syntax: Literal["python", "json"] | None = Field(default=None, description="What a code block must parse as.")
    repair: bool | None = Field(
        default=None,
        description="Whether a chat that answers in the wrong shape is asked once more; default is yes for json.",
    )

    @model_validator(mode="after")
    def _says_only_what_its_format_takes(self) -> "Reply":
        if self.fields is not None and self.format not in PARTED:
            raise ValueError(f"fields: an answer of format {self.format} has no parts; use `fills`")
        if self.fills is not None and self.format in PARTED:
            raise ValueError(f"fills: an answer of format {self.format} has parts; use `fields`")
        if self.syntax is not None and self.format != "code":
            raise ValueError("syntax: only format code has one")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what no template of an earlier time could say, so that its hash stays what it was."""
        return {name: value for name, value in dump(self).items() if value is not None}

    @property
    def is_repaired(self) -> bool:
        """Whether an answer of the wrong shape gets a second chance."""
        return self.format == "json" if self.repair is None else self.repair

    def outputs(self, task: Task) -> dict[str, str]:
        """Return the sample fields an answer fills, each with its key or heading in the answer."""
        if self.format not in PARTED:
            return {self.fills or task.fields[0]: ""}
        if self.fields is not None:
            return dict(self.fields)
        if self.format == "sections":
            return {name: name.replace("_", " ").capitalize() for name in task.fields}
        return {TEXT: self.field} if task.fields == (TEXT,) else {name: name for name in task.fields}


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
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        close = difflib.get_close_matches(file.stem, sorted(each.stem for each in file.parent.glob("*.md")), n=1)
        cure = f"did you mean `{close[0]}`?" if close else "write the file, or remove it from `prompts:`"
        raise UsageError(f"there is no file prompts/{file.name}", where=str(file), fix=cure) from None
    except (OSError, UnicodeDecodeError):
        raise UsageError(
            f"prompt '{file.stem}' cannot be read",
            where=str(file),
            fix="write the file as UTF-8, or remove it from `prompts:`",
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UsageError("the prompt holds a NUL character", where=f"{file}:{line}", fix="remove it")
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
