"""Settings of an endpoint and of how it is used."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.secret import is_masked
from taosr_she.endpoint.budget import Usage

DAY = 86_400.0
"""Seconds."""


class EndpointConfig(Strict):
    """An OpenAI-compatible endpoint and how it is used."""

    # Somebody will put the key where its name belongs. With an infinite price no limit would ever be reached.
    model_config = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)

    base_url: str = Field(pattern=r"^https?://[^\s/]\S*$")
    """Up to, not including, `/chat/completions`, e.g. "http://localhost:8000/v1". A query is kept."""
    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    api_key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Name of the environment variable that holds the key, never the key itself. Empty: no key is sent."""
    temperature: float | None = Field(default=0.7, ge=0, le=2)
    """Sampling temperature; above 0, or a second attempt says the same again. Null: none is sent."""
    max_tokens: int = Field(default=500, gt=0, le=10_000_000)
    """Longest answer. Models that think before they answer need more. Raised, it has answers that could not be used
    asked for again."""
    max_tokens_name: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"
    """What the endpoint calls it. `auto`: `max_tokens`, until it asks for `max_completion_tokens`."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests at the same time."""
    timeout_seconds: float = Field(default=60, gt=0, le=DAY)
    """Longest silence of the endpoint before a request counts as lost."""
    deadline_seconds: float = Field(default=300, gt=0, le=DAY)
    """Longest time for a request from its start to the last byte, before it counts as lost."""
    attempts: int = Field(default=3, ge=1)
    """Answers asked for before a question is left without a usable one."""
    retries: int = Field(default=5, ge=0)
    """Tries more for one answer, after status 429, 5xx, time-outs, broken connections and damaged answers."""
    backoff_seconds: float = Field(default=1.0, ge=0, le=DAY)
    """First wait between tries; doubles every time, with jitter. Retry-After is honoured on top."""
    max_wait_seconds: float = Field(default=120, gt=0, le=DAY)
    """Longest wait; when Retry-After asks for more, the question is left for a later run."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, in any one currency."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million answer tokens, in the same currency."""
    spend_limit: float | None = Field(default=None, ge=0)
    """Most to spend, in that currency, earlier runs on the same file included."""
    token_limit: int | None = Field(default=None, ge=0)
    """Most tokens to use, prompt and answer together, earlier runs on the same file included."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if is_masked(value):
            raise ValueError("is masked, as in the recipe.yaml of a run folder: put its user, password and query back")
        try:
            good = "#" not in value and urlsplit(value).hostname and urlsplit(value).port != 0
        except ValueError:  # its text may hold the password
            good = False
        if not good:
            raise ValueError("not a URL: expected http(s)://host[:port]/path; write # in a password as %23, / as %2F")
        return value

    @model_validator(mode="after")
    def _check(self) -> "EndpointConfig":
        if self.spend_limit is not None and not (self.price_in or self.price_out):
            raise ValueError("spend_limit needs price_in and price_out, or nothing is ever spent")
        return self

    def usage(self, tokens_in: int, tokens_out: int) -> Usage:
        """These tokens with their cost."""
        return Usage(tokens_in, tokens_out, (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6)
