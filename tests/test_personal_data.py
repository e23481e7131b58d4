"""Personal data by region: a table of what must be found and one of what must not, both counted."""

import pytest

from synth_assets.domain.scoring import find_pii
from synth_assets.recipe.regions import REGIONS_OF, regions_of

FINDS: dict[str, list[str]] = {
    "de": [
        "Ruf mich an: [0171 2345678]",
        "Zentrale [030 12345678] werktags",
        "Tel. [089/12345678]",
        "Tel.:[0171/2345678].",
        "mobil [01712345678] oder",
        "Schreib an [info@m\u00fcller.de] bitte",
        "Schreib an [info (at) mueller (dot) de] bitte",
        "Schreib an [info [at] mueller.de] bitte",
        "[+49 171 2345678]",
        "Wien [0664 1234567]",
        "Steuer-ID [65 929 970 489]",
        "AHV [756.9217.0769.85]",
        "[01\u200b71 2345\u00ad678] versteckt",
        "[info@bei\u00adspiel.de] versteckt",
    ],
    "fr": [
        "Appelle le [01 23 45 67 89] demain",
        "mon portable [06.12.34.56.78]",
        "au [+33 6 12 34 56 78]",
        "num\u00e9ro [2 95 10 99 126 111 93]",
        "\u00e9cris \u00e0 [marie.dupont@caf\u00e9-paris.fr]",
    ],
    "en": [
        "call [020 7946 0958] today",
        "text [07700 900123]",
        "ring [07700900123]",
        "call [(212) 555-0123]",
        "phone [3074185296] after six",
        "ssn [123-45-6789]",
        "NI [AB 12 34 56 C] please",
        "NHS number [943 476 5919]",
        "mail [jo (at) example.com]",
        "mail [j\u200bo@example.com]",
        "server [8.8.8.121] answers",
        "see [192.168.10.4]",
    ],
    "ja": ["\u643a\u5e2f\u306f[090-1234-5678]\u3067\u3059", "\u6771\u4eac[03-1234-5678]"],
    "pt": [
        "ligue [(11) 91234-5678]",
        "meu CPF [390.533.447-05]",
        "CPF [39053344705] ok",
        "Lisboa [21 123 4567]",
    ],
    "hi": ["\u092b\u094b\u0928 [98765 43210]", "Aadhaar [2345 6789 0124] hai", "PAN [ABCPE1234F]"],
    "es": ["llama al [612 34 56 78]", "DNI [54362315K]", "NIE [X-2482300-W]"],
    "it": ["chiama [347 123 4567]", "codice fiscale [RSSMRA85T10A562S]"],
    "nl": ["bel [06-12345678]", "BSN [1112.22.333]"],
    "pl": ["zadzwo\u0144 [512 345 678]", "PESEL [44051401359]"],
    "sv": ["ring [070-123 45 67]", "pnr [880320-0016]"],
    "zh": ["\u7535\u8bdd[13812345678]\u5427", "\u8eab\u4efd\u8bc1[11010519491231002X]"],
    "ko": ["\uc804\ud654 [010-1234-5678]"],
    "tr": ["ara [0532 123 45 67]"],
}
"""By language: texts, with what must be found in brackets."""

TRAPS: dict[str, list[str]] = {
    "en": [
        "order 3074185296",
        "tracking number 3074185296 shipped",
        "see section 1.2.3.4 of the manual",
        "version 10.15.7.2 is out",
        "hosted-eu-20260812-09 is down",
        "backup_2026-08-12_0930.tar",
        "ISBN 978-3-16-148410-0",
        "on 2026-08-12 at 09:30",
        "from 1984-1985 to 1990-2000",
        "1,234,567 votes of 12,345,678",
        "3.14159265358979",
        "it costs 12 500 000 pounds",
        "std::cout << x",
        "I @ you (at) the door",
        "invoice INV-2026-0012345",
        "the pin is 4711 and the code 08154711",
        "card 4111 1111 1111 1112",
        "000-12-3456",
        "RFC 5321, page 12",
        "12345678901234567890123",
        "coordinates 52.5200, 13.4050",
        "model XPS-13-9310-2020",
        "at 7.30 pm on 12.08.2026",
        "v1.2.3.4 and 2.0.1.0",
        "the ratio 16:9:4:3",
        "sha 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
    ],
    "de": [
        "am 12.08.2026 um 14:30 Uhr",
        "Bestellung 4711-0815-2342",
        "10.000 bis 20.000 Euro",
        "Kapitel 2.10.11.3",
        "Artikel 65929970489",
        "DIN EN 60335-2-24",
        "Raum 3.2.1.4",
        "Postfach 12 34 56, 80331 M\u00fcnchen",
        "Konto ME-20260812-09",
    ],
    "fr": ["12 500 000 euros", "le 12/08/2026", "r\u00e9f\u00e9rence A-06-12-34", "page 12 sur 345"],
    "ja": ["2026-08-12\u306b", "10,000\u5186", "\u7b2c3-1-2\u53f7"],
    "pt": ["pedido 39053344706", "em 12/08/2026", "R$ 1.234.567,89"],
    "hi": ["2026-08-12", "\u20b9 12,34,567"],
    "zh": ["\u8ba2\u5355 20260812093011223", "\u7248\u672c 10.15.7.2"],
    "es": ["pedido 54362315A", "12.345.678 habitantes"],
    "pl": ["zam\u00f3wienie 44051401358", "12 345 678 z\u0142"],
}
"""By language: texts in which nothing is anybody's."""


def found_in(text: str, language: str) -> list[str]:
    return [text[each.start : each.end] for each in find_pii(text, regions=regions_of(language, []))]


def parted(marked: str) -> tuple[str, str]:
    """The text of a find, and what must be found in it."""
    start, end = marked.index("["), marked.rindex("]")
    return marked[:start] + marked[start + 1 : end] + marked[end + 1 :], marked[start + 1 : end]


@pytest.mark.parametrize("language", FINDS)
def test_what_is_somebodys_is_found_where_it_stands(language: str) -> None:
    missed = {}
    for text, wanted in map(parted, FINDS[language]):
        if found_in(text, language) != [wanted]:
            missed[text] = found_in(text, language)

    assert not missed


@pytest.mark.parametrize("language", TRAPS)
def test_what_is_nobodys_is_left_alone(language: str) -> None:
    wrong = {text: found for text in TRAPS[language] if (found := found_in(text, language))}

    assert not wrong


def test_a_region_the_recipe_names_is_looked_for_in_any_language() -> None:
    text = "my number is 98765 43210"

    assert find_pii(text, regions=regions_of("en", [])) == []
    assert len(find_pii(text, regions=regions_of("en", ["IN"]))) == 1


def test_regions_are_countries() -> None:
    import phonenumbers

    assert {each for several in REGIONS_OF.values() for each in several} <= phonenumbers.SUPPORTED_REGIONS
