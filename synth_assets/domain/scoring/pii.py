"""The scorer for personal data: addresses and numbers that could belong to somebody.

Found by form and, where one exists, by checksum. Names of people and places are not looked for. Nothing here returns
the text it found: places only, so that a report can never leak what it reports.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from synth_assets.domain.scoring.national import national_numbers
from synth_assets.domain.scoring.scorer import Context, result
from synth_assets.recipe.regions import regions_of

# Where a word starts and ends is written out: `\b` sees no border between a digit and a Chinese character.
_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_DOMAIN = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24}|[^\W\d_\x00-\x7f]{2,24})"
_LOCAL = r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+\u00c0-\u024f-]{1,64}"

_CREDENTIALS = re.compile(_START + r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/@:]{1,128}(?::[^\s/@]{0,128})?@[^\s/@]{1,255}")
_EMAIL = re.compile(_LOCAL + "@" + _DOMAIN + r"(?![A-Za-z0-9-])")
_DOT = r" ?(?:\.|[(\[{] ?(?:dot|punkt|point|punto|\.) ?[)\]}]) ?"
_SPELT_EMAIL = re.compile(
    _LOCAL
    + r" ?[(\[{] ?(?:at|\u00e4t|@|arroba|arobase) ?[)\]}] ?(?:[\w-]{1,63}"
    + _DOT
    + r"){1,4}[A-Za-z]{2,24}"
    + _END,
    re.IGNORECASE,
)
_IBAN = re.compile(_START + r"[A-Za-z]{2}[0-9]{2}")
_DIGIT_GROUPS = re.compile(r"(?<![A-Za-z0-9.])[0-9]{1,19}(?:[ -][0-9]{1,19}){0,6}" + _END)
_SSN = re.compile(r"(?<![A-Za-z0-9-])(?!000|666|9)[0-9]{3}([ -])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![A-Za-z0-9]|-[0-9])")
_IPV6 = re.compile(
    r"(?<![A-Za-z0-9:.])[0-9A-Fa-f:]{2,39}(?:(?<=:)(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![A-Za-z0-9:]|\.[0-9])"
)
_IPV4 = re.compile(rf"(?<![A-Za-z0-9.])(?:{_OCTET}\.){{3}}{_OCTET}(?![A-Za-z0-9]|\.[0-9])")
_US_PHONE = re.compile(
    r"(?<![A-Za-z0-9.-])(?:\+?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])"
    r"[0-9]{3}[ .-][0-9]{4}(?![A-Za-z0-9]|-[0-9])"
)
_CHINESE_MOBILE = re.compile(r"(?<![A-Za-z0-9.+-])1[3-9][0-9]([ -]?)[0-9]{4}\1[0-9]{4}(?![A-Za-z0-9]|-[0-9])")

_BRITISH_MOBILE = re.compile(r"(?<![A-Za-z0-9.+-])07[0-9]{3}(?: ?[0-9]{3}){2}(?![A-Za-z0-9]|-[0-9])")
_VERSION_WORDS = re.compile(
    r"(?:\bv|version|release|build|firmware|driver|section|chapter|kapitel|abschnitt|\u00a7|\u7248\u672c)[ .:]{0,2}$",
    re.IGNORECASE,
)
_PHONE_WORDS = re.compile(
    r"(?:\btel|phone|telefon|t\u00e9l|fono|\bcall|\bcell|mobil|handy|\bring|whats ?app|\bsms|\btext me|\bfax|ruf|appel|"
    r"llam|ligue|\u7535\u8bdd|\u624b\u673a|\u96fb\u8a71|\uc804\ud654|\u092b\u093c?\u094b\u0928)[^\n]{0,30}$",
    re.IGNORECASE,
)
_HANGS_BEFORE = re.compile(r"[A-Za-z0-9][-_/#=.]$|[_#=]$|[A-Za-z][-_/]?$")
_ABBREVIATED = re.compile(r"(?:tel|fon|phone|mob|fax|ph)[.:]?$", re.IGNORECASE)
_HANGS_BEHIND = re.compile(r"[-_/][A-Za-z0-9]|_")

_CARD_DIGITS = range(13, 20)
_CARD_ISSUERS = "23456"
"""First digits of payment cards; ISO/IEC 7812 gives the others to airlines, petroleum, health and the like."""

_FEWEST_PHONE_DIGITS = 7

_IBAN_REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
    "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 "
    "IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 "
    "MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 "
    "SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_REGISTRY.split()}
"""Characters of an IBAN by country; the SWIFT IBAN registry."""


@dataclass(frozen=True)
class Finding:
    """Something that looks like personal data, at ``text[start:end]``."""

    kind: str
    start: int
    end: int


class _Plain(dict[int, str]):
    """Compatibility forms (full-width digits, ideographic spaces, typographic dashes) as ASCII, length unchanged."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = unicodedata.normalize("NFKC", character)
        if unicodedata.category(character) == "Nd":
            folded = str(unicodedata.digit(character))
        elif unicodedata.category(character) in ("Pd", "Zs"):
            folded = "-" if unicodedata.category(character) == "Pd" else " "
        self[code] = kept = folded if len(folded) == 1 and folded.isascii() else character
        return kept


_PLAIN = _Plain()


def find_pii(text: str, *, regions: Collection[str]) -> list[Finding]:
    """Return what looks like personal data, in the order of the text, without overlaps.

    Where two kinds claim the same characters, the one with the stronger form wins: the order of `FINDERS`. Format
    characters, such as zero-width spaces and soft hyphens, hide nothing.

    Args:
        text: any text.
        regions: whose national formats are looked for, ISO 3166; international ones always are.

    Kinds:
        url_credentials (an address with user info), email (also with an umlaut in its domain, and spelt ``(at)``), iban
        (checksum), credit_card (Luhn), us_ssn, national_number (see `national`), ipv6, ipv4, phone (valid
        international and national numbers, anything written like a US number, Chinese and British mobile numbers).

    Source:
        ISO 13616 (IBAN), ISO/IEC 7812 (Luhn), libphonenumber through `phonenumbers`.

    Example:
        >>> find_pii("写信给li@example.cn谢谢", regions=())
        [Finding(kind='email', start=3, end=16)]
    """
    plain, places = _plain(text)
    found: list[Finding] = []
    for kind, finder in FINDERS.items():
        for start, end in finder(plain, regions):
            if all(end <= other.start or other.end <= start for other in found):
                found.append(Finding(kind, start, end))
    if places is not None:
        found = [Finding(each.kind, places[each.start], places[each.end - 1] + 1) for each in found]
    return sorted(found, key=lambda finding: finding.start)


def _plain(text: str) -> tuple[str, list[int] | None]:
    """Return a text in plain characters, without those that only format, and where each stood; None if all did."""
    if text.isascii():
        return text, None
    plain = text.translate(_PLAIN)
    if not any(unicodedata.category(character) == "Cf" for character in set(plain)):
        return plain, None
    places = [place for place, character in enumerate(plain) if unicodedata.category(character) != "Cf"]
    return "".join(plain[place] for place in places), places


Finder = Callable[[str, Collection[str]], Iterator[tuple[int, int]]]
"""Takes a text and regions, and yields where it found something."""


def _spans(*patterns: re.Pattern[str]) -> Finder:
    return lambda text, _: (match.span() for pattern in patterns for match in pattern.finditer(text))


def _ibans(text: str, _: Collection[str]) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        length = IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        body = re.compile(rf"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){{{length - 1}}}{_END}") if length else None
        whole = body.match(text, match.start()) if body else None
        if whole and is_iban(whole.group()):
            yield whole.span()


def is_iban(text: str) -> bool:
    """Whether the check digits hold: country and check digits moved to the end, letters as 10..35, rest 1 by 97."""
    plain = re.sub("[ -]", "", text)
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _cards(text: str, _: Collection[str]) -> Iterator[tuple[int, int]]:
    for run in _DIGIT_GROUPS.finditer(text):
        groups = list(re.finditer("[0-9]+", run.group()))
        spans = [(a.start(), b.end()) for i, a in enumerate(groups) for b in groups[i:]]
        hit = next((span for span in spans if is_card(run.group()[slice(*span)])), None)
        if hit:
            yield run.start() + hit[0], run.start() + hit[1]


def is_card(text: str) -> bool:
    """Whether it has the length and first digit of a payment card and passes Luhn's test."""
    digits = [int(character) for character in text if character not in " -"]
    if len(digits) not in _CARD_DIGITS or str(digits[0]) not in _CARD_ISSUERS:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _ipv6(text: str, _: Collection[str]) -> Iterator[tuple[int, int]]:
    for match in _IPV6.finditer(text):
        groups = [group for group in match.group().split(":") if group]
        if match.group().count(":") > 1 and len(groups) > 1 and re.search("[0-9]", match.group()):
            try:
                ipaddress.IPv6Address(match.group())
            except ValueError:
                continue
            yield match.span()


def _ipv4(text: str, _: Collection[str]) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        is_short = all(len(part) == 1 for part in match.group().split("."))  # a section, or a release of a program
        if not is_short and not _VERSION_WORDS.search(text[: match.start()]):
            yield match.span()


def _phones(text: str, regions: Collection[str]) -> Iterator[tuple[int, int]]:
    if sum(character.isdigit() for character in text) < _FEWEST_PHONE_DIGITS:
        return
    import phonenumbers

    for pattern in (_US_PHONE, _CHINESE_MOBILE, *([_BRITISH_MOBILE] if "GB" in regions else [])):
        spans = (match.span() for match in pattern.finditer(text))
        yield from (span for span in spans if not _is_part_of_a_name(text, *span))
    for region in sorted(regions) or ["US"]:
        yield from _national_phones(text, phonenumbers.PhoneNumberMatcher(text, region, phonenumbers.Leniency.VALID))


def _national_phones(text: str, matches: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Yield the matches that are telephones; digits in a row are one if they dial a trunk or a word says so."""
    for match in matches:
        is_bare = match.raw_string.isdigit() and not match.raw_string.startswith("0")
        is_phone = not is_bare or _PHONE_WORDS.search(text[: match.start])
        if is_phone and not _is_part_of_a_name(text, match.start, match.end):
            yield match.start, match.end


def _is_part_of_a_name(text: str, start: int, end: int) -> bool:
    """Whether digits hang on letters, as in the name of a host, a file or an order."""
    before = text[max(0, start - 8) : start]
    hangs = _HANGS_BEFORE.search(before) and not _ABBREVIATED.search(before)
    return bool(hangs or _HANGS_BEHIND.match(text[end : end + 2]))


FINDERS: dict[str, Finder] = {
    "url_credentials": _spans(_CREDENTIALS),
    "email": _spans(_EMAIL, _SPELT_EMAIL),
    "iban": _ibans,
    "credit_card": _cards,
    "us_ssn": _spans(_SSN),
    "national_number": national_numbers,
    "ipv6": _ipv6,
    "ipv4": _ipv4,
    "phone": _phones,
}


def measure_pii(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Return how many findings each new sample has, by the formats of its language and of the recipe's regions."""
    asked = samples.filter("is_new").select("text", "language").iter_rows()
    values = [float(len(find_pii(text, regions=regions_of(tongue, context.pii_regions)))) for text, tongue in asked]
    return result(values, [None] * len(values))
