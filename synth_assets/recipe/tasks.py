"""What a sample of each task type consists of; how an answer is read is the template's word, in `template.Reply`."""

from dataclasses import dataclass

TEXT = "text"
"""The one field of a classification sample."""

MESSAGES = "messages"
"""The field of a dialogue: a JSON list of ``{"role", "content"}``."""

CODE = frozenset({"code", "tests"})
"""Fields whose white space means something: they keep their bytes but for the newlines at the end."""


@dataclass(frozen=True)
class Task:
    """The fields of a sample, all texts.

    Attributes:
        fields: what every sample has, in reading order.
        optional: what it may have beside them.
        category: Hugging Face's word for the task.
    """

    fields: tuple[str, ...]
    category: str
    optional: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """Every field a sample may have, in reading order."""
        return self.optional + self.fields


TASKS = {
    "classification": Task((TEXT,), "text-classification"),
    "instruction": Task(("instruction", "response"), "text-generation", optional=("input",)),
    "question_answering": Task(("question", "answer"), "question-answering", optional=("context",)),
    "summary": Task(("document", "summary"), "summarization"),
    "code": Task(("instruction", "code"), "text-generation", optional=("tests",)),
    "dialogue": Task((MESSAGES,), "text-generation"),
    "preference": Task(("prompt", "chosen", "rejected"), "text-generation"),
}
"""Every task type a recipe may name."""
