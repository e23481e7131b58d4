"""Files of calls handed to a provider's batch endpoint, remembered on disk from before they are handed over.

One JSON file each under ``<home>/journal/<dataset>/<batch>/submissions/``, written, synced and renamed. It is there
before the provider hears of the work and goes when every answer is journaled, so no crash forgets paid work.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from synth_assets.canonical import digest
from synth_assets.errors import IntegrityError

KEY_LENGTH = 32


@dataclass(frozen=True)
class Submission:
    """Calls that were handed over together, or were about to be.

    Attributes:
        key: hash of the calls and the round; the provider keeps it too, so the work is found again by it.
        call_ids: in the order of the file.
        round: how often these calls were submitted before.
        submitted_at: seconds since 1970.
        remote_id: the provider's name for it; None as long as it is not known to have been handed over.
    """

    key: str
    call_ids: tuple[str, ...]
    round: int
    submitted_at: float
    remote_id: str | None = None


class Submissions:
    """The submissions of one batch that are not finished."""

    def __init__(self, home: Path, dataset: str, batch: str) -> None:
        self._folder = home / "journal" / dataset / batch / "submissions"

    def unfinished(self) -> list[Submission]:
        """Return them, oldest first.

        Raises:
            IntegrityError: a file is not what was written.
        """
        found = [_read(file) for file in self._folder.glob("*.json")]
        return sorted(found, key=lambda each: (each.submitted_at, each.key))

    def open(self, call_ids: Sequence[str], *, round: int, at: float) -> Submission:  # noqa: A002 - the field's name
        """Remember calls that are about to be handed over."""
        key = digest(["submission", list(call_ids), round])[:KEY_LENGTH]
        submission = Submission(key, tuple(call_ids), round, at)
        self._write(submission)
        return submission

    def name(self, submission: Submission, remote_id: str) -> Submission:
        """Remember the provider's name for it."""
        named = replace(submission, remote_id=remote_id)
        self._write(named)
        return named

    def close(self, submission: Submission) -> None:
        """Forget it: everything it brought is journaled."""
        self._file(submission).unlink(missing_ok=True)

    def _file(self, submission: Submission) -> Path:
        return self._folder / f"{submission.key}.json"

    def _write(self, submission: Submission) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(submission)
        staged = file.with_suffix(".new")
        with staged.open("wb") as out:
            out.write(orjson.dumps(asdict(submission)))
            out.flush()
            os.fsync(out.fileno())
        staged.rename(file)
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(file: Path) -> Submission:
    try:
        stored = orjson.loads(file.read_bytes())
        return Submission(**{**stored, "call_ids": tuple(stored["call_ids"])})
    except (orjson.JSONDecodeError, TypeError, KeyError):
        raise IntegrityError(
            "the memory of a submitted batch file is not what was written",
            where=str(file),
            fix="restore it from a backup; without it, delete it and its calls are submitted and paid again",
        ) from None
