"""Dagster's daemon, one per instance: ``python -m resources.daemon run -w WORKSPACE``.

Two daemons over one instance submit a backfill's batches twice and tick every schedule twice; Dagster warns of it and
goes on. This one holds a lock for as long as it lives, whatever port or host the other is on.
"""

import os
import signal
import sys
import threading

from resources.instance import dagster_home
from resources.owners import RENEW_EVERY_S, Owners
from resources.postgres import instance_server
from synth_assets.errors import RefusedError

DAEMON = "daemon"
"""Its name among those who own something of an instance."""


def daemon_owners() -> Owners:
    """Return the locks of the instance that the environment names."""
    return Owners(dagster_home(), instance_server(os.environ))


def another_daemon(owners: Owners) -> RefusedError:
    """Return what is said to a second daemon."""
    return RefusedError(
        f"{owners.holder(DAEMON)} runs the schedules and sensors of this instance already; nothing was started",
        where=str(dagster_home()),
        fix="use its web UI, or end that process first",
    )


def refuse_second() -> None:
    """Refuse to start where another daemon runs.

    Raises:
        RefusedError: one does.
    """
    owners = daemon_owners()
    if owners.lives(DAEMON):
        raise another_daemon(owners)


def main() -> None:
    """Run the daemon if nobody else does; exit 3 otherwise, and when a server gave our place to another."""
    owners = daemon_owners()
    if not owners.own(DAEMON):
        told = another_daemon(owners)
        sys.stderr.write(f"{told}\n")
        sys.exit(told.exit_code)
    threading.Thread(target=_watch, args=(owners,), daemon=True).start()

    from dagster._daemon.cli import main as dagster_daemon

    dagster_daemon()


def _watch(owners: Owners) -> None:
    """End the daemon once another one has its place: a server that was restarted forgets who held it."""
    pause = threading.Event()
    while not pause.wait(RENEW_EVERY_S):
        if owners.has_lost(DAEMON):
            os.kill(os.getpid(), signal.SIGTERM)
            return


if __name__ == "__main__":
    main()
