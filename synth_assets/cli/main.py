"""Entry point: the commands, and what every failure turns into."""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from synth_assets.cli.output import errors, print_error
from synth_assets.errors import SynthError, UsageError, refused_by_system

COMMANDS = {
    "init": "scaffold",
    "doctor": "scaffold",
    "run": "batches",
    "ingest": "ingest",
    "plan": "batches",
    "accept-short": "batches",
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
    "ui": "web",
}
"""Command to the module of this package that holds it: only the one that is called is imported."""

INTERRUPTED = 130


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
        return command


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
    sys.exit(_exit_code(list(sys.argv[1:] if arguments is None else arguments)))


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
    except (SynthError, OSError) as error:
        if "--debug" in arguments:
            raise
        told = error if isinstance(error, SynthError) else refused_by_system(error)
        print_error(told)
        return told.exit_code
    # Click returns the code of `--help` and `--version` instead of raising it.
    return outcome if isinstance(outcome, int) else 0


if __name__ == "__main__":
    main()
