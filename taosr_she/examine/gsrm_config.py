"""How the GSRM examines: settings alone, so that a recipe can be read without torch."""

from typing import Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict


class GSRMConfig(Strict):
    """How the GSRM examines. `critique` must be what it was trained for."""

    critique: bool = True
    """Reason through the pair before reading the response. Without, verdicts come from a bare forward pass."""
    closed_steps: Literal["compare", "read"] = "compare"
    """How closed steps are examined when there is a reasoning: `compare` their conclusion with the GSRM's own, or
    `read` them as free steps are."""
    max_reasoning_tokens: int = Field(default=128, gt=0)
    """Longest reasoning of the GSRM's own; what is longer is cut, and the verdicts are read behind it."""
    votes: int = Field(default=1, ge=1)
    """Reasonings drawn for a pair; a verdict is the mean over them. With one it is the likeliest (greedy). What is
    drawn depends on which pairs are new in a call: with several, a resumed run differs from an uninterrupted one."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the reasonings when there are several votes."""
    max_step_chars: int = Field(default=300, gt=0)
    """Longer step texts are cut before the GSRM reads them."""
    batch_rows: int = Field(default=256, gt=0)
    """Rows run at a time."""
    cache_size: int = Field(default=100_000, ge=0)
    """Examined responses remembered, and as many pairs' reasonings; those not asked about for longest are forgotten."""

    @model_validator(mode="after")
    def _check(self) -> "GSRMConfig":
        if self.votes > 1 and not self.critique:
            raise ValueError("votes above 1 need 'critique: true': without reasoning all votes are the same")
        return self
