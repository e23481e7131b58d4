"""What is said of a value that cannot be: the words for each kind of finding pydantic has."""

from pydantic_core import ErrorDetails

KEY = "[key]"
"""Last part of the place of a finding about a key instead of its value."""

RULE = "value_error"
"""A finding of our own models, which has words of its own."""

LONGEST = 400
"""Characters of a message; rules repeat what a file says, which may be of any length."""

NOT_KNOWN = "the value cannot be used here"

MAPPING = "keys and values belong here"
WHOLE, NUMBER, YES_OR_NO = "a whole number belongs here", "a number belongs here", "true or false belongs here"
ONE_OF, DAY = "write {expected}", "there is no such day"

WORDS = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such key",
    "invalid_key": "a key is text",
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
    "dict_type": MAPPING,
    "list_type": "a list belongs here",
    "too_short": "too few entries: {actual_length} of at least {min_length}",
    "too_long": "too many entries: {actual_length} of at most {max_length}",
    "string_type": "text belongs here",
    "string_unicode": "the text holds half a character",
    "string_too_short": "the text is too short; characters needed: {min_length}",
    "string_too_long": "the text is too long; characters allowed: {max_length:,}",
    "string_pattern_mismatch": "the text does not have the form {pattern}",
    "bool_type": YES_OR_NO,
    "bool_parsing": YES_OR_NO,
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": WHOLE,
    "int_from_float": WHOLE,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": "a finite number belongs here",
    "greater_than": "the number must be greater than {gt:,.10g}",
    "greater_than_equal": "the number must be at least {ge:,.10g}",
    "less_than": "the number must be less than {lt:,.10g}",
    "less_than_equal": "the number must be at most {le:,.10g}",
    "literal_error": ONE_OF,
    "enum": ONE_OF,
    "date_parsing": DAY,
    "date_from_datetime_parsing": DAY,
    "union_tag_not_found": "it does not say its `kind`",
    "union_tag_invalid": "there is no kind '{tag:.80}'; write one of {expected_tags}",
}
"""By pydantic's type of error; the names in braces are in the finding's context."""


FORMS = {
    r"^[a-z0-9][a-z0-9._-]{0,63}$": (
        "a name is 1 to 64 small letters, digits, dots, _ and -, the first one a letter or digit",
        "use a lower-case key, and put the name as people write it in `words:`",
    ),
    r"^[a-z][a-z0-9_]{0,62}$": (
        "a name is 1 to 63 small letters, digits and _, the first one a letter",
        "use such a name; it also stands in SQL and in the web UI",
    ),
    r"^[a-z]{2}$": ("a language is two small letters, as in ISO 639-1", "write `en`, `de` or the like"),
    r"^seeds/[A-Za-z0-9._-]+\.jsonl$": ("a seed table is a file such as seeds/rows.jsonl", "name one in `seeds/`"),
    r"^[A-Za-z0-9][A-Za-z0-9._-]*\.jsonl$": ("a test set is a file such as test.jsonl", "name one of this folder"),
    r"^[0-9A-Za-z][0-9A-Za-z.-]{0,31}$": (
        "a version is 1 to 32 letters, digits, dots and -",
        "write a version such as '2'",
    ),
}
"""Words and cure for a form that a text does not have, by its pattern; what has none is said as the pattern."""


def worded(finding: ErrorDetails) -> str:
    """Return what is wrong with a value, in one clause.

    Example:
        >>> worded({"type": "greater_than", "loc": ("weight",), "msg": "", "input": 0, "ctx": {"gt": 0.0}})
        'the number must be greater than 0'
    """
    if finding["type"] == RULE:
        said = finding["msg"].removeprefix("Value error, ")
        return said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
    form = FORMS.get(str(finding.get("ctx", {}).get("pattern")))
    said = form[0] if form else WORDS.get(finding["type"], NOT_KNOWN).format(**finding.get("ctx", {}))
    return f"as a key: {said}" if finding["loc"][-1:] == (KEY,) else said
