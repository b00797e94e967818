"""Settings of distilling."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.train.sft.settings import SFTSettings


class DistilSettings(SFTSettings):
    """Distilling a label distribution. Defaults are the recommended run on the market with the tiny model."""

    later: ClassVar[dict[str, Any]] = {"lora": None}
    engine: Literal["own"] = "own"
    """Our own packed pass: TRL's trainer knows no soft labels of this kind."""
    temperature: float = Field(default=1.0, gt=0)
    """Both distributions are softened by it, and the loss is multiplied by its square, which keeps the size of the
    gradient (Hinton et al. 2015, 1503.02531). Above 1, the student learns more about improbable labels."""
    human: float = Field(default=0.0, ge=0, le=1)
    """Share of the human label in the target of a labelled pair; the rest is the teacher's distribution. 1: the student
    learns from people alone."""
    epochs: int = Field(default=3, gt=0)
    """Number of passes over the pairs."""
