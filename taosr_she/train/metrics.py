"""One row of metrics from a credited batch."""

from typing import Any

import numpy as np

from taosr_she.credit.advantages import no_signal_reasons
from taosr_she.domain.domain import Domain
from taosr_she.train.batch import CreditedBatch


def batch_metrics(step: int, batch: CreditedBatch, domain: Domain) -> dict[str, Any]:
    """Reward (mean outcome), reward by step (mean known verdict), signal, lengths, malformed share.

    A step whose verdicts are all unknown has reward null. `no_signal` counts groups without signal by reason.
    """
    known = ~np.isnan(batch.verdicts.values)
    groups = batch.rollouts.group
    row: dict[str, Any] = {"step": step, "reward": float(batch.outcomes.mean())}
    for k, key in enumerate(domain.step_keys):
        column = batch.verdicts.values[known[:, k], k]
        row[f"reward_{key}"] = float(column.mean()) if len(column) else None
    n_groups = int(groups.max()) + 1
    live = set(groups[batch.rows_with_signal.to(groups.device)].tolist())
    row["known_share"] = float(known.mean())
    row["signal_share"] = len(live) / n_groups
    row["no_signal"] = no_signal_reasons(batch.step_advantages, batch.outcomes, groups.cpu())
    row["length"] = float(batch.rollouts.mask.sum(dim=1).float().mean())
    row["malformed_rate"] = float(np.mean([not r.well_formed for r in batch.responses]))
    row["new_tokens"] = int(batch.rollouts.mask.sum())
    return row
