"""How responses are drawn: settings alone, so that a recipe can be read without torch."""

from pydantic import Field

from taosr_she.base.config import Strict


class Sampling(Strict):
    """How responses are drawn."""

    max_new_tokens: int = Field(default=128, gt=0)
    """Length limit of a response, end token included."""
    temperature: float = Field(default=1.0, ge=0)
    """Logits are divided by it; 0 is greedy."""
    top_k: int = Field(default=0, ge=0)
    """Draw only from so many of the likeliest tokens; 0 is off."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw only from the likeliest tokens that together hold this probability; 1 is off."""
