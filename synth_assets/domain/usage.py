"""One row of `usage_log` for everybody who takes a version: for a release, an export, a training or a program."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from synth_assets.canonical import stored_json
from synth_assets.domain.transactions import Change
from synth_assets.tables import TABLES


@dataclass(frozen=True)
class Usage:
    """Who used which version for what.

    Attributes:
        digest: of the version, so that the row still says what was used should numbers be doubted.
        run_id: of the run that used it; empty outside one.
        purpose: what the person said; empty if nothing.
        destination: kind of place it went to, never a path: a path may hold names of people and projects.
    """

    dataset: str
    version: int
    action: Literal["release", "export", "train", "load_dataset"]
    actor: str
    at: datetime
    digest: str
    run_id: str
    purpose: str
    destination: Literal["release folder", "folder", "model", "memory"]

    @property
    def facts(self) -> dict[str, Any]:
        """What the audit entry of the same transaction says of it."""
        return {
            "version": self.version,
            "digest": self.digest,
            "run_id": self.run_id,
            "purpose": self.purpose.strip() or None,
            "destination": self.destination,
        }

    def row(self, **more: Any) -> Change:
        """Return the row, with further facts: counts, hashes and names of formats."""
        row = {"dataset": self.dataset, "version": self.version, "action": self.action, "actor": self.actor}
        facts = {name: value for name, value in self.facts.items() if name != "version"}
        rows = TABLES["usage_log"].frame([{**row, "details": stored_json({**facts, **more}), "used_at": self.at}])
        return Change("usage_log", rows)
