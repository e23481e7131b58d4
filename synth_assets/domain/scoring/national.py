"""Numbers that states give to people, by region: found by their form and, where there is one, by their check digits.

What is only digits in a row is somebody's number only beside a word that says so, unless its form leaves next to
nothing to chance.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

_START, _END = r"(?<![A-Za-z0-9.-])", r"(?![A-Za-z0-9]|[.-][0-9])"

_ID_WORDS = re.compile(
    r"(?:steuer|tax|sozial|versicher|ident|\bid\b|\bi\.?d\.? |national|insurance|nhs|patient|cpf|aadha+r|\bpan\b|bsn"
    r"|burgerservice|pesel|personnummer|f\u00f8dselsnummer|cpr|hetu|henkil\u00f6|kimlik|\btc\b|s\u00e9cu|insee|\bnir\b"
    r"|dni|nie|nif|curp|\bsin\b|tfn|\u500b\u4eba\u756a\u53f7|\u30de\u30a4\u30ca\u30f3\u30d0\u30fc|\u8eab\u4efd\u8bc1"
    r"|\uc8fc\ubbfc)[^\n]{0,30}$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """One kind of national number.

    Attributes:
        name: what it is called.
        regions: where it is looked for; empty where its form alone gives it away.
        pattern: its form.
        module: of `stdnum`, whose ``is_valid`` knows the check digits; empty if there are none.
        is_chancy: whether a row of digits may pass by chance: then a word beside it must say what it is.
    """

    name: str
    regions: frozenset[str]
    pattern: re.Pattern[str]
    module: str
    is_chancy: bool = False


def _number(name: str, regions: str, form: str, module: str = "", *, is_chancy: bool = False) -> Number:
    return Number(name, frozenset(regions.split()), re.compile(_START + form + _END), module, is_chancy)


NUMBERS = (
    _number("Steuer-ID", "DE", r"[1-9][0-9](?: ?[0-9]{3}){3}", "de.idnr", is_chancy=True),
    _number("NIR", "FR", r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", "fr.nir"),
    _number(
        "National Insurance number",
        "GB",
        r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
    ),
    _number("NHS number", "GB", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", "gb.nhs", is_chancy=True),
    _number("CPF", "", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", "br.cpf"),
    _number("CPF", "BR", r"[0-9]{9}-?[0-9]{2}", "br.cpf", is_chancy=True),
    _number("Aadhaar", "IN", r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}", "in_.aadhaar", is_chancy=True),
    _number("PAN", "IN", r"[A-Z]{3}P[A-Z][0-9]{4}[A-Z]", "in_.pan"),
    _number("DNI", "ES", r"[0-9]{8}[- ]?[A-Z]", "es.dni"),
    _number("NIE", "ES", r"[XYZ][- ]?[0-9]{7}[- ]?[A-Z]", "es.nie"),
    _number("codice fiscale", "", r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", "it.codicefiscale"),
    _number("resident identity number", "", r"[1-9][0-9]{16}[0-9X]", "cn.ric"),
    _number("BSN", "NL", r"[0-9]{4}[. ]?[0-9]{2}[. ]?[0-9]{3}", "nl.bsn", is_chancy=True),
    _number("rijksregisternummer", "BE", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", "be.nn"),
    _number("AHV-Nummer", "", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", "ch.ssn"),
    _number("PESEL", "PL", r"[0-9]{11}", "pl.pesel"),
    _number("personnummer", "SE", r"(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}", "se.personnummer"),
    _number("f\u00f8dselsnummer", "NO", r"[0-9]{6} ?[0-9]{5}", "no.fodselsnummer"),
    _number("CPR", "DK", r"[0-9]{6}-[0-9]{4}", "dk.cpr"),
    _number("hetu", "FI", r"[0-9]{6}[-+A][0-9]{3}[0-9A-Y]", "fi.hetu"),
    _number("RRN", "KR", r"[0-9]{6}-[1-8][0-9]{6}"),
    _number("My Number", "JP", r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}", "jp.in_", is_chancy=True),
    _number("SIN", "CA", r"[0-9]{3}[ -][0-9]{3}[ -][0-9]{3}", "ca.sin"),
    _number("TFN", "AU", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}", "au.tfn", is_chancy=True),
    _number("CURP", "", r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]", "mx.curp"),
    _number("kimlik", "TR", r"[1-9][0-9]{10}", "tr.tckimlik", is_chancy=True),
    _number("identity number", "ZA", r"[0-9]{13}", "za.idnr"),
)
"""Every number that is known; the SSN of the United States is looked for everywhere, beside them."""


def national_numbers(text: str, regions: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield where numbers of people of some regions stand in a text, (start, end) each.

    Source:
        Check digits by `python-stdnum`, one module for each number.
    """
    for number in NUMBERS:
        if number.regions and not number.regions & set(regions):
            continue
        for match in number.pattern.finditer(text):
            if _is_valid(number, match.group()) and (not number.is_chancy or _is_said(text, match)):
                yield match.span()


def _is_valid(number: Number, text: str) -> bool:
    return not number.module or _checks()[number.module](text)


@lru_cache(maxsize=1)
def _checks() -> dict[str, Callable[[str], bool]]:
    """Return what knows the check digits, by module of `stdnum`; loaded when first asked."""
    from stdnum.au import tfn as au_tfn
    from stdnum.be import nn as be_nn
    from stdnum.br import cpf as br_cpf
    from stdnum.ca import sin as ca_sin
    from stdnum.ch import ssn as ch_ssn
    from stdnum.cn import ric as cn_ric
    from stdnum.de import idnr as de_idnr
    from stdnum.dk import cpr as dk_cpr
    from stdnum.es import dni as es_dni
    from stdnum.es import nie as es_nie
    from stdnum.fi import hetu as fi_hetu
    from stdnum.fr import nir as fr_nir
    from stdnum.gb import nhs as gb_nhs
    from stdnum.in_ import aadhaar as in_aadhaar
    from stdnum.in_ import pan as in_pan
    from stdnum.it import codicefiscale as it_codicefiscale
    from stdnum.jp import in_ as jp_in
    from stdnum.mx import curp as mx_curp
    from stdnum.nl import bsn as nl_bsn
    from stdnum.no import fodselsnummer as no_fodselsnummer
    from stdnum.pl import pesel as pl_pesel
    from stdnum.se import personnummer as se_personnummer
    from stdnum.tr import tckimlik as tr_tckimlik
    from stdnum.za import idnr as za_idnr

    return {
        "au.tfn": au_tfn.is_valid,
        "be.nn": be_nn.is_valid,
        "br.cpf": br_cpf.is_valid,
        "ca.sin": ca_sin.is_valid,
        "ch.ssn": ch_ssn.is_valid,
        "cn.ric": cn_ric.is_valid,
        "de.idnr": de_idnr.is_valid,
        "dk.cpr": dk_cpr.is_valid,
        "es.dni": es_dni.is_valid,
        "es.nie": es_nie.is_valid,
        "fi.hetu": fi_hetu.is_valid,
        "fr.nir": fr_nir.is_valid,
        "gb.nhs": gb_nhs.is_valid,
        "in_.aadhaar": in_aadhaar.is_valid,
        "in_.pan": in_pan.is_valid,
        "it.codicefiscale": it_codicefiscale.is_valid,
        "jp.in_": jp_in.is_valid,
        "mx.curp": mx_curp.is_valid,
        "nl.bsn": nl_bsn.is_valid,
        "no.fodselsnummer": no_fodselsnummer.is_valid,
        "pl.pesel": pl_pesel.is_valid,
        "se.personnummer": se_personnummer.is_valid,
        "tr.tckimlik": tr_tckimlik.is_valid,
        "za.idnr": za_idnr.is_valid,
    }


def _is_said(text: str, match: re.Match[str]) -> bool:
    """Whether digits are grouped as people write them, or a word before them says what they are."""
    return bool(re.search(r"[ .-]", match.group())) or bool(_ID_WORDS.search(text[: match.start()]))
