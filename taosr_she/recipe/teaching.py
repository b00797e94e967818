"""What a teacher thinks of pairs: its label distributions, kept in parts, so that a killed stage asks nothing twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.domain.pair import Pair
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.parts import in_parts

if TYPE_CHECKING:
    from taosr_she.domain.domain import Domain
    from taosr_she.judge.mode import Mode
    from taosr_she.model.policy import Policy

PART = 1024
"""Pairs in a part."""


class Teaching(Strict):
    """How a teacher is asked for its label distribution.

    A teacher with the label first, or alone, is read in mode `label`. Any other writes its reasoning first, and the
    distribution depends on it.
    """

    chains: int = Field(default=1, gt=0)
    """Number of responses to a pair whose label distributions are averaged. With 1, the distribution after a single
    chain of reasoning is often sharp, because the chain has decided; more chains show what the teacher doubts."""
    sampling: Sampling = Sampling(temperature=0.0)
    """How the responses are sampled; several of them need a temperature."""

    @model_validator(mode="after")
    def _several_differ(self) -> "Teaching":
        if self.chains > 1 and self.sampling.temperature == 0:
            raise ValueError("several chains need a `sampling.temperature` above 0: greedy ones are all the same")
        return self


@dataclass(frozen=True)
class Taught:
    """The teacher's distributions in the order of the pairs."""

    distributions: list[dict[str, float] | None]  # code -> probability; None where no response came to a label
    tokens: int  # generated tokens


def teacher_distributions(
    teacher: "Policy",
    pairs: Sequence[Pair],
    how: Teaching,
    seed: int,
    folder: Path,
    rows: int,
    on_part: Callable[[int], None],
) -> Taught:
    """The label distribution of every pair, at most `rows` responses at a time. `on_part` gets the pairs done so far.

    Parts that are in `folder` are read, not asked again.
    """
    found: list[dict[str, float] | None] = []
    tokens = 0

    def ask(part: Sequence[Pair], number: int) -> dict[str, Any]:
        assert teacher.domain is not None
        return _asked(teacher, teacher.domain, part, how, Random(f"teacher {seed} {number}").getrandbits(62), rows)

    for _, said in in_parts(folder, pairs, PART, ask):
        found += said["distributions"]
        tokens += said["tokens"]
        on_part(len(found))
    return Taught(found, tokens)


def _asked(
    teacher: "Policy", domain: "Domain", pairs: Sequence[Pair], how: Teaching, seed: int, rows: int
) -> dict[str, Any]:
    from taosr_she.judge.decision import Decision
    from taosr_she.judge.pairs import judge_pairs

    mode: Mode = "label" if domain.label_step == 0 else "reason"
    chains = Decision(chains=how.chains)
    judgements = judge_pairs(teacher, domain, pairs, how.sampling, rows, seed, chains, mode).judgements
    return {
        "distributions": [j.probabilities for j in judgements],
        "tokens": sum(j.tokens for j in judgements),
    }
