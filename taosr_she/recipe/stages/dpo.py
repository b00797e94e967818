"""Direct preference optimisation on the start policy's own responses: right labels before wrong ones."""

from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.model.responses import sample_responses
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import DPOStage
from taosr_she.train.trl.dpo import train_dpo
from taosr_she.train.trl.scalar import preferences_by_outcome

SAMPLE_ROWS = 512


def run(context: Context, stage: DPOStage) -> dict[str, Any]:
    """Sample, pair up, train."""
    domain, seed = context.domain, context.recipe.seed
    policy, reference = (context.policy(stage.start) for _ in range(2))
    pairs, responses, tokens = sample_responses(
        policy, domain, context.data(stage.data).pairs("training"), stage.group_size, stage.sampling, seed, SAMPLE_ROWS
    )
    context.tell_malformed((r.reason for r in responses), stage.start)
    preferences = preferences_by_outcome(policy, domain, pairs, responses, stage.per_pair, seed)
    if not preferences:
        raise UserError(f"stage '{context.name}': no pair has responses with right and with wrong labels")
    update = context.progress.stage(context.name, stage.settings.total_steps(len(preferences)))
    train_dpo(
        policy, reference, preferences, stage.settings, seed, context.folder,
        lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}, accuracy {row['accuracy']:.2f}"),
    )  # fmt: skip
    return {"preferences": len(preferences), "tokens": sum(tokens)}
