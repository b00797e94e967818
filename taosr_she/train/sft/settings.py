"""Settings of supervised fine-tuning."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from taosr_she.model.lora import LoraConfig
from taosr_she.train.settings import TrainerSettings


class SFTSettings(TrainerSettings):
    """Supervised fine-tuning. Defaults are the recommended run on the market with the tiny model."""

    later: ClassVar[dict[str, Any]] = {"engine": "trl", "lora": None}
    engine: Literal["own", "trl"] = "own"
    """`own`: packed batches, with logits only for the trained tokens, without dropout. `trl`: TRL's
    SFTTrainer, which is slower and can recompute activations."""
    epochs: int = Field(default=3, gt=0)
    """Number of passes over the demonstrations."""
    batch_size: int = Field(default=32, gt=0)
    """Number of examples in one forward and backward pass of a process; lower it if memory runs out."""
    accumulate: int = Field(default=1, gt=0)
    """Number of batches summed into one optimizer step, in all processes together."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW. A pretrained model needs a much lower one: about 1e-5."""
    lr_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning rate after the warm-up; `cosine` and `linear` fall to zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay."""
    max_length: int = Field(default=1024, gt=1)
    """Examples with more tokens, or more than the model has positions, are left out and counted: cut responses would
    teach the model to stop early."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations instead of storing them: less memory, about a fifth slower. For `engine: trl`, where `auto`
    does so on a GPU; our own engine stores them, and takes less memory with a smaller `batch_size` and a larger
    `accumulate`, which change nothing else."""
    lora: LoraConfig | None = None
    """Train an adapter beside frozen weights; unset: train all weights. For `engine: own`."""
    save_every: int = Field(default=200, gt=0)
    """Number of optimizer steps between two resumable checkpoints."""

    @model_validator(mode="after")
    def _only_trl_recomputes(self) -> "SFTSettings":
        if self.gradient_checkpointing == "on" and self.engine == "own":
            raise ValueError("gradient_checkpointing: on needs engine: trl; or lower batch_size and raise accumulate")
        return self

    @model_validator(mode="after")
    def _only_ours_adapts(self) -> "SFTSettings":
        if self.lora is not None and self.engine == "trl":
            raise ValueError("lora needs engine: own")
        return self

    def total_steps(self, examples: int) -> int:
        """Number of optimizer steps of a run over this number of examples."""
        return math.ceil(math.ceil(examples * self.epochs / self.batch_size) / self.accumulate)
