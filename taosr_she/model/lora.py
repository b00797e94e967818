"""Settings of low-rank adapters (LoRA), in a file of their own so that recipes can be read without torch."""

from pydantic import Field

from taosr_she.base.config import Strict


class LoraConfig(Strict):
    """Train a low-rank adapter on frozen weights (Hu et al. 2021). The checkpoint is a PEFT adapter."""

    rank: int = Field(default=16, gt=0)
    """Width of the two matrices that are trained for each target (PEFT's `r`)."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter's output is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that get an adapter, such as `q_proj`; empty: all of the model's blocks."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input during training."""
    merged: bool = False
    """Also write the whole model with the adapter merged (`merged/` next to `checkpoint/`), for programs that do not
    support adapters."""
