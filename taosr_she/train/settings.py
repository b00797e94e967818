"""What can be set for every training on examples that are laid out beforehand: SFT, DPO, the scalar reward model."""

import math
from typing import Literal

from pydantic import Field

from taosr_she.base.config import Strict


class TrainerSettings(Strict):
    """Optimizer, batches and precision."""

    epochs: int = Field(default=1, gt=0)
    """Passes over the examples."""
    batch_size: int = Field(default=32, gt=0)
    """Examples of one forward and backward pass."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`bfloat16` computes under autocast with float32 weights; `auto` does so on a GPU, and for models of 5
    million weights and more on a CPU that multiplies bfloat16 (avx512_bf16, amx_bf16)."""

    def total_steps(self, examples: int) -> int:
        """Optimizer steps of a run over so many examples."""
        return math.ceil(examples / self.batch_size) * self.epochs
