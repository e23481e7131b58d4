"""Reading the one JSON object a model was asked for: strictly first, then with repairs that can mean one thing only.

Every repair is told. What could mean two things - two different objects, a key that stands twice, an object that was
cut off - is refused, so that no wrong object is ever read.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth_assets.domain.fences import blocks

WHITE = re.compile(r"(?:\s|\ufeff|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,40})(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?(?![\w.])")
UNITS = re.compile(r"(?:\\u[0-9A-Fa-f]{4})+")
WORD = re.compile(r"[A-Za-z_$][\w$]*")
LOOKS_LIKE_ONE = re.compile(r"\{(?:\s|//[^\n]*|/\*.*?\*/)*(?:[\"'\u201c\u201d]|[A-Za-z_$][\w$]*\s*:|\Z)", re.DOTALL)
"""A brace after which an object goes on; others belong to prose, such as a set or a placeholder."""

WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
FOREIGN_WORDS: dict[str, Any] = {"True": True, "False": False, "None": None, "undefined": None, "NaN": None}
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201d": "\u201d"}
DEEPEST = 60


class NoObjectError(ValueError):
    """There is no object that could be meant by itself; says why, never what was written."""


@dataclass(frozen=True)
class Found:
    """The object of an answer, and what had to be repaired to read it, in a fixed order; empty if nothing."""

    value: dict[str, Any]
    repairs: tuple[str, ...]


def read_object(text: str) -> Found:
    r"""Return the one JSON object of an answer.

    Repairs: ``byte_order_mark``; ``fence``, ``prose`` or ``list`` around it; ``repeated``, the same object again;
    ``encoded_twice``, a JSON string of it; and inside ``commas`` (one too many, or one missing between two members),
    ``quotes`` (other than double ones), ``bare_keys``, ``line_breaks`` (unescaped in a string), ``comments`` and
    ``words`` (those of Python or JavaScript).

    Raises:
        NoObjectError: there is none, several different ones, one that was cut off, or one with a key twice.

    Example:
        >>> read_object('Sure!\n```json\n{"message": "x",}\n```\nSee [docs].')
        Found(value={'message': 'x'}, repairs=('fence', 'prose', 'commas'))
    """
    repairs: list[str] = []
    if text.startswith("\ufeff"):
        text, repairs = text[1:], ["byte_order_mark"]
    try:
        value = _strict(text)
    except RecursionError:
        raise NoObjectError("nested too deeply") from None
    except ValueError:
        return _repaired(text, repairs)
    if isinstance(value, str):
        inner = read_object(value)
        return Found(inner.value, (*repairs, "encoded_twice", *inner.repairs))
    if isinstance(value, list) and len(value) == 1:
        value, repairs = value[0], [*repairs, "list"]
    if not isinstance(value, dict):
        raise NoObjectError("no object, or more than one")
    return Found(value, tuple(repairs))


def _strict(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _without_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NoObjectError("a key stands twice")
    return found


def _repaired(text: str, repairs: list[str]) -> Found:
    fenced = [block for block in blocks(text) if "{" in block.body]
    places = [match.start() for match in LOOKS_LIKE_ONE.finditer(text)]
    if not places:
        raise NoObjectError("no object")
    objects: list[tuple[dict[str, Any], list[str]]] = []
    outside, end = "", 0
    for place in places:
        if place < end:
            continue
        reader = _Reader(text, place)
        objects.append((reader.value(0), reader.repairs))
        outside += text[end:place]
        end = reader.place
    outside += text[end:]
    if any(value != objects[0][0] for value, _ in objects):
        raise NoObjectError("two different objects")
    around = _around(outside, is_fenced=bool(fenced))
    inside = [each for _, made in objects for each in made]
    again = ["repeated"] if len(objects) > 1 else []
    return Found(objects[0][0], tuple(dict.fromkeys([*repairs, *around, *again, *inside])))


def _around(outside: str, *, is_fenced: bool) -> list[str]:
    """Return what stands around an object: a fence, the brackets of a list, and anything else."""
    words = re.sub(r"^\s*(?:`{3,}|~{3,})[^\n{]*", "", outside, flags=re.MULTILINE) if is_fenced else outside
    left = words.strip()
    made = ["fence"] if is_fenced else []
    if left in ("[]", "[,]"):
        return [*made, "list"]
    return [*made, "prose"] if left else made


class _Reader:
    """Reads one value from a place in a text, repairing what can mean one thing only."""

    def __init__(self, text: str, place: int) -> None:
        self.text = text
        self.place = place
        self.repairs: list[str] = []

    def value(self, depth: int) -> Any:
        self._white()
        first = self._next()
        if depth > DEEPEST:
            raise NoObjectError("nested too deeply")
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._list(depth)
        if first in QUOTES:
            return self._string()
        if number := NUMBER.match(self.text, self.place):
            self.place = number.end()
            return json.loads(number.group())
        word = WORD.match(self.text, self.place)
        if word and word.group() in WORDS | FOREIGN_WORDS:
            self.place = word.end()
            self._note("words", word.group() in FOREIGN_WORDS)
            return (WORDS | FOREIGN_WORDS)[word.group()]
        raise NoObjectError("something that is no value")

    def _object(self, depth: int) -> dict[str, Any]:
        self.place += 1
        pairs: list[tuple[str, Any]] = []
        while not self._ends("}", is_first=not pairs):
            key = self._key()
            self._white()
            if self._next() != ":":
                raise NoObjectError("no colon after a key")
            self.place += 1
            pairs.append((key, self.value(depth + 1)))
        return _without_twins(pairs)

    def _list(self, depth: int) -> list[Any]:
        self.place += 1
        items: list[Any] = []
        while not self._ends("]", is_first=not items):
            items.append(self.value(depth + 1))
        return items

    def _ends(self, closing: str, *, is_first: bool) -> bool:
        """Go on to the next member; whether there is none. One comma may be too many at the end, or missing."""
        self._white()
        has_comma = not is_first and self._next() == ","
        if has_comma:
            self.place += 1
            self._white()
        if self._next() == closing:
            self._note("commas", has_comma)
            self.place += 1
            return True
        if not is_first and not has_comma:
            if closing != "}" or self._next() != '"' or "\n" not in self.text[self._end_of_last() : self.place]:
                raise NoObjectError("no comma between two members")
            self._note("commas", True)
        return False

    def _end_of_last(self) -> int:
        return len(self.text[: self.place].rstrip())

    def _key(self) -> str:
        if self._next() in QUOTES:
            return self._string()
        word = WORD.match(self.text, self.place)
        if word is None:
            raise NoObjectError("no key")
        self._note("bare_keys", True)
        self.place = word.end()
        return word.group()

    def _string(self) -> str:
        opening = self._next()
        closing = QUOTES[opening]
        self._note("quotes", opening != '"')
        said: list[str] = []
        self.place += 1
        while (character := self._next()) != closing:
            self.place += 1
            if character == "\\":
                character = self._escaped()
            elif character < " ":
                self._note("line_breaks", True)
            said.append(character)
        self.place += 1
        self._refuse_going_on()
        return "".join(said)

    def _refuse_going_on(self) -> None:
        """A quote that nothing of JSON follows was one inside the string: nobody can say where the string ends."""
        self._white()
        if self.place < len(self.text) and self._next() not in ",:}]\"'":
            raise NoObjectError("a quote inside a string")

    def _escaped(self) -> str:
        character = self._next()
        self.place += 1
        if character != "u":
            if character not in ESCAPES and character not in "\"'\\/":
                raise NoObjectError("an escape that is none")
            return ESCAPES.get(character, character)
        units = UNITS.match(self.text, self.place - 2)
        if units is None:
            raise NoObjectError("an escape that is none")
        self.place = units.end()
        return str(json.loads(f'"{units.group()}"'))  # two units of a pair make one character

    def _white(self) -> None:
        passed = WHITE.match(self.text, self.place)
        if passed and passed.end() > self.place:
            self._note("comments", "/" in passed.group())
            self.place = passed.end()

    def _next(self) -> str:
        if self.place >= len(self.text):
            raise NoObjectError("it was cut off")
        return self.text[self.place]

    def _note(self, repair: str, is_made: bool) -> None:
        if is_made and repair not in self.repairs:
            self.repairs.append(repair)
