"""Which run a sensor asks for: keys count the attempts to start one, so that a run that never began is asked for again.

Dagster launches a key once. A run that failed before its first commit changes nothing a key could be made of, and the
same key would be asked for in vain for ever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

MAX_STARTS = 4
"""How often a run is asked for that leaves nothing behind, before it is left to a person."""

START_AFTER = timedelta(minutes=10)
"""How long after the end of one the next is asked for."""

RUN_KEY = "dagster/run_key"


@dataclass(frozen=True)
class Started:
    """A run that was launched for a key.

    Attributes:
        ended_at: when it ended, UTC; None while it has not.
    """

    ended_at: datetime | None


def keys_of(key: str) -> list[str]:
    """Return the keys under which a run is asked for, first to last."""
    return [key, *(f"{key}/start-{number}" for number in range(2, MAX_STARTS + 1))]


def next_key(key: str, launched: Callable[[str], Started | None], *, now: datetime) -> tuple[str | None, str]:
    """Return the key to ask with, or None and why nobody is asked.

    Args:
        key: names what is to be done.
        launched: the run that was launched for a key, None if none was.
        now: the time, UTC.
    """
    for each in keys_of(key):
        run = launched(each)
        if run is None:
            return each, ""
        if run.ended_at is None:
            return None, "a run for it is under way"
        if now < run.ended_at + START_AFTER:
            return None, f"its run ended without a trace; next try after {run.ended_at + START_AFTER:%H:%M} UTC"
    return None, f"{MAX_STARTS} runs for it ended without a trace; a person should look"


def launched_on(instance: dg.DagsterInstance) -> Callable[[str], Started | None]:
    """Return the look-up of runs by key on an instance."""

    def launched(key: str) -> Started | None:
        found: Sequence[dg.RunRecord] = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY: key}), limit=1)
        if not found:
            return None
        record = found[0]
        if not record.dagster_run.is_finished:
            return Started(None)
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
        return Started(ended if ended.tzinfo else ended.replace(tzinfo=UTC))

    return launched
