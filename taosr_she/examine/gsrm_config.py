"""Settings of the GSRM's examination, in a file of their own so that recipes can be read without torch."""

from typing import Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict


class GSRMConfig(Strict):
    """How the GSRM examines. `critique` must be the setting of its training."""

    critique: bool = True
    """Reason through the pair before reading the response. Without, verdicts come from a bare forward pass."""
    closed_steps: Literal["compare", "read"] = "compare"
    """How closed steps are examined after a reasoning: `compare` their conclusion with the GSRM's own, or `read` them
    like free steps."""
    max_reasoning_tokens: int = Field(default=128, gt=0)
    """Maximum length of the GSRM's own reasoning in tokens. A longer one is cut, and the verdicts are read after it."""
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
    """Number of examined responses to cache, and of pairs with their reasoning; the least recently used are dropped."""

    @model_validator(mode="after")
    def _check(self) -> "GSRMConfig":
        if self.votes > 1 and not self.critique:
            raise ValueError("votes above 1 need 'critique: true': without reasoning all votes are the same")
        return self
