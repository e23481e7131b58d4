"""Progress of a running batch in the terminal."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from resources.progress import ENDING, LIMITED, listening
from synth_assets.cli.output import errors

WORDS = {"generated": "asking the model", "scored": "scoring", LIMITED: "refused: at its limit"}


class ProgressBar:
    """Shows announced progress on stderr while a block runs; silent when asked."""

    def __init__(self, *, is_quiet: bool) -> None:
        columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=errors, disable=is_quiet, transient=False)
        self._tasks: dict[str, TaskID] = {}
        self._listening = listening(self._hear)

    def _hear(self, what: str, done: int, total: int) -> None:
        known = self._tasks.get(what)
        if known is None or (self._bars.tasks[known].finished and done < total):
            self._tasks[what] = self._bars.add_task(WORDS.get(what, what), total=total)
        left = f"ending what was sent, {total - done} s left (again: drop it)" if what == ENDING else None
        self._bars.update(self._tasks[what], completed=done, total=total, description=left)

    def __enter__(self) -> "ProgressBar":
        self._bars.start()
        self._listening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.__exit__(kind, error, trace)
        self._bars.stop()
