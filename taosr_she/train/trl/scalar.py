"""The scalar reward model, the baseline: TRL's `RewardTrainer` as it is, on preferred and rejected responses."""

import copy
import math
import random
import shutil
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError, disk_errors
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import outcomes
from taosr_she.train.trl.lengths import fitting

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class ScalarSettings(Strict):
    """Training of the scalar reward model. Defaults are the recommended run on the market with the tiny model."""

    epochs: int = Field(default=1, gt=0)
    """Passes over the preferences. Reward models overfit from the second pass on (InstructGPT, 2203.02155)."""
    batch_size: int = Field(default=32, gt=0)
    """Preferences of one forward and backward pass, two responses each."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate of AdamW, falling to zero along a cosine. A pretrained model wants about 1e-5."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    center: float = Field(default=0.01, ge=0)
    """Weight of the squared sum of the two rewards (2312.09244, equation 2). Preferences say nothing about where zero
    lies; this puts it between the preferred and the rejected, so that a score of 0.5 means undecided."""
    max_length: int = Field(default=1024, gt=1)
    """Preferences of which a side has more tokens, prompt included, are left out and counted."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`bfloat16` computes under autocast with float32 weights; `auto` does so on a GPU."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations instead of storing them. `auto`: only on a GPU."""

    def total_steps(self, preferences: int) -> int:
        """Optimizer steps of a run over so many preferences."""
        return math.ceil(preferences / self.batch_size) * self.epochs


@dataclass(frozen=True)
class Preference:
    """Token ids of a prompt and of two responses to it, end token included."""

    prompt: list[int]
    preferred: list[int]
    rejected: list[int]


def longer_side(preference: Preference) -> int:
    """Tokens of prompt and the longer of the two responses."""
    return len(preference.prompt) + max(len(preference.preferred), len(preference.rejected))


def preference(policy: "Policy", domain: Domain, pair: Pair, preferred: str, rejected: str) -> Preference:
    """From response texts, e.g. a demonstration and the same one corrupted."""
    return Preference(
        policy.encode_prompt(domain, pair), policy.encode_response(preferred), policy.encode_response(rejected)
    )


def preferences_by_outcome(
    policy: "Policy", domain: Domain, pairs: Sequence[Pair], responses: Sequence[Response], per_pair: int, seed: int
) -> list[Preference]:
    """From B sampled rollouts: a response with outcome 1 before one with outcome 0 of the same pair.

    At most `per_pair` preferences a pair, each text in at most one of them; pairs whose rollouts all have the same
    outcome give none. `pairs` has B entries, one for each response.
    """
    sides: dict[str, tuple[Pair, dict[str, None], dict[str, None]]] = {}
    for pair, response, outcome in zip(pairs, responses, outcomes(pairs, responses), strict=True):
        _, right, wrong = sides.setdefault(pair.pair_id, (pair, {}, {}))
        (right if outcome else wrong)[response.text] = None  # a dict as an ordered set
    rng = random.Random(seed)
    found = []
    for pair, right, wrong in sides.values():
        n = min(per_pair, len(right), len(wrong))
        chosen = zip(rng.sample(list(right), n), rng.sample(list(wrong), n), strict=True)
        found += [preference(policy, domain, pair, better, worse) for better, worse in chosen]
    return found


def train_scalar(
    policy: "Policy",
    preferences: Sequence[Preference],
    settings: ScalarSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> Path:
    """Train a reward model that starts from the policy's weights; the policy itself stays as it is.

    Writes `folder/metrics.jsonl` (a row a step: `step, loss, accuracy, margin, lr, seconds`; accuracy is the share of
    preferences whose preferred response has the higher reward) and `folder/checkpoint`, a Hugging Face folder for
    `AutoModelForSequenceClassification` with one label, whose path is returned. A killed run starts over and ends with
    the same weights: this is one short pass. `on_step` gets each metrics row. Seeds the global generators. Raises
    UserError when no preference fits into `max_length`, when the architecture has no sequence classification model,
    when several GPUs are visible, or when the loss is not finite.
    """
    from taosr_she.model.policy import Policy, save_policy

    kept = fitting(
        "preferences of the scalar reward model", preferences, longer_side, settings.max_length, policy.positions
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = reward_model(policy, seed)
    _train(model, policy, kept, settings, seed, folder, on_step)
    save_policy(Policy(model, policy.tokenizer, policy.device, policy.domain), folder / "checkpoint")
    return folder / "checkpoint"


def reward_model(policy: "Policy", seed: int) -> Any:
    """The policy's body, copied, in float32, under a new head with one output; the head's weights come from `seed`."""
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
            raise UserError(f"scalar reward model: {name} has no sequence classification model beside it") from error
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
    from transformers import PrinterCallback
    from trl import RewardConfig, RewardTrainer

    from taosr_she.train.trl.preference_log import PreferenceLog

    gpu = policy.device.type == "cuda"
    trainer_folder = folder / "trainer"
    with warnings.catch_warnings():
        # TRL 1.16 itself sets the old name of this option, which transformers 5.23 announces to be renamed.
        warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)
        config = RewardConfig(
            output_dir=str(trainer_folder),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(settings.warmup_share * settings.total_steps(len(preferences))),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.grad_clip,
            center_rewards_coefficient=settings.center or None,
            seed=seed,
            use_cpu=policy.device.type == "cpu",
            bf16=gpu if settings.precision == "auto" else settings.precision == "bfloat16",
            gradient_checkpointing=(
                gpu if settings.gradient_checkpointing == "auto" else settings.gradient_checkpointing == "on"
            ),
            dataloader_pin_memory=gpu,
            max_length=None,  # already left out, and counted
            save_strategy="no",
            logging_steps=1,
            logging_nan_inf_filter=False,  # it would replace a diverged loss by the mean of earlier ones
            report_to="none",
            disable_tqdm=True,
        )
    if config.n_gpu > 1:
        raise UserError("reward models train on one GPU and several are visible: set CUDA_VISIBLE_DEVICES=0")
    columns: dict[str, list[list[int]]] = defaultdict(list)
    for p in preferences:
        columns["chosen_ids"].append(p.prompt + p.preferred)
        columns["rejected_ids"].append(p.prompt + p.rejected)
    trainer = RewardTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=policy.tokenizer,
        callbacks=[PreferenceLog(folder / "metrics.jsonl", on_step, "scalar reward model", "accuracy", "margin")],
    )
    trainer.remove_callback(PrinterCallback)
    with disk_errors(folder):
        trainer.train()
    for name in ("forward", "_original_forward"):  # Accelerate's autocast hangs its own forward on the model
        vars(model).pop(name, None)
    model.eval()
    shutil.rmtree(trainer_folder, ignore_errors=True)
