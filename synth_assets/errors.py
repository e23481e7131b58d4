"""What every refusal of this system looks like: what happened, where, and how to fix it.

The class decides the exit code of the command line; nothing else about an error is interpreted.
"""

import errno

TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OPEN_FILES = "raise the limit of open files (`ulimit -n`)"
"""What a person does about `TOO_MANY_FILES`."""


class SynthError(Exception):
    """A refusal a person can act on.

    Args:
        what: one sentence, without sample text and without secrets.
        where: the file, table, batch or address concerned.
        fix: the next thing to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  fix:   {fix}")
        self.what = what
        self.where = where
        self.fix = fix


class StoppedError(SynthError):
    """Work stopped safely: everything finished is kept and the same command goes on (exit 1)."""

    exit_code = 1


class UsageError(SynthError):
    """A wrong recipe, an unknown name or an argument that cannot be (exit 2)."""

    exit_code = 2


class RefusedError(SynthError):
    """Refused in the present state: somebody else works, or a gate stands in between (exit 3)."""

    exit_code = 3


class IntegrityError(SynthError):
    """What is stored contradicts itself (exit 4)."""

    exit_code = 4


BY_EXIT_CODE: dict[int, type[SynthError]] = {
    kind.exit_code: kind for kind in (StoppedError, UsageError, RefusedError, IntegrityError)
}


def refused_by_system(error: OSError) -> StoppedError:
    """Return what the operating system refused, such as a full disk, as a stop a person can act on."""
    cure = "check free space (for temporary files too) and permissions"
    return StoppedError(
        f"the operating system refused: {error.strerror or type(error).__name__}",
        where=str(error.filename or "this process"),
        fix=f"{OPEN_FILES if error.errno in TOO_MANY_FILES else cure}, then run the same command again",
    )
