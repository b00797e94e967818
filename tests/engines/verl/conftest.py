"""Rollouts of a policy that writes the format with mistakes, credited by our own loop: what the plug-in must equal."""

from dataclasses import dataclass

import pytest
import torch
from toy_models import domain, small, texts, tiny  # noqa: F401

from taosr_she.credit.config import CreditConfig
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts
from taosr_she.train.rl.batch import CreditedBatch, credit_rollouts

GROUP = 6
WRITTEN = (
    "[query] category: running shoes\n[product] category: running shoes\n[category] same\n[attributes] color: match\n"
    "[label] 4",
    "[query] category: running shoes\n[product] category: boots\n[category] different\n[attributes] -\n[label] 1",
    "[query] category: running shoes\n[product] category: running shoes\n[category] same\n[label] 3",  # one missing
    "[category] same\n[query] category: running shoes\n[label] 4",  # out of order
    "running shoes",  # no section at all
    "",  # the end token alone
)


@dataclass(frozen=True)
class Groups:
    """Responses of groups of pairs, and where what people said about them lies."""

    pairs: list[Pair]  # one a group
    rollouts: Rollouts
    annotations: list[Annotation]

    def ids(self, row: int) -> list[int]:
        """The generated tokens of a rollout."""
        return self.rollouts.ids[row][self.rollouts.mask[row]].tolist()

    def credited(self, policy: Policy, credit: CreditConfig) -> CreditedBatch:
        """As our loop credits them."""
        assert policy.domain is not None
        verifier = Verifier(policy.domain, self.annotations)
        return credit_rollouts(policy, policy.domain, self.pairs, self.rollouts, verifier, credit)


@pytest.fixture
def groups(tiny: Policy, domain: Domain) -> Groups:  # noqa: F811
    pairs = [Pair(f"p{n}", f"q{n}", "running shoes", Product("red shoes"), label="41"[n % 2]) for n in range(3)]
    written = [WRITTEN[(g + r) % len(WRITTEN)] for g in range(3) for r in range(GROUP)]
    rows = [tiny.encode_response(text) for text in written]
    rows[1] = rows[1][:-1]  # stopped at the limit
    width = max(map(len, rows))
    ids = torch.tensor([row + [tiny.pad_id] * (width - len(row)) for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    finished = torch.tensor([row[-1] == tiny.tokenizer.eos_token_id for row in rows])
    group = torch.arange(3).repeat_interleave(GROUP)
    annotations = [Annotation("p0", "category", "same"), Annotation("p1", "category", "different"),
                   Annotation("p0", "attributes", "color: match")]  # fmt: skip
    return Groups(pairs, Rollouts(ids, mask, torch.zeros(mask.shape), finished, group), annotations)
