"""Which languages the detector knows: a rule on another one would never judge anything."""

from collections.abc import Iterable

from synth_assets.errors import UsageError

ALIASES = {"nb": "no", "iw": "he", "in": "id", "mo": "ro"}
"""Codes of languages that the detector knows by another code; `docs/recipes.md` says which."""

DETECTED = frozenset(
    """
    ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv fy
    ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la lb
    lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk
    sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
    """.split()  # noqa: SIM905 - as the model lists them
)
"""Languages of the detector's model; a test compares them with it."""


def refuse_undetected(languages: Iterable[str], *, where: str) -> None:
    """Refuse languages that a rule or score on `language` could never judge.

    Raises:
        UsageError: the detector knows one of them by no code.
    """
    unknown = sorted(code for code in languages if ALIASES.get(code, code) not in DETECTED)
    if unknown:
        raise UsageError(
            f"`language` would never judge a sample: the detector does not know {', '.join(unknown)}",
            where=where,
            fix="leave `language` out of `rules` and `quality_score`, or correct the code of the language",
        )
