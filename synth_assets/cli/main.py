"""Entry point: the commands, and what every failure turns into."""

import importlib
import os
import resource
import sys
import traceback
from collections.abc import Sequence

import click

from synth_assets.cli.output import errors, print_error
from synth_assets.errors import IntegrityError, StoppedError, SynthError, UsageError, refused_by_system

COMMANDS = {
    "init": "scaffold",
    "doctor": "scaffold",
    "run": "batches",
    "ingest": "ingest",
    "plan": "plan",
    "accept-short": "acceptance",
    "backfill": "backfill",
    "demo": "demo",
    "status": "facts",
    "versions": "facts",
    "diff": "differences",
    "lineage": "facts",
    "query": "facts",
    "audit": "audit",
    "release": "versions",
    "train": "versions",
    "export": "export",
    "recheck": "recheck",
    "backup": "backup",
    "restore": "backup",
    "ui": "web",
}
"""Command to the module of this package that holds it: only the one that is called is imported."""

INTERRUPTED = 130

LEAST_ADDRESS_SPACE = 2_000_000_000
"""Bytes; on two cores `synth status` reserves 0.7 GB and touches 0.16."""


class LazyGroup(click.Group):
    """Imports a command when it is used, so that `synth --help` and shell completion are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name; None if there is no such command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"synth_assets.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        take_text(command)
        return command


class Text(click.types.StringParamType):
    """An argument that can be written down: names and reasons go into files and into the audit."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or say which argument is none."""
        text: str = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            self.fail(f"character {error.start + 1} is no text in UTF-8", param, ctx)
        if "\0" in text:
            self.fail("it holds a NUL", param, ctx)
        return text


def take_text(command: click.Command) -> None:
    """Let every argument of a command that is a text be one that can be written down; paths may be any bytes."""
    for each in getattr(command, "commands", {}).values():
        take_text(each)
    for param in command.params:
        if type(param.type) is click.types.StringParamType:
            param.type = Text()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="synth-assets")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def synth(context: click.Context, *, debug: bool) -> None:
    """Synthetic training data as Dagster assets, from the prompt template to the model that consumed it."""
    context.obj = {"debug": debug}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 stopped safely, 2 usage, 3 refused in this state, 4 integrity."""
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _refuse_little_memory()
        code = _exit_code(given)
    except Exception as error:
        if "--debug" in given:
            raise
        told = _unforeseen(error)
        print_error(told)
        code = told.exit_code
    sys.exit(code)


def _refuse_little_memory() -> None:
    """End before anything is loaded where a limit leaves too little: the engines' own threads would abort the process.

    Leaves with the exit code of a safe stop.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or limit >= LEAST_ADDRESS_SPACE:
        return
    told = StoppedError(
        f"this process may take {limit / 1e9:.1f} GB of address space, and needs {LEAST_ADDRESS_SPACE / 1e9:.1f}",
        where="`ulimit -v`",
        fix="raise the limit; what is really used is far less",
    )
    print_error(told)
    sys.exit(told.exit_code)


def _unforeseen(error: BaseException) -> SynthError:
    """Return what nobody foresaw as one paragraph; its message may hold sample text and is not shown."""
    return IntegrityError(
        f"the command failed with {type(error).__name__}",
        where=_place_of(error),
        fix="`synth audit verify` looks at what is stored; if that agrees, please report what `synth --debug` shows",
    )


def _place_of(error: BaseException) -> str:
    """Return the innermost line of our own code that an error passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "this command"


def _exit_code(arguments: list[str]) -> int:
    try:
        outcome = synth.main(args=arguments, prog_name="synth", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt, RuntimeError) as error:
        # DuckDB answers Ctrl-C inside a query with a RuntimeError.
        if isinstance(error, RuntimeError) and not isinstance(error, click.Abort) and str(error) != "Query interrupted":
            raise
        errors.print("interrupted; everything finished is kept, and the same command goes on")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as in `synth status | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        told = _told(error)
        if told is None or "--debug" in arguments:
            raise
        print_error(told)
        return told.exit_code
    # Click returns the code of `--help` and `--version` instead of raising it.
    return outcome if isinstance(outcome, int) else 0


def _told(error: BaseException) -> SynthError | None:
    """Return an error as a paragraph; None for one that is a mistake of ours."""
    if isinstance(error, SynthError):
        return error
    if isinstance(error, OSError):
        return refused_by_system(error)
    if is_short_of_memory(error):
        return StoppedError(
            "there is not enough memory; everything finished is kept",
            where="this process",
            fix="raise its limit (`ulimit -v`) or end other processes, then run the same command again",
        )
    return _unforeseen(error) if type(error).__name__ == "PanicException" else None


def is_short_of_memory(error: BaseException) -> bool:
    """Whether the system had no memory or no thread left; libraries say so in many ways."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, ImportError | RuntimeError | SystemError)
        and any(sign in said for sign in ("cannot allocate memory", "start new thread", "failed to map segment"))
    )


if __name__ == "__main__":
    main()
