"""The scorer for personal data: addresses and numbers that could belong to somebody.

Found by form and, where one exists, by checksum. Names of people and places are not looked for. Nothing here returns
the text it found: places only, so that a report can never leak what it reports.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from synth_assets.domain.scoring.scorer import for_each_text

# Where a word starts and ends is written out: `\b` sees no border between a digit and a Chinese character.
_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_DOMAIN = r"(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"

_CREDENTIALS = re.compile(_START + r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/@:]{1,128}(?::[^\s/@]{0,128})?@[^\s/@]{1,255}")
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@" + _DOMAIN + r"(?![A-Za-z0-9-])")
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


def find_pii(text: str) -> list[Finding]:
    """Return what looks like personal data, in the order of the text, without overlaps.

    Where two kinds claim the same characters, the one with the stronger form wins: the order of `FINDERS`.

    Kinds:
        url_credentials (an address with user info), email, iban (checksum), credit_card (Luhn), us_ssn, ipv6, ipv4,
        phone (valid international and US numbers, anything written like a US number, Chinese mobile numbers).

    Source:
        ISO 13616 (IBAN), ISO/IEC 7812 (Luhn), libphonenumber through `phonenumbers`.

    Example:
        >>> find_pii("写信给li@example.cn谢谢")
        [Finding(kind='email', start=3, end=16)]
    """
    plain = text if text.isascii() else text.translate(_PLAIN)
    found: list[Finding] = []
    for kind, finder in FINDERS.items():
        for start, end in finder(plain):
            if all(end <= other.start or other.end <= start for other in found):
                found.append(Finding(kind, start, end))
    return sorted(found, key=lambda finding: finding.start)


def _spans(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
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


def _cards(text: str) -> Iterator[tuple[int, int]]:
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


def _ipv6(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV6.finditer(text):
        groups = [group for group in match.group().split(":") if group]
        if match.group().count(":") > 1 and len(groups) > 1 and re.search("[0-9]", match.group()):
            try:
                ipaddress.IPv6Address(match.group())
            except ValueError:
                continue
            yield match.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    if sum(character.isdigit() for character in text) < _FEWEST_PHONE_DIGITS:
        return
    import phonenumbers

    for pattern in (_US_PHONE, _CHINESE_MOBILE):
        yield from _spans(pattern)(text)
    valid = phonenumbers.Leniency.VALID
    for match in phonenumbers.PhoneNumberMatcher(text, "US", leniency=valid):
        yield match.start, match.end


FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "url_credentials": _spans(_CREDENTIALS),
    "email": _spans(_EMAIL),
    "iban": _ibans,
    "credit_card": _cards,
    "us_ssn": _spans(_SSN),
    "ipv6": _ipv6,
    "ipv4": _spans(_IPV4),
    "phone": _phones,
}


def pii_findings(text: str) -> float:
    """Return the number of `find_pii`'s findings."""
    return float(len(find_pii(text)))


measure_pii = for_each_text(pii_findings)
