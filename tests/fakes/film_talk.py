"""What the fake model says: film reviews of varied words, a function of prompt, seed and schema alone."""

import hashlib
import json
import random
import re
from typing import Any


def _phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.replace("\n", " ").split("|")]


WORK = _phrases(
    """
    thriller | western | courtroom drama | space opera | road movie | heist picture | ghost story | musical |
    war epic | satire | biopic | family comedy | spy caper | boxing film | silent pastiche | disaster flick |
    kitchen-sink drama | fairy tale | zombie comedy | whodunit | coming-of-age tale | love story | prison break |
    sports documentary | animated fable | noir | costume drama | monster movie
    """
)

PART = _phrases(
    """
    script | lead actress | camera work | editing | score | third act | dialogue | opening scene | villain |
    supporting cast | pacing | sound design | costumes | stunt work | final twist | director | child actor |
    narration | lighting | romance | humour | setting | chase | flashbacks | ensemble
    """
)

PLACE = _phrases(
    """
    a lighthouse in Brittany | a bankrupt circus | the Lisbon docks | an oil rig | a boarding school | a border town
    | a chess club | the Arctic | a night bus | a vineyard | a submarine | a retirement home | a Tokyo arcade |
    a failing newspaper | a monastery | a mining village | a car park | a radio station | the Scottish isles |
    an abandoned zoo | a wedding barge | a call centre | a desert motel | an opera house
    """
)

GOOD = _phrases(
    """
    luminous | gripping | tender | razor-sharp | hilarious | fearless | elegant | moving | inventive | warm |
    assured | dazzling | witty | honest | thrilling | graceful | charming | masterful | generous | exhilarating |
    haunting | delightful | superb | rich | bold | heartfelt
    """
)

BAD = _phrases(
    """
    tedious | clumsy | hollow | shrill | lifeless | muddled | lazy | smug | dreary | bloated | wooden | predictable
    | flat | incoherent | charmless | sluggish | cynical | mawkish | grating | stale | joyless | amateurish |
    overlong | dull | contrived | forgettable
    """
)

GOOD_END = _phrases(
    """
    I left the cinema grinning | it earns every tear | I would see it again tomorrow | not a minute is wasted |
    it deserves every prize | my whole row applauded | it stays with you for days | it turns a small idea into gold
    | every joke lands | it restores faith in the genre | the last shot alone is worth the ticket |
    it made two hours feel like one | I cannot recommend it enough | a triumph from first to last |
    even the quiet scenes sparkle | you forget that you are watching actors
    """
)

BAD_END = _phrases(
    """
    I looked at my watch five times | it wastes everyone involved | I wanted my money back | not one joke lands |
    half the room walked out | it drags to a pointless finish | nothing here feels true | it insults its audience |
    even the trailer was too long | I struggled to stay awake | the ending makes no sense at all |
    it mistakes noise for drama | avoid it at all costs | a chore from first to last |
    the scenery deserves better company | you can hear the plot creak
    """
)

TURNS = (
    "the {part} is {a}, and this {work} about {place} feels {b}; {end}",
    "set in {place}, the {work} has a {part} so {a} and a {part2} so {b} that {end}",
    "for a {work}, the {part} is surprisingly {a}: {place} never looked so {b}, and {end}",
    "what a {a} {work}, with a {b} {part} and {place} for a stage; {end}",
    "between a {a} {part} and a {b} {part2}, this {work} set in {place} knows what it is, and {end}",
    "the {part} calls this {work} home: {place} becomes {a}, the {part2} {b}, and {end}",
    "nobody expected {place} to carry a {work}, yet the {part} turns out {a} and the {part2} {b}; {end}",
)


def answer_for(prompt: str, seed: int, *, schema: dict[str, Any] | None, is_continuation: bool) -> str:
    """Return the text of an answer.

    Args:
        prompt: decides, with the seed, every word; its last `positive` or `negative` decides the mood.
        seed: sampling seed.
        schema: JSON schema the answer follows, if any.
        is_continuation: whether the answer continues the prompt's last line, as raw completions do.
    """
    rng = random.Random(hashlib.sha256(f"{seed}\n{prompt}".encode()).digest())
    moods = re.findall(r"positive|negative", prompt.lower())
    is_good = moods[-1] == "positive" if moods else rng.random() < 0.5
    if schema is not None:
        return json.dumps(_value(schema, rng, is_good=is_good))
    if is_continuation:
        return f" is {_words(rng, is_good)}, since {_review(rng, is_good=is_good)}."
    review = _review(rng, is_good=is_good)
    return f"{review[0].upper()}{review[1:]}."


def _review(rng: random.Random, *, is_good: bool) -> str:
    a, b = rng.sample(GOOD if is_good else BAD, 2)
    part, part2 = rng.sample(PART, 2)
    end = rng.choice(GOOD_END if is_good else BAD_END)
    review = rng.choice(TURNS).format(
        a=a, b=b, part=part, part2=part2, work=rng.choice(WORK), place=rng.choice(PLACE), end=end
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", review)


def _words(rng: random.Random, is_good: bool) -> str:
    return " and ".join(rng.sample(GOOD if is_good else BAD, 2))


def _value(schema: dict[str, Any], rng: random.Random, *, is_good: bool) -> Any:
    """Return a value that follows the parts of JSON schema that prompts use."""
    if "enum" in schema:
        mood = "positive" if is_good else "negative"
        return mood if mood in schema["enum"] else rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        return {name: _value(part, rng, is_good=is_good) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [_value(schema.get("items", {}), rng, is_good=is_good) for _ in range(schema.get("minItems", 3))]
    numbers = {"integer": rng.randint(1, 5), "number": round(rng.random(), 3), "boolean": is_good, "null": None}
    return numbers[kind] if kind in numbers else _review(rng, is_good=is_good)
