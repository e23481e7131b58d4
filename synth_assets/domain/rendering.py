"""Rendering prompt templates and openings: Jinja with everything dangerous taken out.

The sandbox stops code. Only constructs that cannot multiply text are allowed - no calls, assignments, macros or nested
loops - and filters and output are capped, which stops memory bombs. Values put in are never rendered again, so a seed
row cannot smuggle in template code; methods cannot be reached, so no address of one gets into a prompt.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from synth_assets.errors import UsageError

MAX_CHARACTERS = 64_000
"""Longest rendered prompt; longer ones are a mistake in the template."""

ALLOWED = (
    *(nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.CondExpr),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice),
    *(nodes.Filter, nodes.Keyword, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
    *(nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg),
)
"""Everything a template may be made of."""

FILTERS = ("capitalize", "default", "first", "join", "last", "length", "lower", "replace", "title", "trim", "upper")


class _TooLongError(Exception):
    """The text would exceed `MAX_CHARACTERS`."""

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self.characters = characters


def _refuse_long(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        raise _TooLongError(characters)


def _joined(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    texts = [str(value if attribute is None else value[attribute]) for value in values]
    _refuse_long(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _replaced(text: Any, old: str, new: str) -> str:
    whole = str(text)
    _refuse_long(len(whole) + whole.count(old) * len(new))
    return whole.replace(old, new)


class _PlainData(ImmutableSandboxedEnvironment):
    """Templates see keys and items; what can be called does not exist for them."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj={}, name=attribute)
        found = super().getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute) if callable(found) else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            return self.getattr(obj, argument)
        found = super().getitem(obj, argument)
        return self.undefined(obj=obj, name=argument) if callable(found) else found


@lru_cache(maxsize=1)
def _environment() -> _PlainData:
    environment = _PlainData(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.filters |= {"join": _joined, "replace": _replaced}
    return environment


def _forbidden(tree: nodes.Template) -> nodes.Node | None:
    """Return the first construct that no template may use; a loop in a loop is one."""
    strange = (node for node in tree.find_all(nodes.Node) if not isinstance(node, ALLOWED))
    nested = (inner for loop in tree.find_all(nodes.For) for inner in loop.find_all(nodes.For))
    return next(strange, None) or next(nested, None)


@lru_cache(maxsize=256)
def _compiled(source: str, where: str) -> jinja2.Template:
    try:
        tree = _environment().parse(source)
        forbidden = _forbidden(tree)
        if forbidden is not None:
            kind = type(forbidden).__name__.lower()
            raise UsageError(
                f"a template may not use {'a loop in a loop' if kind == 'for' else kind}",
                where=f"{where}, line {forbidden.lineno} of the body",
                fix=f"use variables, `if`, `for` and the filters {', '.join(FILTERS)}",
            )
        return _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise UsageError(
            f"template syntax: {error.message}",
            where=f"{where}, line {error.lineno} of the body",
            fix="correct the template",
        ) from None


def render(source: str, values: Mapping[str, Any], *, where: str) -> str:
    """Return ``source`` rendered with plain data.

    Args:
        source: Jinja text.
        values: strings, numbers, lists and dicts; nothing with behaviour.
        where: names the template in errors.

    Raises:
        UsageError: bad syntax, a forbidden construct, an unknown variable, or more than `MAX_CHARACTERS`.

    Example:
        >>> render("A {{ mood }} review", {"mood": "short"}, where="example")
        'A short review'
    """
    try:
        return _capped(_compiled(source, where).generate(dict(values)))
    except _TooLongError as error:
        raise UsageError(
            f"a rendered prompt has {error.characters:,} characters or more; {MAX_CHARACTERS:,} are allowed",
            where=where,
            fix="shorten the template",
        ) from None
    except jinja2.UndefinedError as error:
        raise UsageError(
            f"template variable: {error.message}", where=where, fix=f"use one of: {', '.join(sorted(values))}"
        ) from None
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, RecursionError, SyntaxError):
        raise UsageError("the template cannot be rendered", where=where, fix="simplify the expression") from None


def _capped(chunks: Iterable[str]) -> str:
    """Join what a template yields, and stop as soon as it is too much."""
    kept: list[str] = []
    characters = 0
    for chunk in chunks:
        kept.append(chunk)
        characters += len(chunk)
        _refuse_long(characters)
    return "".join(kept)
