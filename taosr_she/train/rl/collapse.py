"""The collapse monitor: do the rollouts still give all labels, or only the commonest one?

With one label on most pairs, a reward for the exact label is easiest earned by giving that label to everything. The
policy then gives up the others within a dozen updates; the reward rises or stays as it is, and groups lose their signal
because all their rollouts say the same. What shows it early is how evenly labels are given, compared with how evenly
people gave them to the same pairs (thresholds: docs/evaluation.md).

Everything follows from the rows of the metrics file, so a resumed run sees and does the same.
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
"""A label with a smaller recall is named as lost."""


class CollapseConfig(Strict):
    """When the labels given count as collapsing, and what follows."""

    window: int = Field(default=5, gt=0)
    """Latest updates whose labels are counted together."""
    min_evenness: float = Field(default=0.7, ge=0)
    """Warn when the entropy of the labels given is below this share of that of the true labels of the same pairs. 0
    never warns."""
    on_collapse: Literal["warn", "stop"] = "warn"
    """`stop` ends the run with an error: its checkpoint would be worth less than its start."""


def evenness(rows: Sequence[Row]) -> float | None:
    """Entropy of the labels given over that of the true labels, both pooled over the rows. None with one true label,
    and where no label is given at all: that is malformed, not collapsed."""
    given, true = (_pooled([row[key] for row in rows]) for key in ("labels_given", "labels_true"))
    whole = label_entropy(true.values())
    return label_entropy(given.values()) / whole if whole and any(given.values()) else None


def collapse_signs(rows: Sequence[Row], config: CollapseConfig) -> dict[str, Any]:
    """What the last of the rows is to say: `label_evenness`, and `collapse`, a line where it falls below the threshold.

    Rows are all of the run so far. There is one line each time that it falls below, not one at every update.
    """
    now = evenness(rows[-config.window :])
    before = rows[-2].get("label_evenness") if len(rows) > 1 else None
    fell = len(rows) >= config.window and now is not None and now < config.min_evenness
    told = len(rows) > config.window and before is not None and before < config.min_evenness
    return {"label_evenness": now, "collapse": _line(rows, now, config) if fell and not told else None}


def _line(rows: Sequence[Row], now: float | None, config: CollapseConfig) -> str:
    last, first = rows[-config.window :], rows[: config.window]
    given, true = (_pooled([row[key] for row in last]) for key in ("labels_given", "labels_true"))
    most = max(given, key=lambda code: given[code])
    lost = [code for code in true if (recall := _recall(last, code)) is not None and recall < LOST]
    named = f"; hardly ever right on pairs of {', '.join(lost)}" if lost else ""
    signal = [sum(row["signal_share"] for row in part) / len(part) for part in (first, last)]
    return (
        f"labels collapse: {given[most]:.0%} of the answers give {most}, which {true[most]:.0%} of the pairs have "
        f"(label entropy {now:.2f} of the true one, at least {config.min_evenness:g} expected){named}; groups with "
        f"signal {signal[0]:.0%} at the start, {signal[1]:.0%} now; {CURES}"
    )


def _pooled(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of distributions; one that is empty does not count."""
    whole = sum(sum(row.values()) for row in shares) or 1.0
    return {code: sum(row[code] for row in shares) / whole for code in shares[0]}


def _recall(rows: Sequence[Row], code: str) -> float | None:
    """Share of right answers to the pairs of a label, over all rows; None where there was no such pair."""
    weights = [row["labels_true"][code] for row in rows]
    if not sum(weights):
        return None
    return sum(w * (row[f"recall_{code}"] or 0.0) for w, row in zip(weights, rows, strict=True)) / sum(weights)
