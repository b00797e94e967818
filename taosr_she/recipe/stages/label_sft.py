"""SFT continued on labelled pairs without reasoning: the policy reads its own reasoning and learns the human label."""

from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.model.example import IGNORE, Example
from taosr_she.model.label_probs import code_tokens, label_position
from taosr_she.model.responses import parse_rollouts
from taosr_she.model.sampler import Sampling, sample_groups
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import LabelSFTStage
from taosr_she.train.trl.sft import train_sft

SAMPLE_ROWS = 512


def run(context: Context, stage: LabelSFTStage) -> dict[str, Any]:
    """Write reasoning, put the label behind it, train on the label and the end alone."""
    domain, seed = context.domain, context.recipe.seed
    policy = context.policy(stage.start)
    pairs = [p for p in context.data(stage.data).pairs("training") if p.label is not None]
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    sampling = Sampling(max_new_tokens=stage.max_new_tokens, temperature=0.0)
    rollouts = sample_groups(policy, prompts, 1, sampling, seed, SAMPLE_ROWS)
    codes = dict(zip(domain.codes, code_tokens(policy, domain), strict=True))
    examples, responses = [], parse_rollouts(policy, domain, rollouts)
    context.tell_malformed((r.reason for r in responses), stage.start)
    written = zip(rollouts.ids.cpu(), rollouts.mask.cpu(), responses, strict=True)
    for pair, prompt, (ids, mask, response) in zip(pairs, prompts, written, strict=True):
        if response.steps[domain.label_step] is None:
            continue  # there is no place for a label
        own = ids[mask].tolist()
        context_ids = prompt + own[: label_position(domain, policy, own, response)]
        answer = [*codes[str(pair.label)], policy.tokenizer.eos_token_id]
        examples.append(Example([*context_ids, *answer], [IGNORE] * len(context_ids) + answer))
    if not examples:
        raise UserError(f"stage '{context.name}': '{stage.start}' wrote no reasoning that comes to a label")
    update = context.progress.stage(context.name, stage.settings.total_steps(len(examples)))
    train_sft(
        policy, examples, stage.settings, seed, context.folder,
        lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
    )  # fmt: skip
    return {"examples": len(examples), "without_label": len(pairs) - len(examples), "tokens": int(rollouts.mask.sum())}
