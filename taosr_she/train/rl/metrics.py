"""One row of metrics from a credited batch."""

from typing import Any

import numpy as np
import torch

from taosr_she.credit.advantages import no_signal_reasons, signal
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.labels import label_counts, label_entropy, label_shares, macro_f1
from taosr_she.examine.verdicts import SOURCES
from taosr_she.train.rl.batch import CreditedBatch


def batch_metrics(step: int, batch: CreditedBatch, domain: Domain) -> dict[str, Any]:
    """Reward (mean outcome), reward by step (mean known verdict), verdict sources, signal, lengths, malformed share.

    `sources` gives, for each step, the share of rollouts by the source of the verdict. A step with only unknown
    verdicts has reward null. `no_signal` counts groups without signal by reason. `labels_given` and `labels_true` are
    the shares of the labels in the rollouts and of people's labels for the same pairs, with their entropies in nats.
    `macro_f1` and `recall_<code>` compare the two; a recall is null if no pair of the batch has the label.
    """
    known = ~np.isnan(batch.verdicts.values)
    groups = batch.rollouts.group.cpu()
    row: dict[str, Any] = {"step": step, "reward": float(batch.outcomes.mean())}
    for k, key in enumerate(domain.step_keys):
        column = batch.verdicts.values[known[:, k], k]
        row[f"reward_{key}"] = float(column.mean()) if len(column) else None
    row["known_share"] = float(known.mean())
    row["sources"] = {key: _shares(batch.verdicts.sources[:, k]) for k, key in enumerate(domain.step_keys)}
    row["signal_share"] = float(signal(batch.step_advantages, groups).float().mean())
    row["no_signal"] = no_signal_reasons(batch.step_advantages, torch.from_numpy(batch.outcomes), groups)
    row["length"] = float(batch.rollouts.mask.sum(dim=1).float().mean())
    row["malformed_rate"] = float(np.mean([not r.well_formed for r in batch.responses]))
    row |= label_metrics(domain, batch)
    row["new_tokens"] = int(batch.rollouts.mask.sum())
    return row


def label_metrics(domain: Domain, batch: CreditedBatch) -> dict[str, Any]:
    """Predicted and human labels of the rollouts, compared; for the collapse monitor and the curves."""
    counts = label_counts(
        domain.codes, [p.label for p in batch.pairs], [r.label if r.well_formed else None for r in batch.responses]
    )
    given, true = label_shares(domain.codes, counts, given=True), label_shares(domain.codes, counts, given=False)
    recall = {
        f"recall_{code}": float(counts[i, i] / counts[i].sum()) if counts[i].any() else None
        for i, code in enumerate(domain.codes)
    }
    return {
        "labels_given": given,
        "labels_true": true,
        "label_entropy": label_entropy(given.values()),
        "label_entropy_true": label_entropy(true.values()),
        "macro_f1": macro_f1(counts),
        **recall,
    }


def _shares(codes: np.ndarray) -> dict[str, float]:
    """Source -> share of the entries of `codes` (B,)."""
    found, counts = np.unique(codes, return_counts=True)
    return {SOURCES[code]: int(n) / len(codes) for code, n in zip(found.tolist(), counts.tolist(), strict=True)}
