"""What a model's answer holds besides the answer: thoughts said aloud, and control tokens of its chat template.

Nothing is guessed. Thoughts are cut where they stand as chat templates write them: at the beginning, or everything
before a lone closing mark that stands as such. Whatever mark is left is told, unless it is quoted or code.
"""

import re
from dataclasses import dataclass

from synth_assets.domain.fences import blocks

_NAMES = (
    r"(?:(?:inner_|internal_)?(?:think|thinking|thoughts?|reason|reasoning|monologue)(?:_process)?"
    r"|reflection|scratchpad|analysis|antthinking|seed:think|chain_of_thought|cot)"
)
_PAIRS = (
    (rf"<{_NAMES}\s*>", rf"</{_NAMES}\s*>"),
    (rf"&lt;{_NAMES}\s*&gt;", rf"&lt;/{_NAMES}\s*&gt;"),
    (r"\[(?:THINK|THINKING|REASONING)\]", r"\[/(?:THINK|THINKING|REASONING)\]"),
    (
        rf"<\|(?:(?:begin_of|start)_)?{_NAMES}\|>",
        rf"<\|(?:end_of_|end_|/){_NAMES}\|>",
    ),
    (r"\u25c1think\u25b7", r"\u25c1/think\u25b7"),
    (r"<\|channel>\s*thought\b", r"<channel\|>"),
    (r'<details type="reasoning"[^<>]{0,80}>', "</details>"),
)
"""How models open and close a thought, each form with its own closing mark."""

_OPEN = re.compile("|".join(f"(?P<o{place}>{opened})" for place, (opened, _) in enumerate(_PAIRS)), re.IGNORECASE)
_CLOSES = [re.compile(closed, re.IGNORECASE) for _, closed in _PAIRS]
_CLOSE = re.compile("|".join(closed for _, closed in _PAIRS if closed != "</details>"), re.IGNORECASE)
_THOUGHT_MARK = re.compile(f"{_OPEN.pattern}|{_CLOSE.pattern}", re.IGNORECASE)

_WRAPPERS = re.compile(
    r"\s*(?:<(?:final_)?(?:answer|response|output|solution)>(.*)</(?:final_)?(?:answer|response|output|solution)>"
    r"|<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>)?"
    r"|<\|start_response\|>(.*?)(?:<\|end_response\|>)?)\s*",
    re.DOTALL | re.IGNORECASE,
)
"""What some models put around the answer once they have thought."""

_CHANNELS = re.compile(r"\s*(?:<\|start\|>)?\s*(?:assistant)?\s*(?=<\|channel\|>)")
_CHANNEL = re.compile(
    r"(?:<\|start\|>\s*assistant[^<]*)?<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(.*?)(?:<\|end\|>|<\|call\|>|<\|return\|>|(?=<\|start\|>|<\|channel\|>)|\Z)\s*",
    re.DOTALL,
)
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[^\s\w]|[A-Z])(.*?)assistantfinal(.*)", re.DOTALL)
"""The same with its tokens taken out by the server, as some do."""

_CONTROL = (
    r"<\|/?[A-Za-z][\w/ .:-]{0,40}\|>|<\uff5c[^\uff5c<>\n]{1,40}\uff5c>|</?(?:start|end)_of_turn>|<(?:eos|bos|pad|unk)>"
    r"|\[/?INST\]|<</?SYS>>"
)
_LEFT = re.compile(f"{_CONTROL}|</s>")
_AT_THE_END = re.compile(
    r"(?:\s*(?:</s>|<eos>|<end_of_turn>|<pad>|\[/INST\]|<\uff5cend[^\uff5c<>\n]*\uff5c>"
    r"|<\|/?(?:im_end|im_start|eot_id|eom_id|end_of_text|endoftext|end|end_of_turn|END_OF_TURN_TOKEN|return|eos|pad"
    r"|eot|end_of_message|end_of_solution|assistant|fim_pad|end_header_id|END_RESPONSE|endofprompt|sep)\|>))+\s*\Z"
)
_AT_THE_BEGINNING = re.compile(
    r"\s*(?:<s>|<bos>|<\|(?:begin_of_text|startoftext|BOS_CONTROL)\|>|<\uff5cbegin[^\uff5c<>\n]*\uff5c>"
    r"|<\uff5cAssistant\uff5c>|<\|im_start\|>\s*assistant\b|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>"
    r"|<\|assistant\|>|<\|start\|>\s*assistant\b|<start_of_turn>\s*model\b|\[/INST\]|<\|START_RESPONSE\|>)\s*"
)

_QUOTED = re.compile(
    r"(`+)[^`\n]+?\1|\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)|\u201c[^\u201d\n]*\u201d|\u00ab[^\u00bb\n]*\u00bb"
)


@dataclass(frozen=True)
class Parted:
    """An answer apart from the thoughts before it; either may be empty."""

    thoughts: str
    answer: str


def part(text: str) -> Parted:
    r"""Part what a model thought aloud from what it answered.

    Known are tags such as ``<think>`` at the beginning, closed or not; everything before a lone closing tag that
    stands at the start or end of a line, or right after a sentence; and the channels of OpenAI's harmony format.

    Example:
        >>> part("<think>Short.</think> A fine film.")
        Parted(thoughts='Short.', answer=' A fine film.')
        >>> part("The user wants it.\n</think>\nA fine film.").answer
        '\nA fine film.'
        >>> part("He wrote <think> and </think> on the wall.").thoughts
        ''
    """
    if _CHANNELS.match(text):
        return _of_channels(text)
    bare = _BARE_CHANNELS.fullmatch(text)
    if bare and "assistantfinal" not in bare[2]:
        return Parted(bare[1].strip(), bare[2])
    start = _AT_THE_BEGINNING.match(text)
    rest, thoughts = text[start.end() :] if start else text, []
    while opened := _OPEN.match(rest.lstrip()):
        inside = rest.lstrip()[opened.end() :]
        closed = _CLOSES[_form(opened)].search(inside)
        thoughts.append(inside[: closed.start()] if closed else inside)
        rest = inside[closed.end() :] if closed else ""
    lone = _lone_close(rest)
    if lone is not None:
        thoughts.append(rest[: lone.start()])
        rest = rest[lone.end() :]
    if not thoughts:
        return Parted("", text)
    wrapped = _WRAPPERS.fullmatch(rest)
    return Parted(
        "\n".join(filter(None, map(str.strip, thoughts))),
        next(each for each in wrapped.groups() if each is not None) if wrapped else rest,
    )


def without_tokens(text: str) -> str:
    """Return an answer without the control tokens at its two ends; those inside are not touched.

    Example:
        >>> without_tokens("<|im_start|>assistant A fine film.<|im_end|>")
        'A fine film.'
    """
    while start := _AT_THE_BEGINNING.match(text):
        text = text[start.end() :]
    return _AT_THE_END.sub("", text)


def holds_marks(text: str, *, is_code: bool = False) -> bool:
    """Return whether a text still holds a control token or the mark of a thought that is neither quoted nor code.

    Args:
        text: a field of a sample.
        is_code: whether all of it is code, where thoughts are nobody's and a tag is a tag.

    Example:
        >>> holds_marks("Fine. <|im_end|> <|im_start|>user"), holds_marks("Type `<think>` first.")
        (True, False)
    """
    if not any(mark in text for mark in "<[&\u25c1"):
        return False
    marks = list(_LEFT.finditer(text)) + ([] if is_code else list(_THOUGHT_MARK.finditer(text)))
    if not marks:
        return False
    quoted = [match.span() for match in _QUOTED.finditer(text)] + _fenced(text)
    strikes = text.count("<s>")
    free = [mark for mark in marks if not any(start < mark.start() and mark.end() < end for start, end in quoted)]
    return any(mark.group() != "</s>" or not strikes for mark in free)


def _form(opened: re.Match[str]) -> int:
    return next(int(name[1:]) for name, value in opened.groupdict().items() if value is not None)


def _fenced(text: str) -> list[tuple[int, int]]:
    return [(block.start, block.end) for block in blocks(text) if block.is_closed]


def _lone_close(text: str) -> re.Match[str] | None:
    """Return the last closing mark that nothing opened and that stands as templates write it, outside of any fence."""
    opened = _OPEN.search(text)
    fences = _fenced(text)
    found = None
    for mark in _CLOSE.finditer(text, 0, opened.start() if opened else len(text)):
        is_fenced = any(start < mark.start() < end for start, end in fences)
        if not is_fenced and _stands_alone(text, mark):
            found = mark
    return found


def _stands_alone(text: str, mark: re.Match[str]) -> bool:
    """Whether a closing mark begins or ends its line, or directly follows the end of a sentence."""
    before, after = text[: mark.start()], text[mark.end() :]
    line_before = before.rpartition("\n")[2]
    line_after = after.partition("\n")[0]
    return not line_before.strip() or not line_after.strip() or line_before[-1] in ".!?\u2026\u3002\uff01\uff1f\u061f"


def _of_channels(text: str) -> Parted:
    parts = [(match[1].casefold(), match[2]) for match in _CHANNEL.finditer(text)]
    left = _CHANNEL.sub("", text)
    finals = [said for channel, said in parts if channel == "final"]
    if without_tokens(left).strip() or len(finals) > 1:
        return Parted("", text)
    thoughts = [said.strip() for channel, said in parts if channel != "final"]
    return Parted("\n".join(thoughts), finals[0] if finals else "")
