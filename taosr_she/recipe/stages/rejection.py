"""Rejection-sampling fine-tuning: SFT on the start policy's own responses that end in the right label."""

from random import Random
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.examine.verdicts import outcomes
from taosr_she.model.example import answer
from taosr_she.model.responses import sample_responses
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import RejectionStage
from taosr_she.train.trl.sft import train_sft

SAMPLE_ROWS = 512


def run(context: Context, stage: RejectionStage) -> dict[str, Any]:
    """Sample, keep what is right, train."""
    domain, seed = context.domain, context.recipe.seed
    policy = context.policy(stage.start)
    training = context.data(stage.data).pairs("training")
    sampled, responses, tokens = sample_responses(
        policy, domain, training, stage.group_size, stage.sampling, seed, SAMPLE_ROWS
    )
    context.tell_malformed((r.reason for r in responses), stage.start)
    right: dict[str, list[tuple[Any, str]]] = {}
    for pair, response, outcome in zip(sampled, responses, outcomes(sampled, responses), strict=True):
        known = right.setdefault(pair.pair_id, [])
        if outcome and all(text != response.text for _, text in known):
            known.append((pair, response.text))
    rng = Random(seed)
    kept = [one for found in right.values() for one in rng.sample(found, min(stage.per_pair, len(found)))]
    if not kept:
        raise UserError(
            f"stage '{context.name}': '{stage.start}' wrote no response with the right label: nothing to keep"
        )
    examples = [answer(policy.encode_prompt(domain, pair), policy.encode_response(text)) for pair, text in kept]
    update = context.progress.stage(context.name, stage.settings.total_steps(len(examples)))
    train_sft(
        policy, examples, stage.settings, seed, context.folder,
        lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
    )  # fmt: skip
    return {"examples": len(examples), "tokens": sum(tokens)}
