"""What rank 0 does for a training by TRL: it examines and credits the rollouts of all processes, and writes all files.

Everything that is written is what our own loop writes: rows of metrics, rollouts, warnings.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taosr_she.base.errors import UserError
from taosr_she.credit.label_balance import label_weights
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.examine.verdicts import Examiner
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts
from taosr_she.train.rl.batch import CreditedBatch, credit_rollouts
from taosr_she.train.rl.collapse import CollapseConfig, collapse_signs
from taosr_she.train.rl.curriculum import Curriculum, Leg
from taosr_she.train.rl.metrics import batch_metrics
from taosr_she.train.rl.monitor import Monitor
from taosr_she.train.rl.rollout_log import write_rollouts
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.state import MetricsFile, as_read

METRICS = "metrics.jsonl"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credited:
    """What all processes need to know about the B rollouts of an update."""

    advantages: Tensor  # (B, T)
    signal: Tensor  # (B,) bool: the rollout's group has signal
    outcomes: list[float]  # B


class Lead:
    """Examiner, credit and files of one training. Only rank 0 has one."""

    def __init__(
        self,
        policy: Policy,
        domain: Domain,
        pairs: Sequence[Pair],
        examiner: Examiner,
        settings: StepCreditSettings,
        folder: Path,
        on_update: Callable[[dict[str, Any]], None] = lambda row: None,
        monitor: Monitor | None = None,
        collapse: CollapseConfig | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        """Arguments as of `train_step_credit`."""
        self._policy, self._domain, self._examiner, self._settings = policy, domain, examiner, settings
        self._folder, self._on_update, self._monitor = folder, on_update, monitor
        self._collapse = collapse or CollapseConfig()
        self._curriculum = curriculum
        self._legs = curriculum.legs if curriculum else [Leg(pairs, settings)]
        self._leg = self._legs[0]
        self._metrics: MetricsFile | None = None
        self._rows: list[dict[str, Any]] = []
        self._batch: CreditedBatch | None = None

    def open(self, finished: int) -> None:
        """Begin, or go on after this number of finished updates."""
        self._metrics = MetricsFile(self._folder / METRICS, finished)
        self._rows = list(self._metrics.kept)
        if self._monitor is not None:
            self._monitor.resume(self._metrics.kept)

    @property
    def ended(self) -> bool:
        """Whether the curriculum ends the training here."""
        return self._curriculum is not None and self._curriculum.next_leg(self._rows) is None

    def begin(self) -> int:
        """Begin an update; returns the number of its stage in the curriculum."""
        leg = self._curriculum.next_leg(self._rows) if self._curriculum else self._legs[0]
        assert leg is not None, "the training has ended"
        self._leg = leg
        return next(n for n, own in enumerate(self._legs) if own is leg)

    def credit(self, group_pairs: Sequence[Pair], responses: Sequence[Sequence[int]]) -> Credited:
        """Examine B responses (token ids) to P pairs; those of a pair are adjacent, and equally many."""
        lengths = torch.tensor([len(ids) for ids in responses])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.full(mask.shape, self._policy.pad_id)
        for row, own in zip(ids, responses, strict=True):
            row[: len(own)] = torch.tensor(own)
        ends = self._policy.end_ids
        rollouts = Rollouts(
            ids=ids,
            mask=mask,
            logprobs=torch.full(mask.shape, torch.nan),  # TRL knows them
            finished=torch.tensor([own[-1] in ends for own in responses]),
            group=torch.arange(len(group_pairs)).repeat_interleave(len(responses) // len(group_pairs)),
        )
        s = self._leg.settings
        labels, strength = [pair.label for pair in self._leg.pairs], s.credit.label_weight
        self._batch = credit_rollouts(
            self._policy, self._domain, group_pairs, rollouts, self._examiner, s.credit,
            label_weights(labels, strength) if strength else None, s.outcome_by,
        )  # fmt: skip
        batch = self._batch
        return Credited(batch.advantages, batch.rows_with_signal, batch.outcomes.tolist())

    def write(self, update: int, stats: dict[str, Any], seconds: dict[str, float]) -> bool:
        """The row of an update (counted from 0), and its rollouts if they are kept. Returns whether the curriculum ends
        the training; raises UserError if the collapse monitor does."""
        assert self._batch is not None and self._metrics is not None
        batch, settings = self._batch, self._settings
        if update % settings.keep_rollouts_every == 0 or update + 1 == settings.updates:
            write_rollouts(self._folder / "rollouts" / f"{update:05d}.parquet", update, batch, self._policy)
        row = batch_metrics(update + 1, batch, self._domain)
        tokens, total = row.pop("new_tokens"), sum(seconds.values())
        row |= stats | {"seconds": total} | {f"seconds_{part}": value for part, value in seconds.items()}
        row["tokens_per_second"] = tokens / total
        if self._monitor is not None:
            row |= self._monitor.observe(batch)
        before = int(self._rows[-1]["tokens"]) if self._rows else 0
        row = as_read(row | {"tokens": before + tokens})
        if self._curriculum:
            self._curriculum.mark(row, self._leg, self._rows)
        row |= collapse_signs([*self._rows, row], self._collapse)
        self._rows.append(row)
        self._metrics.write(row)
        if (update + 1) % settings.checkpoint_every == 0:
            self._metrics.sync()  # before TRL saves a state that includes the row
        self._on_update(row)
        if row["collapse"] and self._collapse.on_collapse == "stop":
            self._metrics.close()
            raise UserError(f"{self._folder.name}, update {row['step']}: stopped, {row['collapse']}")
        return self.ended

    def close(self) -> dict[str, Any]:
        """The summary of the training."""
        assert self._metrics is not None
        self._metrics.close()
        last = self._rows[-1] if self._rows else {}
        return {"updates": len(self._rows), "tokens": int(last.get("tokens", 0)), "reward": last.get("reward", 0.0)}
