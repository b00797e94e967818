"""Settings of training on examples that are prepared beforehand: SFT, DPO and the scalar reward model."""

import math
from typing import Literal

from pydantic import Field

from taosr_she.base.config import Strict


class TrainerSettings(Strict):
    """Optimizer, batches and precision."""

    epochs: int = Field(default=1, gt=0)
    """Number of passes over the examples."""
    batch_size: int = Field(default=32, gt=0)
    """Number of examples in one forward and backward pass."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Maximum gradient norm."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`bfloat16` computes under autocast with float32 weights; `auto` does so on a GPU, and for models of 5
    million weights and more on a CPU that multiplies bfloat16 (avx512_bf16, amx_bf16)."""

    def total_steps(self, examples: int) -> int:
        """Number of optimizer steps of a run over this number of examples."""
        return math.ceil(examples / self.batch_size) * self.epochs
