"""The warning about too many malformed responses: one line, the same for every command and stage."""

from collections import Counter
from collections.abc import Iterable, Mapping

WARN_ABOVE = 0.2
"""Share of malformed responses above which there is a warning."""
_HINT = "was the model trained for this domain, and is max_new_tokens large enough?"


def malformed_warning(reasons: Iterable[str | None] | Mapping[str | None, int]) -> str | None:
    """One line if more than WARN_ABOVE of the responses are malformed, otherwise None.

    `reasons` has an entry for each response: why it is malformed, or None if it is well formed;
    or it has the number of responses for each of these.

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
    """The same warning if only the share is known."""
    return f"warning: {share:.0%} of the responses are malformed; {_HINT}" if share > WARN_ABOVE else None
