"""Direct preference optimisation (DPO, 2305.18290), a baseline: TRL's `DPOTrainer` on preferences among own samples."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from taosr_she.train.lengths import fitting
from taosr_she.train.trl.preferences import Preference, PreferenceSettings, longer_side
from taosr_she.train.trl.trainer import arguments, lent, run

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class DPOSettings(PreferenceSettings):
    """Training on preferences. Defaults are the recommended run on the market with the tiny model."""

    batch_size: int = Field(default=16, gt=0)
    """Preferences of one forward and backward pass, two responses each."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW, falling to zero along a cosine. A pretrained model wants about 1e-6."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the tie to the start policy."""


def train_dpo(
    policy: "Policy",
    reference: "Policy",
    preferences: Sequence[Preference],
    settings: DPOSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> "Policy":
    """Train `policy.model` in place away from `reference`, another copy of the same weights.

    With `settings.lora` the weights are frozen and an adapter is trained. Writes `folder/metrics.jsonl` (a row a step:
    `step, loss, accuracy, margin, lr, seconds`; accuracy is the share of preferences whose preferred response has
    gained more likelihood) and `folder/checkpoint`. A killed run starts over. Seeds the global generators. Raises
    UserError when no preference fits into `max_length`, when several GPUs are visible, or when the loss is not finite.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from taosr_she.model.policy import put_adapter, save_trained
    from taosr_she.train.trl.log import StepLog

    kept = fitting("DPO preferences", preferences, longer_side, settings.max_length, policy.positions)
    folder.mkdir(parents=True, exist_ok=True)
    config = arguments(
        DPOConfig, "DPO", policy, settings, settings.total_steps(len(kept)), seed, folder / "trainer",
        beta=settings.beta,
    )  # fmt: skip
    rows = {
        "prompt_ids": [p.prompt for p in kept],
        "chosen_ids": [p.preferred for p in kept],
        "rejected_ids": [p.rejected for p in kept],
    }
    if settings.lora is not None:
        put_adapter(policy, settings.lora, seed, folder)
    names = {"accuracy": "rewards/accuracies", "margin": "rewards/margins"}
    with lent(policy.model):
        trainer = DPOTrainer(
            model=policy.model,
            ref_model=reference.model,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"]}),
            processing_class=policy.tokenizer,
            callbacks=[StepLog(folder / "metrics.jsonl", on_step, "DPO", names)],
        )
        # TRL 1.16 tokenises every input; ours are already the sampled tokens, and their text may have other tokens.
        trainer.train_dataset = Dataset.from_dict(rows)
        run(trainer)
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    save_trained(policy, folder, settings.lora)
    return policy
