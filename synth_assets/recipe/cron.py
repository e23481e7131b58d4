"""Cron expressions, as far as a recipe may use them: five fields of numbers, names, ranges, steps and lists."""

import re

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONGEST = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 7, WEEKDAYS),
)
"""Name, lowest and highest number and words of each field; words count from the lowest number."""

PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>[1-9]\d*))?", re.ASCII)


def refuse_no_cron(text: str) -> None:
    """Say what is wrong with a cron expression.

    Raises:
        ValueError: it has not five fields, one holds what cannot be, or it names a day that no month has.

    Example:
        >>> refuse_no_cron("30 6 * * mon-fri")
    """
    fields = text.lower().split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"{text!r} has {len(fields)} fields; five are needed, as in '0 6 * * *' for 06:00 every day")
    numbers = []
    for written, (name, low, high, words) in zip(fields, FIELDS, strict=True):
        known = {word: low + place for place, word in enumerate(words)}
        parts = [_numbers(part, known, low, high) for part in written.split(",")]
        if not all(parts):
            raise ValueError(f"{written!r} is no {name} ({low} to {high}, lists, ranges, steps)")
        numbers.append(set().union(*parts))
    _, _, days, months, _ = numbers
    if min(days) > max(LONGEST[month] for month in months):
        raise ValueError(f"{text!r} never comes: no such month has {min(days)} days")


def _numbers(text: str, words: dict[str, int], low: int, high: int) -> set[int]:
    """Return what one part of a list stands for; nothing if it stands for nothing."""
    part = PART.fullmatch(text)
    if part is None or (part["first"] == "*" and part["last"]):
        return set()
    if part["step"] and part["first"] != "*" and not part["last"]:
        return set()  # "5/2" means different things to different readers
    ends = [str(low), str(high)] if part["first"] == "*" else [part["first"], part["last"] or part["first"]]
    first, last = (words.get(end, int(end) if end.isdigit() else -1) for end in ends)
    if not low <= first <= last <= high:
        return set()
    return set(range(first, last + 1, int(part["step"] or 1)))
