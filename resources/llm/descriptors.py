"""Whether this process may open as many connections as a run wants at once."""

import resource
from pathlib import Path

from synth_assets.domain.ports import Stop
from synth_assets.vocabulary import QuarantineReason

BESIDE = 32
"""What a run may open beside its connections and what is open already: the journal, the catalog, Dagster's storage."""


def too_few_descriptors(connections: int) -> Stop | None:
    """Return why a run cannot have its connections; raise this process's own limit first, as far as it may.

    Args:
        connections: most of them at once.
    """
    needed = sum(1 for _ in Path("/dev/fd").iterdir()) + connections + BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return None
    if hard == resource.RLIM_INFINITY or needed <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return None
    fix = f"raise it to {needed:,}, or lower `generator.concurrency` in the recipe; then run the same command again"
    return Stop(QuarantineReason.STOPPED, f"`ulimit -n` of this process, {hard:,} open files", fix)
