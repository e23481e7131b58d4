"""Texts as runs of words: folding, shingles, and which text has which shingle.

Shingles are numbered, not hashed, so two numbers are equal exactly when the words are. How alike two texts are lives
in `duplicates`.
"""

import re
import unicodedata
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

_APOSTROPHES = "'\u2019\u02bc"
_TATWEEL = 0x0640
_POINTS = (
    range(0x0591, 0x05C8),  # Hebrew points and accents
    range(0x0610, 0x061B),  # Arabic: honorifics, diacritics, marks of recitation
    range(0x064B, 0x0660),
    range(0x0670, 0x0671),
    range(0x06D6, 0x06EE),
    range(0x0730, 0x074B),  # Syriac
    range(0x08D3, 0x0900),
)
"""Marks that writers set or leave out without saying anything else."""

_VARIANTS = {
    **dict.fromkeys("\u0622\u0623\u0625\u0671", "\u0627"),  # alef with hamza, madda or wasla
    "\u0649": "\u064a",  # alef maqsura, as yeh
    "\u06cc": "\u064a",  # Persian yeh
    "\u06a9": "\u0643",  # Persian kaf
    "\u0451": "\u0435",  # Russian yo
    "\u0307": None,  # what is left of a Turkish dotted capital
    **{
        character: unicodedata.normalize("NFD", character)[0]
        for character in "\u03ac\u03ad\u03ae\u03af\u03cc\u03cd\u03ce"
    },
}
"""Letters that stand for each other, by writer or by case: Greek capitals, for one, carry no accent."""

_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
_UNSPACED = (
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Myanmar
    range(0x1780, 0x1800),  # Khmer
    range(0x3040, 0x3100),  # Hiragana, Katakana
    range(0x31F0, 0x3200),
    range(0x3400, 0x4DC0),  # Han
    range(0x4E00, 0xA000),
    range(0xF900, 0xFB00),
    range(0x20000, 0x323B0),
)
"""Scripts written without spaces: each of their characters counts as a word."""


class _Folding(dict[int, str | None]):
    """What every code point folds to, worked out when first met; a table for `str.translate`."""

    def __missing__(self, code: int) -> str | None:
        self[code] = folded = self._fold(code)
        return folded

    @staticmethod
    def _fold(code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if character in _APOSTROPHES or category == "Cf" or code in _VARIATION_SELECTORS or code == _TATWEEL:
            return None
        if any(code in points for points in _POINTS) and category == "Mn":
            return None
        if character in _VARIANTS:
            return _VARIANTS[character]
        if category == "So" or any(code in script for script in _UNSPACED):
            return f" {character} "
        return character if category[0] in "LMN" else " "


class _Spoken(_Folding):
    """The same, but characters of scripts without spaces stand together: their words are parted already."""

    def __missing__(self, code: int) -> str | None:
        is_letter = unicodedata.category(chr(code))[0] in "LMN"
        is_one = is_letter and any(code in script for script in _UNSPACED)
        self[code] = folded = chr(code) if is_one else self._fold(code)
        return folded


_FOLDING, _SPOKEN = _Folding(), _Spoken()
_SPACELESS = re.compile("[" + "".join(f"{chr(each.start)}-{chr(each.stop - 1)}" for each in _UNSPACED) + "]+")


def words(text: str) -> list[str]:
    """Return the words of a text in order, folded: no case, no punctuation, no compatibility forms, no vowel points.

    An emoji is a word; so is each character of a script written without spaces, which makes runs of them robust against
    a changed character. Apostrophes join (``don't`` is one word), hyphens part.

    Example:
        >>> words("Don't  miss it - 很好!")
        ['dont', 'miss', 'it', '很', '好']
    """
    return _folded(text).translate(_FOLDING).split()


def spoken_words(text: str) -> list[str]:
    """Return the words of a text as a reader counts them: like `words`, but whole words of scripts without spaces.

    Source:
        Unicode Standard Annex 29 with the dictionaries of ICU, through `icu4py`.

    Example:
        >>> spoken_words("ฉันรักคุณ")
        ['ฉัน', 'รัก', 'คุณ']
    """
    plain = _folded(text)
    if plain.isascii() or not _SPACELESS.search(plain):
        return plain.translate(_FOLDING).split()
    from icu4py.breakers import WordBreaker

    parted = _SPACELESS.sub(lambda run: f" {' '.join(WordBreaker(run.group(), 'en'))} ", plain)
    return parted.translate(_SPOKEN).split()


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def fold(text: str) -> str:
    r"""Return the text without what layout alone changes: its `words` joined by single spaces.

    Example:
        >>> fold("A  GREAT film!!") == fold("a great\nfilm")
        True
    """
    return " ".join(words(text))


def shingles(text: str, *, width: int) -> set[tuple[str, ...]]:
    """Return the different runs of ``width`` words of a text.

    A text with fewer words is one shingle of all its words (of none, if it has none), so short texts compare as wholes.

    Raises:
        ValueError: ``width`` is below 1.
    """
    check_width(width)
    found = words(text)
    return {tuple(found[start : start + width]) for start in range(max(1, len(found) - width + 1))}


class _Numbers(dict[str, int]):
    """A number for every word, in the order of first meeting."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def incidence(texts: Sequence[str], *, width: int) -> Any:
    """Return which text has which shingle as a sparse matrix of ones, shape (texts, different shingles)."""
    from scipy.sparse import csr_array

    text_of, windows = _windows(texts, width=width)
    shingle, kinds = _renumbered(windows)
    cells = np.sort(text_of * kinds + shingle)
    cells = cells[np.flatnonzero(np.diff(cells, prepend=-1))]  # a shingle twice in a text counts once
    starts = np.searchsorted(cells, np.arange(len(texts) + 1) * kinds)
    return csr_array((np.ones(len(cells), np.int32), cells % kinds, starts), shape=(len(texts), kinds))


def _windows(texts: Sequence[str], *, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all windows of all texts in order: the text of each and the number of its shingle, both (windows,)."""
    numbers, stream, lengths = _Numbers(), array("q"), array("q")
    for text in texts:
        found = words(text)
        found += [""] * (width - len(found))  # a text shorter than a shingle is filled up to one
        stream.extend(map(numbers.__getitem__, found))
        lengths.append(len(found))
    word, text_of = np.array(stream), np.repeat(np.arange(len(texts)), np.array(lengths))
    starts = np.flatnonzero(text_of[: len(text_of) - width + 1] == text_of[width - 1 :])
    shingle, kinds = word[starts], len(numbers)
    for step in range(1, width):
        if kinds > 2**62 // len(numbers):  # renumber before the packed number leaves 63 bits
            shingle, kinds = _renumbered(shingle)
        shingle, kinds = shingle * len(numbers) + word[starts + step], kinds * len(numbers)
    return text_of[starts], shingle


def _renumbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return values (n,) as their ranks from 0, and how many different ones there are."""
    order = np.argsort(values)
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.cumsum(np.diff(values[order], prepend=values[order[:1]]) != 0)
    return ranks, int(ranks[order[-1]]) + 1


def check_width(width: int) -> None:
    """Refuse a shingle without words.

    Raises:
        ValueError: ``width`` is below 1.
    """
    if width < 1:
        raise ValueError(f"a shingle has at least 1 word, not {width}")
