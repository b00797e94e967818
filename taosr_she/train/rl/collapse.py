"""The collapse monitor: do the rollouts still give all labels, or only the most frequent one?

If most pairs have the same label, the easiest way to earn a reward for the exact label is to give it to every pair. The
policy then gives up the others within a dozen updates; the reward rises or stays constant, and groups lose their signal
because all their rollouts agree. An early sign is how evenly labels are predicted, compared with people's labels for
the same pairs (thresholds: docs/evaluation.md).

Everything is computed from the rows of the metrics file, so a resumed run gives the same warnings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.evaluate.labels import label_entropy

Row = Mapping[str, Any]
CURES = (
    "balance the pairs by label (`settings.balance`), lower the learning rate, or add a KL to the start (`loss.beta`)"
)
LOST = 0.05
"""A label with a smaller recall is reported as lost."""


class CollapseConfig(Strict):
    """When predicted labels count as collapsed, and the consequence."""

    window: int = Field(default=5, gt=0)
    """Number of latest updates whose labels are counted together."""
    min_evenness: float = Field(default=0.7, ge=0)
    """Warn if the entropy of the predicted labels is below this share of that of the true labels of the same pairs. 0
    never warns."""
    on_collapse: Literal["warn", "stop"] = "warn"
    """`stop` ends the run with an error: its checkpoint would be worse than its start."""


def evenness(rows: Sequence[Row]) -> float | None:
    """Entropy of the predicted labels divided by that of the true labels, both pooled over the rows. None if there is
    only one true label, or if no label is given at all: the responses are then malformed, not collapsed."""
    given, true = (_pooled([row[key] for row in rows]) for key in ("labels_given", "labels_true"))
    whole = label_entropy(true.values())
    return label_entropy(given.values()) / whole if whole and any(given.values()) else None


def collapse_signs(rows: Sequence[Row], config: CollapseConfig) -> dict[str, Any]:
    """Signs for the last of the rows: `label_evenness`, and `collapse`, a message if it falls below the threshold.

    Rows are all rows of the run so far. The message comes once each time it falls below, not at every update.
    """
    now = evenness(rows[-config.window :])
    before = rows[-2].get("label_evenness") if len(rows) > 1 else None
    fell = len(rows) >= config.window and now is not None and now < config.min_evenness
    warned = len(rows) > config.window and before is not None and before < config.min_evenness
    return {"label_evenness": now, "collapse": _line(rows, now, config) if fell and not warned else None}


def _line(rows: Sequence[Row], now: float | None, config: CollapseConfig) -> str:
    last, first = rows[-config.window :], rows[: config.window]
    given, true = (_pooled([row[key] for row in last]) for key in ("labels_given", "labels_true"))
    most = max(given, key=lambda code: given[code])
    lost = [code for code in true if (recall := _recall(last, code)) is not None and recall < LOST]
    named = f"; hardly ever right on pairs of {', '.join(lost)}" if lost else ""
    signal = [sum(row["signal_share"] for row in part) / len(part) for part in (first, last)]
    return (
        f"labels collapse: {given[most]:.0%} of the predicted labels are {most}, against {true[most]:.0%} of the true "
        f"ones (label entropy {now:.2f} of the true one, at least {config.min_evenness:g} expected){named}; groups "
        f"with signal {signal[0]:.0%} at the start, {signal[1]:.0%} now; {CURES}"
    )


def _pooled(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of distributions; empty ones are not counted."""
    whole = sum(sum(row.values()) for row in shares) or 1.0
    return {code: sum(row[code] for row in shares) / whole for code in shares[0]}


def _recall(rows: Sequence[Row], code: str) -> float | None:
    """Share of right answers among the pairs of a label, over all rows; None if there are no such pairs."""
    weights = [row["labels_true"][code] for row in rows]
    if not sum(weights):
        return None
    return sum(w * (row[f"recall_{code}"] or 0.0) for w, row in zip(weights, rows, strict=True)) / sum(weights)
