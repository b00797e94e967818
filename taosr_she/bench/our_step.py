"""One step of our own loop on given prompts: sample, examine, credit, update; timed by part."""

from collections.abc import Sequence

import numpy as np
import torch

from taosr_she.bench.machine import wait_for
from taosr_she.bench.work import PROMPTS, Cell
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups
from taosr_she.train.batch import credit_rollouts
from taosr_she.train.loop import Clock, autocast, update_policy
from taosr_she.train.settings import StepCreditSettings


class ByLength:
    """An examiner of random text, which has no sections and so belongs to the label step as a whole: right when its
    length is even, always right in the first `silent` groups."""

    def __init__(self, silent: int) -> None:
        self.silent = silent

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts on the label step."""
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [
            int(p.pair_id) < self.silent or len(r.text) % 2 == 0 for p, r in zip(pairs, responses, strict=True)
        ]
        return Verdicts(values, np.full(values.shape, CODE["judge"], dtype=np.int8))


class OurStep:
    """Everything a step needs, made once."""

    def __init__(self, policy: Policy, domain: Domain, prompts: list[list[int]], cell: Cell) -> None:
        self.policy, self.domain, self.prompts = policy, domain, prompts
        self.settings = StepCreditSettings(
            pairs_per_update=PROMPTS, group_size=cell.group, sampling=Sampling(max_new_tokens=cell.response)
        )
        self.pairs = [Pair(str(i), str(i), "query", Product(title="product")) for i in range(len(prompts))]
        self.examiner = ByLength(cell.silent)
        self.optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-6)
        self.seed = 0

    def __call__(self) -> dict[str, float]:
        """Seconds of the parts `generation`, `examination` and `update`."""
        clock = Clock()
        self.seed += 1
        with clock.part("generation"), autocast(self.policy, self.settings):
            rollouts = sample_groups(
                self.policy, self.prompts, self.settings.group_size, self.settings.sampling, self.seed
            )
        with clock.part("examination"):
            batch = credit_rollouts(self.policy, self.domain, self.pairs, rollouts, self.examiner, self.settings.credit)
        with clock.part("update"):
            update_policy(self.policy, None, self.prompts, batch, self.settings, self.optimizer)
            wait_for(self.policy.device)
        return clock.parts
