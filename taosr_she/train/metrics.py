"""One row of metrics from a credited batch."""

from typing import Any

import numpy as np
import torch

from taosr_she.credit.advantages import no_signal_reasons, signal
from taosr_she.domain.domain import Domain
from taosr_she.train.batch import CreditedBatch


def batch_metrics(step: int, batch: CreditedBatch, domain: Domain) -> dict[str, Any]:
    """Reward (mean outcome), reward by step (mean known verdict), signal, lengths, malformed share.

    A step whose verdicts are all unknown has reward null. `no_signal` counts groups without signal by reason.
    """
    known = ~np.isnan(batch.verdicts.values)
    groups = batch.rollouts.group.cpu()
    row: dict[str, Any] = {"step": step, "reward": float(batch.outcomes.mean())}
    for k, key in enumerate(domain.step_keys):
        column = batch.verdicts.values[known[:, k], k]
        row[f"reward_{key}"] = float(column.mean()) if len(column) else None
    row["known_share"] = float(known.mean())
    row["signal_share"] = float(signal(batch.step_advantages, groups).float().mean())
    row["no_signal"] = no_signal_reasons(batch.step_advantages, torch.from_numpy(batch.outcomes), groups)
    row["length"] = float(batch.rollouts.mask.sum(dim=1).float().mean())
    row["malformed_rate"] = float(np.mean([not r.well_formed for r in batch.responses]))
    row["new_tokens"] = int(batch.rollouts.mask.sum())
    return row
