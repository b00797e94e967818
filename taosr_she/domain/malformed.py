"""When so many responses are malformed that something is wrong: one line, for every command and stage."""

from collections import Counter
from collections.abc import Iterable

WARN_ABOVE = 0.2
"""Share of malformed responses above which people are told."""
_HINT = "was the model trained for this domain, and may it write enough tokens (max_new_tokens)?"


def malformed_warning(reasons: Iterable[str | None]) -> str | None:
    """One line when more than WARN_ABOVE of the responses are malformed, else None.

    `reasons` holds, for each response, why it is malformed; None where it is well formed.

    >>> malformed_warning(["cut off", None])[:74]
    'warning: 1 of 2 responses (50%) are malformed, most often: cut off (1); wa'
    """
    counts = Counter(reasons)
    total, malformed = counts.total(), counts.total() - counts.pop(None, 0)
    if malformed <= WARN_ABOVE * total:
        return None
    reason, times = counts.most_common(1)[0]
    return (
        f"warning: {malformed} of {total} responses ({malformed / total:.0%}) are malformed, most often: {reason} "
        f"({times}); {_HINT}"
    )


def malformed_share_warning(share: float) -> str | None:
    """The same where only the share is known."""
    return f"warning: {share:.0%} of the responses are malformed; {_HINT}" if share > WARN_ABOVE else None
