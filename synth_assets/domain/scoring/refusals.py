"""The scorer for answers that are no samples: refusals, and an assistant's talk around the text it was asked for.

The patterns ask for the assistant's turn of phrase, not for single words: film reviewers also write "I can't help but
laugh", "I'm sorry, but" and "Here is a film that".
"""

import re

from synth_assets.domain.scoring.scorer import for_each_text

_CANNOT = r"i(?: cannot| can ?not| can't| cant|'m unable to|'m not able to| am unable to| am not able to)"
_TASK = (
    r"(?:assist|comply|fulfil|generate|provide|create|produce|answer (?:that|this)|help (?:you|with)\b|continue with"
    r"|write (?:an?|any|that|this|such)\b|complete (?:this|that|your)|engage (?:in|with)|discuss (?:this|that))"
)
_APOLOGY = r"(?:sorry\b\W*|unfortunately\b\W*|i(?:'m| am) (?:so |very )?(?:sorry|afraid)\b\W*)?(?:but )?"
_GLADLY = r"(?:(?:sure|certainly|of course|absolutely|okay|great)\b[ ,!.:]+)?"
_HERE = r"here(?:'s| is| are) (?:an?|the|your|my|some|one|another|two|three|four|five|ten|[0-9]+) "
_REVIEW = r"(?:reviews?|responses?|rewrites?|paraphrases?|summary|summaries|drafts?)\b"
_LISTED = (
    r"(?:examples?|sentences?|texts?|lists?|paragraphs?|versions?|samples?|answers?|posts?|comments?|questions?)\b"
)

REFUSAL_PATTERNS = {
    "speaks as a machine": (
        r"\bas an? (?:large |ai )?language model\b",
        r"\bas an (?:ai|artificial intelligence)(?: assistant| model| chatbot| system)?,? (?:i|my)\b",
        r"\bi(?:'m| am) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model|chatbot)\b",
        r"\bmy (?:training data|knowledge cutoff|programming guidelines)\b",
    ),
    "declines": (
        rf"^\W*{_APOLOGY}{_CANNOT} {_TASK}",
        rf"[.!?] {_APOLOGY}{_CANNOT} (?:assist|comply|fulfil|help you with th(?:at|is))\b",
        r"^\W*i (?:cannot|can't|can not)\W*$",
        r"\b(?:against|violates?) (?:my|our|openai's) (?:guidelines|policy|policies|programming)\b",
    ),
    "presents the text instead of writing it": (
        rf"^\W*{_GLADLY}{_HERE}(?:[\w'-]+,? ){{0,4}}?{_REVIEW}",
        rf"^\W*{_GLADLY}{_HERE}(?:[\w'-]+,? ){{0,5}}?{_LISTED}[^.!?]{{0,80}}:",
        r"^\W*(?:sure|certainly|of course|absolutely)\b[ ,!.:]+i(?:'d|'ll| would) (?:be happy|be glad|love|write)\b",
        r"\bi hope this helps[.!]?$",
        r"\blet me know if you(?:'d| would| need| want| have)\b[^.!?]{0,80}[.!?]?$",
    ),
    "leaves the scaffolding in": (
        r"\[(?:insert|your|movie|film|name|title|product|company)[^\]]{0,40}\]",
        r"<\|[a-z_]{2,20}\|>|\[/?inst\]|#{2,} ?(?:response|instruction)\b",
        r"^\W*(?:review|output|response|assistant|user|human) ?:",
    ),
}
"""What marks a refusal or an assistant's boilerplate, in English, with case and spacing folded."""

_REFUSAL = re.compile("|".join(f"(?:{p})" for group in REFUSAL_PATTERNS.values() for p in group), re.IGNORECASE)


def refusal(text: str) -> float:
    """Return 1.0 if the text refuses, or talks about the text it should be; else 0.0. English only.

    Example:
        >>> refusal("As an AI, I have no taste."), refusal("I can't help but love this film.")
        (1.0, 0.0)
    """
    plain = " ".join(text.replace("\u2019", "'").split())
    return 1.0 if _REFUSAL.search(plain) else 0.0


measure_refusal = for_each_text(refusal)
