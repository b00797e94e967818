"""Settings of the LLM teacher."""

from pydantic import ConfigDict, Field, model_validator

from taosr_she.data.teachers.llm_budget import Usage
from taosr_she.domain.domain import Strict


class LLMTeacherConfig(Strict):
    """An OpenAI-compatible endpoint and how it is used."""

    model_config = ConfigDict(hide_input_in_errors=True)  # somebody will put the key where its name belongs

    base_url: str = Field(pattern=r"^https?://\S+$")
    """Up to, not including, `/chat/completions`, e.g. "http://localhost:8000/v1"."""
    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Name of the environment variable that holds the key, never the key itself; empty for an endpoint without keys."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    """Sampling temperature; above 0, or a second attempt says the same again."""
    max_tokens: int = Field(default=500, gt=0)
    """Longest answer. Models that think before they answer need more."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests at the same time."""
    timeout_seconds: float = Field(default=60, gt=0)
    """Longest silence of the endpoint before a request counts as lost."""
    attempts: int = Field(default=3, ge=1)
    """Answers asked for a pair before it is rejected."""
    retries: int = Field(default=5, ge=0)
    """Tries more for one answer, after status 429, 5xx, time-outs and broken connections."""
    backoff_seconds: float = Field(default=1.0, ge=0)
    """First wait between tries; doubles every time, with jitter. Retry-After is honoured on top."""
    max_wait_seconds: float = Field(default=120, gt=0)
    """Longest wait; when Retry-After asks for more, the pair is left for a later run."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, in any one currency."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million answer tokens, in the same currency."""
    spend_limit: float | None = Field(default=None, ge=0)
    """Most to spend, in that currency, earlier runs on the same file included."""
    token_limit: int | None = Field(default=None, ge=0)
    """Most tokens to use, prompt and answer together, earlier runs on the same file included."""

    @model_validator(mode="after")
    def _check(self) -> "LLMTeacherConfig":
        if self.spend_limit is not None and not (self.price_in or self.price_out):
            raise ValueError("spend_limit needs price_in and price_out, or nothing is ever spent")
        return self

    def usage(self, tokens_in: int, tokens_out: int) -> Usage:
        """These tokens with their cost."""
        return Usage(tokens_in, tokens_out, (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6)
