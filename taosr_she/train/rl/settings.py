"""Settings of the step-credit loop. Defaults are the recommended run on the market with the tiny model."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.credit.config import CreditConfig, LossConfig
from taosr_she.examine.verdicts import OutcomeBy
from taosr_she.model.lora import LoraConfig
from taosr_she.model.sampling import Sampling


class StepCreditSettings(Strict):
    """Reinforcement learning with credit on steps."""

    later: ClassVar[dict[str, Any]] = {"balance": False, "outcome_by": "label", "lora": None}
    updates: int = Field(default=100, gt=0)
    """Number of updates."""
    pairs_per_update: int = Field(default=8, gt=0)
    """Groups sampled for each update. On one development seed, many small updates were better for credit on steps, but
    not for the outcome alone (docs/log.md)."""
    group_size: int = Field(default=8, ge=2)
    """Rollouts per pair (G)."""
    refill: int = Field(default=0, ge=0)
    """Maximum number of further groups that an update samples to replace groups without signal. 0: none."""
    balance: bool = False
    """Take the pairs of an update from all labels in turn; pairs of rare labels are then repeated more often."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the rollouts. Truncating (top_k, top_p) makes the update off-policy."""
    credit: CreditConfig = CreditConfig()
    """How verdicts and outcomes become advantages."""
    outcome_by: OutcomeBy = "label"
    """`label`: 1 for the pair's label, else 0. `raters`: the share of the pair's raters who gave the response's label
    (`Pair.raters`); pairs without raters use `label`."""
    loss: LossConfig = LossConfig()
    """The policy loss."""
    epochs_per_batch: int = Field(default=1, ge=1)
    """Passes over each batch of rollouts. If above 1, the sampler's log-probabilities are used as the old policy."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW (betas 0.9, 0.95)."""
    warmup_updates: int = Field(default=3, ge=0)
    """Updates over which the learning rate rises linearly."""
    schedule: Literal["constant", "linear"] = "linear"
    """Schedule of the learning rate after the warm-up; `linear` decays to a tenth."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW weight decay."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Maximum gradient norm."""
    tokens_per_microbatch: int = Field(default=16384, gt=0)
    """Token budget of one forward and backward pass, including prompts and padding. Lower it if memory runs out."""
    sample_rows: int = Field(default=512, gt=0)
    """Maximum number of rollouts that a process generates at the same time."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`bfloat16` is autocast over float32 weights. `auto` uses it on a GPU and, for models with at least 5 million
    weights, on a CPU that multiplies bfloat16 (avx512_bf16, amx_bf16)."""
    lora: LoraConfig | None = None
    """Train an adapter on frozen weights; unset: train all weights. The KL reference is then the model with its adapter
    off, and no memory is needed for gradients and optimizer state of the frozen weights."""
    checkpoint_every: int = Field(default=10, gt=0)
    """Number of updates between two resumable states."""
    keep_rollouts_every: int = Field(default=5, gt=0)
    """Number of updates between two Parquet files of rollouts (the report shows them)."""

    @model_validator(mode="after")
    def _must_explore(self) -> "StepCreditSettings":
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature 0 gives the same response every time: groups would have no signal")
        if self.balance and self.credit.label_weight:
            raise ValueError("`balance` already shows every label equally often: leave out `credit.label_weight`")
        if self.lora is not None and self.lora.dropout > 0:
            raise ValueError("lora.dropout must be 0: the update would use another policy than the one that sampled")
        return self
