"""Who may write to the audit: a key from the environment signs every entry's hash."""

import hmac
from collections.abc import Callable, Mapping

KEY = "SYNTH_AUDIT_KEY"


def signer(environ: Mapping[str, str]) -> Callable[[str], str] | None:
    """Return what signs the hash of an entry, as 64 hex digits; None where ``SYNTH_AUDIT_KEY`` is not set."""
    key = environ.get(KEY, "").encode()
    if not key:
        return None
    return lambda entry_sha256: hmac.new(key, entry_sha256.encode(), "sha256").hexdigest()
