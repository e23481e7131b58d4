"""Whose national formats of personal data are looked for: those of a text's language, and those a recipe names."""

from collections.abc import Iterable

_BY_LANGUAGE = """
    ar SA EG AE; bg BG; bn IN; ca ES; cs CZ; da DK; de DE AT CH; el GR; en US GB; es ES MX; et EE; eu ES; fa IR; fi FI;
    fr FR BE CH; ga IE; gl ES; gu IN; he IL; hi IN; hr HR; hu HU; id ID; is IS; it IT CH; ja JP; kn IN; ko KR; lt LT;
    lv LV; ml IN; mr IN; ms MY; nb NO; nl NL BE; nn NO; no NO; pa IN; pl PL; pt BR PT; ro RO; ru RU; sk SK; sl SI;
    sr RS; sv SE; ta IN; te IN; th TH; tr TR; uk UA; ur PK; vi VN; zh CN TW
"""
REGIONS_OF = {words[0]: tuple(words[1:]) for each in _BY_LANGUAGE.split(";") if (words := each.split())}
"""Regions whose formats are looked for in a text, ISO 3166, by its language, ISO 639-1."""


def regions_of(language: str, named: Iterable[str]) -> tuple[str, ...]:
    """Return the regions of a language and those a recipe names, sorted.

    Example:
        >>> regions_of("fr", ["CA"])
        ('BE', 'CA', 'CH', 'FR')
    """
    return tuple(sorted({*REGIONS_OF.get(language, ()), *named}))
