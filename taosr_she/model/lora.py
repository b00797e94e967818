"""Low-rank adapters (LoRA): settings alone, so that a recipe can be read without torch."""

from pydantic import Field

from taosr_she.base.config import Strict


class LoraConfig(Strict):
    """Train a low-rank adapter beside frozen weights (Hu et al. 2021): the checkpoint is a PEFT adapter."""

    rank: int = Field(default=16, gt=0)
    """Width of the two matrices that are trained in place of each target (PEFT's `r`)."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter's share is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that get one, as `q_proj`; empty: all of the model's blocks."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of what the adapter reads, while training."""
    merged: bool = False
    """Write the whole model with the adapter folded in as well (`merged/` beside `checkpoint/`): for readers that know
    no adapters."""
