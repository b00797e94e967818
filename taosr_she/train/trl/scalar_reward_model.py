"""The scalar reward model, the baseline: TRL's unmodified `RewardTrainer` on preferred and rejected responses."""

import copy
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.train.lengths import fitting
from taosr_she.train.trl.preferences import Preference, PreferenceSettings, longer_side
from taosr_she.train.trl.trainer import arguments, lent, recomputes, run

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class ScalarSettings(PreferenceSettings):
    """Training of the scalar reward model. Defaults are the recommended run on the market with the tiny model."""

    epochs: int = Field(default=1, gt=0)
    """Passes over the preferences. Reward models overfit from the second pass on (InstructGPT, 2203.02155)."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate of AdamW, with cosine decay to zero. A pretrained model needs about 1e-5."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay."""
    center: float = Field(default=0.01, ge=0)
    """Weight of the squared sum of the two rewards (2312.09244, equation 2). Preferences do not determine the zero of
    the scale; this term puts it between the preferred and the rejected, so that a score of 0.5 means undecided."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations instead of storing them. `auto`: only on a GPU."""


def train_scalar(
    policy: "Policy",
    preferences: Sequence[Preference],
    settings: ScalarSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> Path:
    """Train a reward model that starts from the policy's weights; the policy itself is not changed.

    Writes `folder/metrics.jsonl` (one row per step: `step, loss, accuracy, margin, lr, seconds`; accuracy is the share
    of preferences whose preferred response has the higher reward) and `folder/checkpoint`, a Hugging Face folder for
    `AutoModelForSequenceClassification` with one label, and returns its path. A killed run starts again and ends with
    the same weights, because this is one short pass. `on_step` receives each row of metrics. Seeds the global
    generators. Raises UserError if no preference fits into `max_length`, if the architecture has no sequence
    classification model, if several GPUs are visible, or if the loss is not finite.
    """
    from taosr_she.model.adapter import adapt, fold
    from taosr_she.model.policy import Policy, save_policy

    kept = fitting(
        "preferences of the scalar reward model", preferences, longer_side, settings.max_length, policy.positions
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = reward_model(policy, seed)
    if settings.lora is not None:
        adapt(model, settings.lora, seed)
        model.score.weight.requires_grad_(True)  # the new head has no weights worth freezing
    _train(model, policy, kept, settings, seed, folder, on_step)
    if settings.lora is not None:
        fold(model)
    save_policy(Policy(model, policy.tokenizer, policy.device, policy.domain), folder / "checkpoint")
    return folder / "checkpoint"


def reward_model(policy: "Policy", seed: int) -> Any:
    """A copy of the policy's body, in float32, with a new head with one output, initialised from `seed`."""
    import torch
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(policy.model.config)
    config.num_labels = 1
    config.get_text_config().pad_token_id = policy.pad_id  # the head reads the last token that is not this one
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        except ValueError as error:
            name = type(policy.model).__name__
            raise UserError(f"scalar reward model: {name} has no sequence classification model") from error
    model.base_model.load_state_dict(policy.model.base_model.state_dict())
    return model.to(policy.device)


def _train(
    model: Any,
    policy: "Policy",
    preferences: Sequence[Preference],
    settings: ScalarSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None,
) -> None:
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from taosr_she.train.trl.log import StepLog

    config = arguments(
        RewardConfig, "scalar reward model", policy, settings, settings.total_steps(len(preferences)), seed,
        folder / "trainer", weight_decay=settings.weight_decay, center_rewards_coefficient=settings.center or None,
        gradient_checkpointing=recomputes(policy, settings.gradient_checkpointing),
    )  # fmt: skip
    columns: dict[str, list[list[int]]] = defaultdict(list)
    for p in preferences:
        columns["chosen_ids"].append(p.prompt + p.preferred)
        columns["rejected_ids"].append(p.prompt + p.rejected)
    names = {"accuracy": "accuracy", "margin": "margin"}
    with lent(model):
        trainer = RewardTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(columns),
            processing_class=policy.tokenizer,
            callbacks=[StepLog(folder / "metrics.jsonl", on_step, "scalar reward model", names)],
        )
        run(trainer)
    shutil.rmtree(folder / "trainer", ignore_errors=True)
