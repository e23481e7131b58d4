"""Answers as gateways send them, written by hand: what each must give, or the reason it must be refused with.

Each row is (answer, expected[, repairs]). ``expected`` is a reason, the fields, or for forms of one field its text.
``repairs`` is what the reading must own up to; where it is left out, nothing may have been repaired.
"""

from typing import Any

from synth_assets.vocabulary import QuarantineReason

WRONG = QuarantineReason.WRONG_SCHEMA
EMPTY = QuarantineReason.EMPTY_ANSWER
TOKENS = QuarantineReason.CONTROL_TOKENS
THOUGHTS = QuarantineReason.THOUGHTS_ONLY
BAD = QuarantineReason.MALFORMED_ANSWER

Row = tuple[Any, ...]

DOOR = "The door is warm."
T, C = "thoughts", "control_tokens"

TEXT: list[Row] = [
    (DOOR, DOOR),
    (f"  {DOOR}\n", DOOR),
    (f"\ufeff{DOOR}", f"\ufeff{DOOR}"),
    ("   \n", EMPTY),
    ("", EMPTY),
    # thoughts, as models write them
    (f"<think>I should be brief.</think>{DOOR}", DOOR, T),
    (f"<think>\nI should\n\nbe brief.\n</think>\n\n{DOOR}", DOOR, T),
    (f"\n <think>x</think> {DOOR}", DOOR, T),
    (f"<think></think>\n\n{DOOR}", DOOR, C),
    (f"<think>\n\n</think>\n\n{DOOR}", DOOR, C),
    (f"<THINK>x</THINK>{DOOR}", DOOR, T),
    (f"<thinking>x</thinking>\n{DOOR}", DOOR, T),
    (f"<thought>x</thought>\n{DOOR}", DOOR, T),
    (f"<thoughts>x</thoughts>\n{DOOR}", DOOR, T),
    (f"<reasoning>x</reasoning>\n{DOOR}", DOOR, T),
    (f"<reflection>x</reflection>\n{DOOR}", DOOR, T),
    (f"<scratchpad>x</scratchpad>\n{DOOR}", DOOR, T),
    (f"<analysis>x</analysis>\n{DOOR}", DOOR, T),
    (f"<antThinking>x</antThinking>\n{DOOR}", DOOR, T),
    (f"<seed:think>x</seed:think>{DOOR}", DOOR, T),
    (f"<thought_process>x</thought_process>{DOOR}", DOOR, T),
    (f"<inner_monologue>x</inner_monologue>{DOOR}", DOOR, T),
    (f"<chain_of_thought>x</chain_of_thought>{DOOR}", DOOR, T),
    (f"&lt;think&gt;x&lt;/think&gt;{DOOR}", DOOR, T),
    (f'<details type="reasoning" done="true"><summary>Thought</summary>x</details>\n{DOOR}', DOOR, T),
    (f"<details><summary>More</summary>x</details>\n{DOOR}", f"<details><summary>More</summary>x</details>\n{DOOR}"),
    (f"<think>x</think>\n<response>{DOOR}</response>", DOOR, T),
    (f"[THINK]x[/THINK]{DOOR}", DOOR, T),
    (f"<|begin_of_thought|>x<|end_of_thought|>\n{DOOR}", DOOR, T),
    (
        f"<|begin_of_thought|>x<|end_of_thought|>\n<|begin_of_solution|>\n{DOOR}\n<|end_of_solution|>",
        DOOR,
        T,
    ),
    (f"<|START_THINKING|>x<|END_THINKING|><|START_RESPONSE|>{DOOR}<|END_RESPONSE|>", DOOR, T),
    (f"<|thinking|>x<|/thinking|>{DOOR}", DOOR, T),
    (f"\u25c1think\u25b7x\u25c1/think\u25b7{DOOR}", DOOR, T),
    (f"<|channel>thought\nx<channel|>{DOOR}", DOOR, T),
    (f"<think>x</think><think>y</think>{DOOR}", DOOR, T),
    (f"<think>x</think>\n<answer>{DOOR}</answer>", DOOR, T),
    (f"<think>I may <think> twice.</think>\n{DOOR}", DOOR, T),
    (f"<think>First.\n</think>\nSecond.\n</think>\n{DOOR}", DOOR, T),
    (f"<|im_start|>assistant\n<think>x</think>\n{DOOR}<|im_end|>", DOOR, f"{T}, {C}"),
    # the opening mark was part of the prompt
    (f"Okay, the user wants it.\n</think>\n\n{DOOR}", DOOR, T),
    (f"Okay, the user wants it.</think>\n{DOOR}", DOOR, T),
    (f"Okay, the user wants it.</think>{DOOR}", DOOR, T),
    (f"Okay.\n</thinking>\n{DOOR}", DOOR, T),
    (f"Okay.\n[/THINK]\n{DOOR}", DOOR, T),
    (f"\u55ef\uff0c\u7528\u6237\u60f3\u8981\u3002</think>{DOOR}", DOOR, T),
    (f"</think>\n\n{DOOR}", DOOR, C),
    ("Okay, the user wants it.\n</think>\n", THOUGHTS),
    # never closed
    ("<think>I should be brief. The door is warm.", THOUGHTS),
    ("<thinking>\nHm.\n", THOUGHTS),
    ("[THINK]Hm.", THOUGHTS),
    ("<|begin_of_thought|>Hm.", THOUGHTS),
    (f"<think>Hm.</think>\n<think>Once more. {DOOR}", THOUGHTS),
    ("<think>Hm.</think>", THOUGHTS),
    ("<think>Hm.</think><|im_end|>", THOUGHTS),
    # a mark that may be a thought's or a word of the text
    (f"{DOOR}\n<think>Was that right?</think>", TOKENS),
    (f"{DOOR}\n<think>Was that right?", TOKENS),
    ("Sure. <think>let me see</think> The door is warm.", TOKENS),
    ("He wrote <think> and </think> on the wall.", TOKENS),
    ("The tag </think> ends it.", TOKENS),
    ("Type `<think>` first, then `</think>`.", "Type `<think>` first, then `</think>`."),
    ('He wrote "<think>" on the wall.', 'He wrote "<think>" on the wall.'),
    ("He wrote \u201c</think>\u201d on it.", "He wrote \u201c</think>\u201d on it."),
    ("I think <b>this</b> is 3 < 4 and 5 > 4.", "I think <b>this</b> is 3 < 4 and 5 > 4."),
    ("It's <think> what's said.", TOKENS),
    ("Use [brackets] and <angles>.", "Use [brackets] and <angles>."),
    # harmony
    (
        f"<|channel|>analysis<|message|>Be brief.<|end|><|start|>assistant<|channel|>final<|message|>{DOOR}<|return|>",
        DOOR,
        T,
    ),
    (f"<|channel|>analysis<|message|>Be brief.<|end|><|start|>assistant<|channel|>final<|message|>{DOOR}", DOOR, T),
    (f"<|start|>assistant<|channel|>analysis<|message|>x<|channel|>final<|message|>{DOOR}", DOOR, T),
    (
        f"<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>commentary<|message|>y<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{DOOR}<|return|>",
        DOOR,
        T,
    ),
    (f"<|channel|>final<|message|>{DOOR}<|return|>", DOOR, C),
    ("<|channel|>analysis<|message|>The user wants it.", THOUGHTS),
    ("<|channel|>analysis<|message|>x<|end|>", THOUGHTS),
    (f"<|channel|>final<|message|>{DOOR}<|end|><|start|>assistant<|channel|>final<|message|>No.<|return|>", TOKENS),
    (f"analysisThe user wants it.assistantfinal{DOOR}", DOOR, T),
    ("analysis of a door: it is warm.", "analysis of a door: it is warm."),
    # control tokens
    (f"{DOOR}<|im_end|>", DOOR, C),
    (f"{DOOR}<|im_end|>\n", DOOR, C),
    (f"{DOOR}<|eot_id|>", DOOR, C),
    (f"{DOOR}<|endoftext|>", DOOR, C),
    (f"{DOOR}<|end_of_text|>", DOOR, C),
    (f"{DOOR}<|end|>", DOOR, C),
    (f"{DOOR}</s>", DOOR, C),
    (f"{DOOR} </s></s>", DOOR, C),
    (f"{DOOR}<eos>", DOOR, C),
    (f"{DOOR}<end_of_turn>", DOOR, C),
    (f"{DOOR}<|END_OF_TURN_TOKEN|>", DOOR, C),
    (f"{DOOR}<\uff5cend\u2581of\u2581sentence\uff5c>", DOOR, C),
    (f"{DOOR}<|im_end|><|endoftext|>", DOOR, C),
    (f"<s>{DOOR}</s>", DOOR, C),
    (f"<|assistant|>\n{DOOR}", DOOR, C),
    (f"<|start_header_id|>assistant<|end_header_id|>\n\n{DOOR}<|eot_id|>", DOOR, C),
    (f"<start_of_turn>model\n{DOOR}<end_of_turn>", DOOR, C),
    (f"[/INST] {DOOR}", DOOR, C),
    (f"<\uff5cAssistant\uff5c>{DOOR}", DOOR, C),
    (f"{DOOR}<|im_end|>\n<|im_start|>user\nAnother one.", TOKENS),
    (f"{DOOR}<|im_end|>\n<|im_start|>assistant\n{DOOR}", TOKENS),
    (f"{DOOR}\n[INST] Another. [/INST] The roof.", TOKENS),
    (f"{DOOR}<end_of_turn>\n<start_of_turn>user\nHi", TOKENS),
    ("The door</s> is warm.", TOKENS),
    ("The token `<|im_end|>` ends a turn.", "The token `<|im_end|>` ends a turn."),
    ("Nobody says <s>cold</s> warm.", "Nobody says <s>cold</s> warm."),
    ("<|im_end|>", EMPTY),
    ("A door\0 is warm.", BAD),
]
"""A summary's text, `fills: summary`."""

ONE: list[Row] = [
    ('{"message": "x"}', "x"),
    (' {"message": "x"} \n', "x"),
    ('{"message": "x", "more": [1, {"a": null}]}', "x"),
    ('{"message": "Line.\\nLine."}', "Line. Line."),
    ('{"message": "\\u00e9\\ud83d\\ude00"}', "\u00e9\U0001f600"),
    # around it
    ('```json\n{"message": "x"}\n```', "x", "fence"),
    ('```\n{"message": "x"}\n```', "x", "fence"),
    ('```JSON\n{"message": "x"}\n```\n', "x", "fence"),
    ('~~~json\n{"message": "x"}\n~~~', "x", "fence"),
    ('````json\n{"message": "x"}\n````', "x", "fence"),
    ('```json\n{"message": "x"}', "x", "fence"),
    ('```json {"message": "x"} ```', "x", "prose"),
    ('```json\n{"message": "x"}\n```\nSee [docs] for more.', "x", "fence, prose"),
    ('Sure! Here is the JSON:\n```json\n{"message": "x"}\n```', "x", "fence, prose"),
    ('Here it is: {"message": "x"}', "x", "prose"),
    ('{"message": "x"}\n\nLet me know if you need more.', "x", "prose"),
    ('json\n{"message": "x"}', "x", "prose"),
    ('JSON: {"message": "x"}', "x", "prose"),
    ('The set {1, 2} is small. {"message": "x"}', "x", "prose"),
    ('{"message": "x"} {}', "x", "prose"),
    ('[{"message": "x"}]', "x", "list"),
    ('```json\n[{"message": "x"}]\n```', "x", "fence, list"),
    ('"{\\"message\\": \\"x\\"}"', "x", "encoded_twice"),
    ('\ufeff{"message": "x"}', "x", "byte_order_mark"),
    ('<think>{"message": "no"}</think>{"message": "x"}', "x", T),
    ('Hm, {"message": "no"}?\n</think>\n{"message": "x"}', "x", T),
    ('{"message": "x"}<|im_end|>', "x", C),
    ('<think>a</think>```json\n{"message": "x",}\n```<|eot_id|>', "x", f"{T}, {C}, fence, commas"),
    # inside it
    ('{"message": "x",}', "x", "commas"),
    ('{"message": "x", "tags": ["a", "b",],}', "x", "commas"),
    ('{"tone": "dry"\n "message": "x"}', "x", "commas"),
    ("{'message': 'x'}", "x", "quotes"),
    ("{'message': \"it's x\"}", "it's x", "quotes"),
    ("{\u201cmessage\u201d: \u201cx\u201d}", "x", "quotes"),
    ('{message: "x"}', "x", "bare_keys"),
    ('{"message": "one\ntwo"}', "one two", "line_breaks"),
    ('{"message": "one\ttwo"}', "one two", "line_breaks"),
    ('{"message": "x" // the text\n}', "x", "comments"),
    ('{/* the text */ "message": "x"}', "x", "comments"),
    ('{"message": "x", "done": True, "more": None}', "x", "words"),
    ('{"message": "x", "score": NaN}', "x", "words"),
    ('{"message": "see https://a.example"}', "see https://a.example"),
    ('{"message": "x"}\n{"message": "x"}', "x", "repeated"),
    # what could mean two things, or is no object
    ('{"message": "x"} {"message": "y"}', WRONG),
    ('[{"message": "x"}, {"message": "y"}]', WRONG),
    ('For example {"message": "y"}. Now: {"message": "x"}', WRONG),
    ('```json\n{"message": "x"}\n```\n```json\n{"message": "y"}\n```', WRONG),
    ('{"message": "x", "message": "y"}', WRONG),
    ('{"message": "x", "message": "x"}', WRONG),
    ('{"message": "x",\n"message": "y",}', WRONG),
    ('{"message": "x"', WRONG),
    ('{"message": "x', WRONG),
    ('{"message": "x", ', WRONG),
    ('{"message": ', WRONG),
    ("{", WRONG),
    ('```json\n{"message": "x', WRONG),
    ('{"message": "x"} {"message": "x', WRONG),
    ('{"message": "He said "hi" to me"}', WRONG),
    ("{'message': 'it's x'}", WRONG),
    ('{"message": "a" "b"}', WRONG),
    ('{"message" "x"}', WRONG),
    ('{"message": x}', WRONG),
    ('{"message": "\\x"}', WRONG),
    ('{"message": "\\ud800"}', WRONG),
    ('{"message": "a\\u0000b"}', WRONG),
    ('{"message": null}', WRONG),
    ('{"message": 3}', WRONG),
    ('{"message": ["x"]}', WRONG),
    ('{"text": "x"}', WRONG),
    ('{"result": {"message": "x"}}', WRONG),
    ('{"broken" , "a": {"message": "x"}}', WRONG),
    ("{}", WRONG),
    ("[]", WRONG),
    ("null", WRONG),
    ("x", WRONG),
    ("", WRONG),
    ("I cannot help with that.", WRONG),
    ('{"message": ' + "[" * 5_000, WRONG),
    ('{"a": ' * 5_000, WRONG),
    ('{"message": ""}', EMPTY),
    ('{"message": "  "}', EMPTY),
    ('{"message": "x <|im_end|>"}', TOKENS),
    ('{"message": "<think>x</think> y"}', TOKENS),
    ('<think>{"message": "x"}', THOUGHTS),
    ('{"message": "x"}<|im_end|><|im_start|>user', "x", "prose"),
]
"""A classification's JSON, `field: message`."""

QA = {"question": "Why?", "answer": "So."}
PAIRS: list[Row] = [
    ('{"question": "Why?", "answer": "So."}', QA),
    ('{"question": "Why?", "answer": "So.", "context": "Here."}', QA | {"context": "Here."}),
    ('{"question": "Why?", "answer": "So.", "context": null}', QA),
    ('{"question": "Why?", "answer": "So.", "context": ""}', QA),
    ('{"question": "Why?", "answer": "So.", "context": "  "}', QA),
    ('{"question": "Why?", "answer": "So.", "context": ["Here."]}', WRONG),
    ('{"question": "Why?", "answer": "", "context": "Here."}', EMPTY),
    ('{"question": "Why?", "context": "Here."}', WRONG),
    ('{"question": "Why?", "answer": null}', WRONG),
    ("{'question': 'Why?', 'answer': 'So.', 'context': None}", QA, "quotes, words"),
]
"""A question and its answer with a context that may be missing, as JSON."""

SECTIONS: list[Row] = [
    ("Question: Why?\nAnswer: So.", QA),
    ("**Question:** Why?\n\n**Answer:** So.", QA),
    ("**Question**: Why?\n**Answer**: So.", QA),
    ("**Question**\nWhy?\n\n**Answer**\nSo.", QA),
    ("## Question\nWhy?\n\n## Answer\nSo.", QA),
    ("### Question: Why?\n### Answer: So.", QA),
    ("Question\uff1aWhy?\nAnswer\uff1aSo.", QA),
    ("\u200eQuestion: Why?\n\u200fAnswer: So.", QA),
    ("question: Why?\nANSWER: So.", QA),
    ("Here you are.\n\nQuestion: Why?\nAnswer: So.", QA),
    ("<think>Question: No?</think>\nQuestion: Why?\nAnswer: So.", QA, T),
    ("Question: Why?\nAnswer: So.<|im_end|>", QA, C),
    ("Question: Why?\nAnswer: * one\n* two*", QA | {"answer": "* one\n* two*"}),
    ("Question: Why?\nAnswer: So **much**", QA | {"answer": "So **much**"}),
    ("Question: Why?\nAnswer: So.\nAnswer: No.", WRONG),
    ("Question: Why?", WRONG),
    ("Question Why?\nAnswer So.", WRONG),
    ("Question\nWhy?\nAnswer\nSo.", WRONG),
    ("Question: Why?\nAnswer:", EMPTY),
    ("Question: Why?\nAnswer: So. <|im_end|> <|im_start|>user", TOKENS),
]
"""A question and its answer below headings."""

CODE: list[Row] = [
    ("```python\ndef f():\n    return 1\n```", "def f():\n    return 1"),
    ("Here:\n```py\nx = 1\n```\nDone.", "x = 1"),
    ("```\n    indented = 1\n    more = 2\n```", "    indented = 1\n    more = 2"),
    ("```python\n\nx = 1\n\n\n```", "\nx = 1"),
    ("```c#\nvar x = 1;\n```", "var x = 1;"),
    ('```python title="a.py"\nx = 1\n```', "x = 1"),
    ("~~~python\nx = 1\n~~~", "x = 1"),
    ("  ```python\n  if x:\n      y = 1\n  ```", "if x:\n    y = 1"),
    ("````markdown\n```\ninner\n```\n````", "```\ninner\n```"),
    ("```python\nx = 1\n```\n\nRun it:\n```bash\npython a.py\n```", "x = 1"),
    ("```python\nprint('<think>')\n```", "print('<think>')"),
    ("```html\n<thinking>\n</thinking>\n```", "<thinking>\n</thinking>"),
    ("<think>```python\nno = 1\n```</think>\n```python\nx = 1\n```", "x = 1", T),
    ("First\n```python\nno = 1\n```\nNo.\n</think>\n```python\nx = 1\n```", "x = 1", T),
    ("```python\nx = 1\n```<|im_end|>", "x = 1", C),
    ("```python\r\nx = 1\r\ny = 2\r\n```", "x = 1\r\ny = 2"),
    (
        '```python\ndef f():\n    """\n    ```\n    x\n    ```\n    """\n```',
        'def f():\n    """\n    ```\n    x\n    ```\n    """',
    ),
    ('```python\nx = """\n```\ny\n```\n"""\n```', WRONG),
    ('```python\nx = """\n```\n"""\n```', WRONG),
    ("```python\nx = 1", WRONG),
    ("```python\nx = 1\n~~~", WRONG),
    ("x = 1", WRONG),
    ("`x = 1`", WRONG),
    ("```\n\n```", EMPTY),
    ("```python\nx = 1 <|im_end|>\n```", TOKENS),
]
"""Code in a fence, `fills: code`, no syntax."""

TALK = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
TURNS: list[Row] = [
    ("User: Hello?\nAssistant: Hello.", TALK),
    ("**User:** Hello?\n\n**Assistant:** Hello.", TALK),
    ("Human: Hello?\nAI: Hello.", TALK),
    ("<think>x</think>User: Hello?\nAssistant: Hello.<|im_end|>", TALK, f"{T}, {C}"),
    ("User: Hello?", WRONG),
    ("Assistant: Hello.\nUser: Hello?", WRONG),
    ("User: Hello?\nAssistant: <think>x</think>Hello.", TOKENS),
    ("User: Hello?\nAssistant: Hello.<|eot_id|>User: More?", TOKENS),
]
"""A dialogue as turns."""

CHOICE = {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}
PREFERENCE: list[Row] = [
    ('{"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}', CHOICE),
    ('```json\n{"prompt": "Hi",\n "chosen": "Hello.",\n "rejected": "Go.",\n}\n```', CHOICE, "fence, commas"),
    ('{"prompt": "Hi", "chosen": "Hello."}', WRONG),
    ('{"prompt": "Hi", "chosen": "Hello.", "rejected": ""}', EMPTY),
    ('{"prompt": "Hi", "chosen": "<think>x</think>Hello.", "rejected": "Go."}', TOKENS),
]
"""A prompt with two replies, as JSON."""

DO = {"instruction": "Add 1.", "response": "1.\n2."}
INSTRUCTION: list[Row] = [
    ('{"instruction": "Add 1.", "response": "1.\\n2."}', DO),
    ('{"instruction": "Add 1.", "response": "1.\\n2.", "input": null}', DO),
    ('{"instruction": "Add 1.", "response": "1.\\n2.", "input": "2"}', DO | {"input": "2"}),
    ('{"instruction": "Add 1.", "response": "1.\n2."}', DO, "line_breaks"),
    ('{"instruction": "Add 1."', WRONG),
    ("Sure:\n{\n  instruction: 'Add 1.',\n  response: '1.\\n2.',\n}", DO, "prose, bare_keys, quotes, commas"),
]
"""An instruction and its response with an input that may be missing, as JSON."""

WITH_CONTEXT = {"question": "question", "answer": "answer", "context": "context"}
WITH_INPUT = {"instruction": "instruction", "response": "response", "input": "input"}

ANSWERS: dict[str, tuple[str, dict[str, Any], list[Row]]] = {
    "text": ("summary", {"format": "text", "fills": "summary"}, TEXT),
    "json": ("classification", {"format": "json", "field": "message"}, ONE),
    "pairs": ("question_answering", {"format": "json", "fields": WITH_CONTEXT}, PAIRS),
    "sections": ("question_answering", {"format": "sections"}, SECTIONS),
    "code": ("code", {"format": "code", "fills": "code"}, CODE),
    "turns": ("dialogue", {"format": "turns"}, TURNS),
    "preference": ("preference", {"format": "json"}, PREFERENCE),
    "instruction": ("instruction", {"format": "json", "fields": WITH_INPUT}, INSTRUCTION),
}
"""By name: task type, how it is read, and the rows."""
