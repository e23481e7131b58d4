"""What calls cost, and what they can have cost at most where nobody says."""

from synth_assets.domain.ports import Call, Ending, Price
from synth_assets.vocabulary import MAY_BE_PAID

BYTES_PER_TOKEN = 2
"""Low on purpose: what a prompt may cost is estimated from above."""


def most_tokens(call: Call) -> int:
    """Return how many tokens a prompt has at most."""
    text = call.prompt if isinstance(call.prompt, str) else "".join(str(part) for part in call.prompt)
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def bound_usd(call: Call, price: Price | None) -> float:
    """Return what one try of a call costs at most in USD: its prompt, and all the tokens it may answer with.

    Without a price it is 0: a budget is refused then.
    """
    most = call.params.get("max_tokens")
    return (price.of(most_tokens(call), most if isinstance(most, int) else 0) if price else None) or 0.0


def cost_usd(ending: Ending, price: Price | None) -> float | None:
    """Return what a call cost in USD; None where nobody knows, 0 where nothing was asked or answered."""
    if price is not None and price.of(1, 1) == 0:
        return 0.0
    if ending.lost or (ending.answer is None and ending.reason in MAY_BE_PAID):
        return None
    if ending.answer is None:
        return 0.0
    return price.of(ending.answer.input_tokens, ending.answer.output_tokens) if price else None


def at_most_usd(call: Call, ending: Ending, price: Price | None) -> float:
    """Return what a call cost, or can have cost at most: a try that nobody waited for to its end counts as well."""
    known = cost_usd(ending, price)
    if known is not None:
        return known
    last = (
        None
        if ending.answer is None or price is None
        else price.of(ending.answer.input_tokens, ending.answer.output_tokens)
    )
    has_ended = ending.answer is not None or ending.reason in MAY_BE_PAID
    bound = bound_usd(call, price)
    return (bound if last is None else last) * has_ended + ending.lost * bound
