"""Settings of sampling. They are in a file of their own, because reading a recipe must not import torch."""

from pydantic import Field

from taosr_she.base.config import Strict


class Sampling(Strict):
    """How responses are sampled."""

    max_new_tokens: int = Field(default=128, gt=0)
    """Maximum length of a response in tokens, including the end token."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 is greedy decoding."""
    top_k: int = Field(default=0, ge=0)
    """Sample only from this number of most probable tokens; 0 is off."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample only from the most probable tokens that together have this probability; 1 is off."""
