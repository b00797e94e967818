"""Flips verdicts at a given rate, to measure how much wrong examination a credit rule tolerates."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from taosr_she.domain.annotation import normal_text
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import Examiner, Verdicts


class Noisy:
    """An examiner whose known verdicts v become 1 - v with probability `flip`, for every step except the label step.

    The same text of the same step of the same pair is always flipped or never: like a GSRM that is wrong about a text
    and stays wrong about it, which no average over rollouts corrects. The label step is not flipped, because its
    verdict comes from the human label, not from an examination.
    """

    def __init__(self, examiner: Examiner, domain: Domain, flip: float, seed: int) -> None:
        self.examiner, self.domain, self.flip, self.seed = examiner, domain, flip, seed

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each; sources as the examiner gave them."""
        found = self.examiner.examine(pairs, responses)
        values = found.values.copy()
        for b, (pair, response) in enumerate(zip(pairs, responses, strict=True)):
            for k, key in enumerate(self.domain.step_keys):
                if k == self.domain.label_step or np.isnan(values[b, k]):
                    continue
                step = response.steps[k]
                text = normal_text(step.text) if step is not None else ""
                if self._chance(pair.pair_id, key, text) < self.flip:
                    values[b, k] = 1 - values[b, k]
        return Verdicts(values, found.sources)

    def _chance(self, *words: str) -> float:
        """A number in [0, 1) that depends only on the seed and the words."""
        digest = blake2b("\0".join((str(self.seed), *words)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64
