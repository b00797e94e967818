"""A check at the start of training: does an update reach the sampler?

A sampler with stale weights, or without the adapter that is being trained, still writes sensible text: training then
goes on in silence, and the policy that it improves is never sampled. (Reports from other trainers: unsloth PR 8701,
verl 7495, trl 6688.) So the first update is looked at twice, just before and just after its optimizer step: sampler and
trainer each compute the log-probabilities of the same few sampled tokens. At equal weights they must agree up to
rounding, and after the step the sampler's must have moved. The sampler computes them token by token with its caches, as
it samples, in every process of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.engine.precision import computing
from taosr_she.engine.shared_prefix import shared_logprobs
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import sampler_logprobs
from taosr_she.train.rl.batch import CreditedBatch
from taosr_she.train.rl.settings import StepCreditSettings

FILE = "start_check.json"
"""What was found, in the folder of the stage."""
ROWS, TOKENS = 4, 16
"""Number of responses, of one pair, and of their first tokens, that are looked at."""
BOUNDS = {False: (1e-3, 1e-4), True: (0.1, 0.01)}
"""In float32 and in half precision: the largest mean difference per token between sampler and trainer, in nats, and
how much it may grow with the update beyond three times what it was."""


class StartCheck:
    """Looks at the first update of this process; afterwards it does nothing.

    >>> check = StartCheck(folder)                                                           # doctest: +SKIP
    >>> check.before(policy, prompts, batch, rows, settings); optimizer.step(); check.after(policy)  # doctest: +SKIP
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._state = folder, "new"

    def before(
        self,
        policy: Policy,
        prompts: list[list[int]],
        batch: CreditedBatch,
        rows: torch.Tensor,
        settings: StepCreditSettings,
    ) -> None:
        """Just before the first optimizer step, with the gradients of `rows` computed."""
        if self._state != "new":
            return
        self._state = "begun"
        group = batch.rollouts.group
        chosen = [b for b in rows.tolist() if group[b] == group[rows[0]]][:ROWS]
        self._prompt = [prompts[int(group[chosen[0]])]]
        self._ids, self._mask = batch.rollouts.ids[chosen, :TOKENS], batch.rollouts.mask[chosen, :TOKENS]
        self._settings = settings
        self._sampled, self._trained = self._look(policy)

    def after(self, policy: Policy) -> None:
        """After the first update. Raises UserError if it has not reached the sampler, or if the two differ."""
        if self._state != "begun":
            return
        self._state = "done"
        sampled, trained = self._look(policy)
        with computing(policy.model, self._settings.precision):
            half = torch.is_autocast_enabled(policy.device.type) or policy.model.dtype != torch.float32
        looks = [
            Look(was, now, self._trained, trained, self._mask) for was, now in zip(self._sampled, sampled, strict=True)
        ]
        write_json(self._folder / FILE, judge(looks, half, self._folder.name))

    def _look(self, policy: Policy) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Log-probabilities (R, T) by the samplers of all processes, and by the trainer."""
        temperature, group = self._settings.sampling.temperature, torch.zeros(len(self._ids), dtype=torch.long)
        with computing(policy.model, self._settings.precision):
            sampled = sampler_logprobs(policy, self._prompt, group, self._ids, self._mask, temperature)
            group, ids, mask = (t.to(policy.device) for t in (group, self._ids, self._mask))
            with torch.enable_grad():  # the path that is differentiated
                trained, _ = shared_logprobs(policy.model, self._prompt, group, ids, mask, temperature)
        return sampled, trained.detach().cpu()


@dataclass(frozen=True)
class Look:
    """Log-probabilities (R, T) of the same tokens by the sampler of a process and by the trainer, before and after the
    first update; mask (R, T)."""

    sampled_before: torch.Tensor
    sampled: torch.Tensor
    trained_before: torch.Tensor
    trained: torch.Tensor
    mask: torch.Tensor

    def gap(self, a: torch.Tensor, b: torch.Tensor) -> float:
        """The mean difference per token."""
        return float(((a - b) * self.mask).abs().sum() / self.mask.sum())


def judge(looks: Sequence[Look], half: bool, stage: str) -> dict[str, Any]:
    """What was found, for the file. Raises UserError if the update has not reached the sampler of a process, or if a
    sampler differs from the trainer. `half`: computed in half precision."""
    bound, growth = BOUNDS[half]
    for rank, look in enumerate(looks):
        gap_before, gap = _apart(look)
        if torch.equal(look.sampled_before, look.sampled):
            _stop(stage, rank, "has not reached the sampler: it gives the same tokens the same log-probabilities")
        if max(gap_before, gap) > bound or gap > 3 * gap_before + growth:
            _stop(
                stage, rank, f"leaves sampler and trainer apart: their log-probabilities of the same tokens differ by "
                f"{gap_before:.2g} before it and by {gap:.2g} after it on average (at most {bound:g} expected)",
            )  # fmt: skip
    moved = max(look.gap(look.sampled_before, look.sampled) for look in looks)
    before, after = _apart(looks[0])
    return {"tokens": int(looks[0].mask.sum()), "moved": moved, "apart_before": before, "apart_after": after}


def _apart(look: Look) -> tuple[float, float]:
    """How far sampler and trainer are apart, before and after the update."""
    return look.gap(look.sampled_before, look.trained_before), look.gap(look.sampled, look.trained)


def _stop(stage: str, rank: int, what: str) -> None:
    where = f" of process {rank}" if rank else ""
    raise UserError(
        f"{stage}: stopped by the start-up check: the first update {what}{where}; training would go on "
        "without effect, please report this with your model and settings"
    )
