"""One step of our own loop on given prompts: sample, examine, credit, update; timed by part."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from taosr_she.bench.machine import wait_for
from taosr_she.bench.work import PROMPTS, StepSize
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import Response
from taosr_she.engine.precision import computing
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.adapter import add_adapter
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts, Sampling, sample_groups
from taosr_she.train.rl.batch import CreditedBatch, credit_rollouts
from taosr_she.train.rl.loop import Clock, make_optimizer, update_policy
from taosr_she.train.rl.settings import StepCreditSettings


class EveryOther:
    """An examiner for random text, which has no sections and so belongs to the label step as a whole.

    Every other response is right, so every group has signal, except the first `silent` groups, where all are right.
    """

    def __init__(self, silent: int) -> None:
        self.silent = silent

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts on the label step."""
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [int(p.pair_id) < self.silent or i % 2 == 0 for i, p in enumerate(pairs)]
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


class OurStep:
    """One training step; everything it needs is made once."""

    def __init__(
        self,
        policy: Policy,
        domain: Domain,
        prompts: list[list[int]],
        cell: StepSize,
        tokens: int | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        lora: LoraConfig | None = None,
    ) -> None:
        """`tokens` is the size of a micro-batch; None: the default. With `lora` the policy gets an adapter."""
        self.policy, self.domain, self.prompts = policy, domain, prompts
        self.settings = StepCreditSettings(
            pairs_per_update=PROMPTS,
            group_size=cell.group,
            sampling=Sampling(max_new_tokens=cell.response),
            precision=precision,
        )
        if tokens is not None:
            self.settings = self.settings.model_copy(update={"tokens_per_microbatch": tokens})
        self.pairs = [Pair(str(i), str(i), "query", Product(title="product")) for i in range(len(prompts))]
        self.examiner = EveryOther(cell.silent)
        if lora is not None:
            add_adapter(policy.model, lora, "benchmark", 1)
        self.optimizer = make_optimizer(policy, self.settings)
        self.seed = 0

    def __call__(self) -> dict[str, float]:
        """Run a step; seconds of its parts `generation`, `examination` and `update`."""
        clock = Clock()
        self.seed += 1
        with clock.part("generation"):
            rollouts = self.generate()
        with clock.part("examination"):
            batch = self.credit(rollouts)
        with clock.part("update"):
            self.update(batch)
            wait_for(self.policy.device)
        return clock.parts

    def generate(self, tokens: int | None = None) -> Rollouts:
        """The groups of a step, or their first `tokens` tokens."""
        settings = self.settings
        sampling = settings.sampling if tokens is None else Sampling(max_new_tokens=tokens)
        with computing(self.policy.model, settings.precision):
            return sample_groups(self.policy, self.prompts, settings.group_size, sampling, self.seed)

    def credit(self, rollouts: Rollouts) -> CreditedBatch:
        """Examine the rollouts and compute their advantages."""
        return credit_rollouts(self.policy, self.domain, self.pairs, rollouts, self.examiner, self.settings.credit)

    def update(self, batch: CreditedBatch) -> None:
        """Forward and backward pass and the optimizer's step."""
        update_policy(self.policy, None, self.prompts, batch, self.settings, self.optimizer)
