"""The scalar reward model, trained on rollouts of the start policy: right labels before wrong ones."""

from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.model.responses import sample_responses
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import ScalarStage
from taosr_she.train.trl.scalar import preferences_by_outcome, train_scalar

SAMPLE_ROWS = 512


def run(context: Context, stage: ScalarStage) -> dict[str, Any]:
    """Sample, pair up, train."""
    data, domain, seed = context.data(stage.data), context.domain, context.recipe.seed
    policy = context.policy(stage.start)
    pairs, responses, _ = sample_responses(
        policy, domain, data.pairs("training"), stage.group_size, stage.sampling, seed, SAMPLE_ROWS
    )
    context.tell_malformed((r.reason for r in responses), stage.start)
    preferences = preferences_by_outcome(policy, domain, pairs, responses, stage.per_pair, seed)
    if not preferences:
        raise UserError(
            f"stage '{context.name}': no pair has rollouts with right and with wrong labels: nothing to prefer"
        )
    steps = stage.settings.total_steps(len(preferences))
    update = context.progress.stage(context.name, steps)
    train_scalar(
        policy, preferences, stage.settings, seed, context.folder,
        lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}, accuracy {row['accuracy']:.2f}"),
    )  # fmt: skip
    return {"preferences": len(preferences), "steps": steps}
