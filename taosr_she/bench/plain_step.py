"""A step of plain transformers on given prompts: `generate`, then the policy loss on prompt and response row by row."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from taosr_she.bench.machine import wait_for
from taosr_she.bench.work import PROMPTS, StepSize
from taosr_she.credit.config import LossConfig
from taosr_she.credit.loss import policy_loss
from taosr_she.model.policy import Policy
from taosr_she.train.rl.loop import Clock


class PlainStep:
    """Every row of a group has its own prompt, in generation and in the update. The advantages are random."""

    def __init__(
        self, policy: Policy, prompts: list[list[int]], cell: StepSize, budget: int,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:  # fmt: skip
        """`budget` is the number of tokens in a micro-batch of the update, as in our own settings."""
        self.policy, self.cell, self.autocast = policy, cell, autocast
        self.rows = torch.tensor(prompts, device=policy.device).repeat_interleave(cell.group, dim=0)
        self.at_once = max(1, budget // (cell.prompt + cell.response))
        self.optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-6, fused=policy.device.type == "cuda")

    def __call__(self) -> dict[str, float]:
        """Seconds of the parts `generation` and `update`."""
        clock, model, cell = Clock(), self.policy.model, self.cell
        with clock.part("generation"), torch.no_grad(), self.autocast():
            whole = model.generate(
                self.rows, attention_mask=torch.ones_like(self.rows), do_sample=True, temperature=1.0, top_k=0,
                top_p=1.0, min_new_tokens=cell.response, max_new_tokens=cell.response,
                pad_token_id=self.policy.pad_id,
            )  # fmt: skip
            wait_for(whole.device)
        advantages = torch.randn(PROMPTS, cell.group, device=whole.device)
        advantages = (advantages - advantages.mean(dim=1, keepdim=True)).flatten()
        with clock.part("update"):
            count = len(whole) * cell.response
            for rows in torch.arange(len(whole)).split(self.at_once):
                ids, mask = whole[rows], torch.ones(len(rows), cell.response, dtype=torch.bool, device=whole.device)
                with self.autocast():
                    logits = model(input_ids=ids, logits_to_keep=cell.response + 1, use_cache=False).logits[:, :-1]
                    logp = torch.log_softmax(logits.float(), dim=-1)
                    logp = logp.gather(2, ids[:, cell.prompt :].unsqueeze(2)).squeeze(2)
                spread = advantages[rows.to(whole.device), None].expand(-1, cell.response)
                loss, _ = policy_loss(logp, None, spread, mask, LossConfig(), denominator=float(count))
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            wait_for(whole.device)
        return clock.parts
