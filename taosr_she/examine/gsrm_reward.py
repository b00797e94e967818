"""The reward of a GSRM's own reasoning: do the verdicts that follow from it say what people said?

A GSRM can be trained further by reinforcement learning without anybody writing down what the right reasoning is: it
reasons about a pair several times, every reasoning gives verdicts on the responses that people judged (the cases of the
pair), and the reasoning is rewarded for those that are like people's. Supervised fine-tuning, in contrast, learns only
from pairs whose every right conclusion is known. The policy-gradient loop is that of `train/rl`: a reasoning has the
policy's own form, so its tokens, sections and groups are those of any rollout.

| reward | of a case with first error t by people and t' by the GSRM, among the n steps that people judged |
| --- | --- |
| `first_error` | 1 if t' = t (or both find none), else 0: what first-error F1 counts |
| `fapo` | -1 if only one of them finds an error; else 1, less abs(t' - t) / n (FAPO, arXiv 2510.22543) |
| `steps` | share of the steps on which both agree |

Steps about which people said nothing are not counted. A reasoning without a conclusion for a step that people judged
has no verdict there; it earns the least (0, and -1 for `fapo`), but for `steps` only that step is lost. The outcome of
a reasoning is its mean reward over the cases of the pair. Its K verdicts, for credit rules that read them, are 1 where
it agrees with people in all cases of the pair that are known in the step, else 0.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.gsrm import GSRM
from taosr_she.examine.gsrm_data import Examined
from taosr_she.examine.hybrid import RIGHT
from taosr_she.examine.verdicts import CODE, Verdicts, first_wrong

Rewards = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""People's verdicts (N, K) and the GSRM's (N, K), NaN unknown -> (N,) rewards. People know a step of every row."""


def first_error(people: np.ndarray, gsrm: np.ndarray) -> np.ndarray:
    """1 where the first error, or that there is none, is the same."""
    _, silent, t, own = _first_errors(people, gsrm)
    return np.where(silent, 0.0, (t == own).astype(float))


def fapo(people: np.ndarray, gsrm: np.ndarray) -> np.ndarray:
    """FAPO's reward: 1 or -1 for whether there is an error, less the distance between the places of the first one."""
    known, silent, t, own = _first_errors(people, gsrm)
    steps = people.shape[1]
    # Places are counted among the steps that people judged, as everything else here.
    place = np.cumsum(known, axis=1)
    both = (t < steps) & (own < steps)
    rows = np.arange(len(people))
    last = steps - 1
    apart = np.abs(place[rows, np.minimum(t, last)] - place[rows, np.minimum(own, last)]) / known.sum(axis=1)
    agree = np.where(both, 1.0 - apart, 1.0)
    return np.where(silent | ((t < steps) != (own < steps)), -1.0, agree)


def steps(people: np.ndarray, gsrm: np.ndarray) -> np.ndarray:
    """Share of the steps judged by people on which both agree."""
    known = ~np.isnan(people)
    return (_agreeing(people, gsrm) & known).sum(axis=1) / known.sum(axis=1)


REWARDS: dict[str, Rewards] = {"first_error": first_error, "fapo": fapo, "steps": steps}
"""Name of a reward -> its function."""


class ReasoningReward:
    """An `Examiner` of a GSRM's reasonings instead of a policy's responses; it also decides what each of them earns.

    `gsrm` holds the policy that is being trained, so that steps which it reads are read with its present weights.

    >>> reward = ReasoningReward(gsrm, cases, REWARDS["first_error"])            # doctest: +SKIP
    >>> reward.examine(pairs, reasonings).outcomes  # (B,)                        # doctest: +SKIP
    """

    def __init__(self, gsrm: GSRM, cases: Iterable[Examined], reward: Rewards) -> None:
        self.gsrm, self.reward = gsrm, reward
        self._cases: dict[str, list[Examined]] = defaultdict(list)
        for case in cases:
            self._cases[case.pair.pair_id].append(case)

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) on B reasonings, with their outcomes (B,). Every pair must have a case."""
        encode = self.gsrm.policy.encode_response
        owns = [encode(response.text)[:-1] for response in responses]
        rows = [(b, case) for b, pair in enumerate(pairs) for case in self._cases[pair.pair_id]]
        said = self.gsrm.examine_after(
            [case.pair for _, case in rows], [case.response for _, case in rows], [owns[b] for b, _ in rows]
        )
        people = np.array([case.verdicts for _, case in rows], dtype=np.float32)
        of = np.array([b for b, _ in rows])
        count = np.bincount(of, minlength=len(pairs))
        outcomes = np.bincount(of, weights=self.reward(people, said), minlength=len(pairs)) / count
        known = ~np.isnan(people)
        differs = known & ~_agreeing(people, said)
        values = np.full((len(pairs), people.shape[1]), np.nan, dtype=np.float32)
        for b in range(len(pairs)):
            mine = of == b
            values[b] = np.where(known[mine].any(axis=0), 1.0 - differs[mine].any(axis=0), np.nan)
        sources = np.where(np.isnan(values), CODE["unknown"], CODE["human"]).astype(np.int8)
        return Verdicts(values, sources, outcomes.astype(np.float32))


def distinct(cases: Iterable[Examined]) -> list[Examined]:
    """The cases without those that show the same text of the same pair again: they would count twice."""
    seen: dict[tuple[str, tuple[str | None, ...]], Examined] = {}
    for case in cases:
        texts = tuple(" ".join(step.text.split()) if step else None for step in case.response.steps)
        seen.setdefault((case.pair.pair_id, texts), case)
    return list(seen.values())


def _agreeing(people: np.ndarray, gsrm: np.ndarray) -> np.ndarray:
    """(N, K) bool: both have a verdict, and it is the same."""
    known = ~np.isnan(people) & ~np.isnan(gsrm)
    return known & ((people >= RIGHT) == (gsrm >= RIGHT))


def _first_errors(people: np.ndarray, gsrm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """known (N, K); silent (N,): the GSRM has no verdict on a known step; first errors (N,) of both among the known
    steps, K for none."""
    known = ~np.isnan(people)
    silent = (known & np.isnan(gsrm)).any(axis=1)
    return known, silent, first_wrong(known & (people < RIGHT)), first_wrong(known & (gsrm < RIGHT))
