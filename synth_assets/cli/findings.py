"""What `synth doctor` finds: one line for each thing it looked at."""

from collections.abc import Mapping
from dataclasses import dataclass

from synth_assets.errors import StoppedError, SynthError

Environ = Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: ``fix`` and ``exit_code`` matter only when something is wrong."""

    name: str
    is_ok: bool
    says: str
    fix: str = ""
    exit_code: int = StoppedError.exit_code


def refused(name: str, error: SynthError) -> Finding:
    """Return a refusal as a finding: any other command would end with it."""
    return Finding(name, False, f"{error.what} ({error.where})", error.fix, error.exit_code)
