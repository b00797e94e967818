"""Direct preference optimisation (DPO, 2305.18290), a baseline: TRL's `DPOTrainer` on preferences among own samples."""

import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError, disk_errors
from taosr_she.train.trl.lengths import fitting
from taosr_she.train.trl.scalar import Preference, longer_side

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class DPOSettings(Strict):
    """Training on preferences. Defaults are the recommended run on the market with the tiny model."""

    epochs: int = Field(default=1, gt=0)
    """Passes over the preferences."""
    batch_size: int = Field(default=16, gt=0)
    """Preferences of one forward and backward pass, two responses each."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW, falling to zero along a cosine. A pretrained model wants about 1e-6."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the tie to the start policy."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    max_length: int = Field(default=1024, gt=1)
    """Preferences of which a side has more tokens, prompt included, are left out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`bfloat16` computes under autocast with float32 weights; `auto` does so on a GPU."""

    def total_steps(self, preferences: int) -> int:
        """Optimizer steps of a run over so many preferences."""
        return math.ceil(preferences / self.batch_size) * self.epochs


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

    Writes `folder/metrics.jsonl` (a row a step: `step, loss, accuracy, margin, lr, seconds`; accuracy is the share of
    preferences whose preferred response has gained more likelihood) and `folder/checkpoint`. A killed run starts over.
    Seeds the global generators. Raises UserError when no preference fits into `max_length`, when several GPUs are
    visible, or when the loss is not finite.
    """
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    from taosr_she.model.policy import save_policy
    from taosr_she.train.trl.preference_log import PreferenceLog

    kept = fitting("DPO preferences", preferences, longer_side, settings.max_length, policy.positions)
    folder.mkdir(parents=True, exist_ok=True)
    gpu = policy.device.type == "cuda"
    trainer_folder = folder / "trainer"
    with warnings.catch_warnings():
        # TRL 1.16 itself sets the old name of this option, which transformers 5.23 announces to be renamed.
        warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)
        config = DPOConfig(
            output_dir=str(trainer_folder),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(settings.warmup_share * settings.total_steps(len(kept))),
            max_grad_norm=settings.grad_clip,
            beta=settings.beta,
            seed=seed,
            use_cpu=policy.device.type == "cpu",
            bf16=gpu if settings.precision == "auto" else settings.precision == "bfloat16",
            gradient_checkpointing=False,
            dataloader_pin_memory=gpu,
            max_length=None,  # already left out
            save_strategy="no",
            logging_steps=1,
            logging_nan_inf_filter=False,  # it would replace a diverged loss by the mean of earlier ones
            report_to="none",
            disable_tqdm=True,
        )
    if config.n_gpu > 1:
        raise UserError("DPO trains on one GPU and several are visible: set CUDA_VISIBLE_DEVICES=0")
    rows = {
        "prompt_ids": [p.prompt for p in kept],
        "chosen_ids": [p.preferred for p in kept],
        "rejected_ids": [p.rejected for p in kept],
    }
    log = PreferenceLog(folder / "metrics.jsonl", on_step, "DPO", "rewards/accuracies", "rewards/margins")
    trainer = DPOTrainer(
        model=policy.model,
        ref_model=reference.model,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"]}),
        processing_class=policy.tokenizer,
        callbacks=[log],
    )
    # TRL 1.16 tokenises whatever it is given; ours are tokens already, as sampled, and text may have other ones.
    trainer.train_dataset = Dataset.from_dict(rows)
    trainer.remove_callback(PrinterCallback)
    with disk_errors(folder):
        trainer.train()
    for name in ("forward", "_original_forward"):  # TRL and Accelerate hang their own forward on the model
        vars(policy.model).pop(name, None)
    policy.model.zero_grad(set_to_none=True)
    policy.model.eval()
    shutil.rmtree(trainer_folder, ignore_errors=True)
    save_policy(policy, folder / "checkpoint")
    return policy
