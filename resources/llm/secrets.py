"""Secrets this process knows: nothing that a provider says may carry one of them into what is stored."""

SHORTEST = 8
"""Characters; a shorter key would be found in harmless words."""

_known: set[str] = set()


def remember(secret: str) -> None:
    """Look for a secret in everything that comes back from now on; it is kept in memory only."""
    if len(secret) >= SHORTEST:
        _known.add(secret)


def holds_secret(*texts: str | None) -> bool:
    """Whether one of some texts holds a known secret.

    Example:
        >>> holds_secret("a fine film", None)
        False
    """
    return any(secret in text for text in texts if text for secret in _known)
