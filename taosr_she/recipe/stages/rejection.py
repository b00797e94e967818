"""Rejection-sampling fine-tuning: SFT on the start policy's own responses that end in the right label."""

from random import Random
from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.examine.verdicts import outcomes
from taosr_she.model.example import answer
from taosr_she.recipe.context import Context
from taosr_she.recipe.sampled_stage import SampledStage
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft


class RejectionStage(SampledStage):
    """Rejection-sampling fine-tuning, a baseline: SFT on the start policy's own responses with the right label."""

    kind: Literal["rejection"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = (
        "a language model that judges in steps, fine-tuned on own responses with the right label (a baseline)"
    )
    group_size: int = Field(default=8, gt=0)
    """Responses sampled for each training pair."""
    settings: SFTSettings = SFTSettings(epochs=1, learning_rate=1e-4)
    """How to train."""

    def run(self, context: Context) -> dict[str, Any]:
        """Sample, keep what is right, train."""
        domain, seed = context.domain, context.recipe.seed
        policy = context.policy(self.start)
        sampled, responses, tokens = self.sample(context, policy)
        right: dict[str, list[tuple[Any, str]]] = {}
        for pair, response, outcome in zip(sampled, responses, outcomes(sampled, responses), strict=True):
            known = right.setdefault(pair.pair_id, [])
            if outcome and all(text != response.text for _, text in known):
                known.append((pair, response.text))
        rng = Random(seed)
        kept = [one for found in right.values() for one in rng.sample(found, min(self.per_pair, len(found)))]
        if not kept:
            raise UserError(
                f"stage '{context.name}': '{self.start}' wrote no response with the right label: nothing to keep"
            )
        examples = [answer(policy.encode_prompt(domain, pair), policy.encode_response(text)) for pair, text in kept]
        update = context.progress.stage(context.name, self.settings.total_steps(len(examples)))
        train_sft(
            policy, examples, self.settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
        )  # fmt: skip
        return {"examples": len(examples), "tokens": sum(tokens)}
