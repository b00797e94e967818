"""Settings of an endpoint."""

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

    # Hide input in errors, because users may put the key where its name belongs. Infinite prices are not allowed.
    model_config = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)

    base_url: str = Field(pattern=r"^https?://[^\s/]\S*$")
    """The URL without `/chat/completions`, e.g. "http://localhost:8000/v1". A query is kept."""
    model: str = Field(min_length=1)
    """Name of the model at the endpoint."""
    api_key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Name of the environment variable that holds the key, never the key itself. Empty: no key is sent."""
    temperature: float | None = Field(default=0.7, ge=0, le=2)
    """Sampling temperature. Use a value above 0, or a second attempt gives the same answer. Null: none is sent."""
    max_tokens: int = Field(default=500, gt=0, le=10_000_000)
    """Maximum length of an answer in tokens. Models that think before they answer need more. If it is raised, questions
    with unusable answers are asked again."""
    max_tokens_name: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"
    """The endpoint's name for this limit. `auto`: `max_tokens`, until the endpoint asks for `max_completion_tokens`."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Maximum number of requests at the same time."""
    timeout_seconds: float = Field(default=60, gt=0, le=DAY)
    """A request counts as lost if the endpoint sends nothing for this long."""
    deadline_seconds: float = Field(default=300, gt=0, le=DAY)
    """A request counts as lost if it takes longer than this from its start to the last byte."""
    attempts: int = Field(default=3, ge=1)
    """Number of answers requested before a question is left without a usable one."""
    retries: int = Field(default=5, ge=0)
    """Number of retries for one answer, after status 429 or 5xx, time-outs, broken connections and damaged answers."""
    backoff_seconds: float = Field(default=1.0, ge=0, le=DAY)
    """First wait between tries. It doubles each time, with jitter; a longer wait in Retry-After is respected."""
    max_wait_seconds: float = Field(default=120, gt=0, le=DAY)
    """Maximum wait. If Retry-After asks for more, the question is left for a later run."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, in any currency."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million answer tokens, in the same currency."""
    spend_limit: float | None = Field(default=None, ge=0)
    """Spending limit in that currency, including earlier runs with the same file of answers."""
    token_limit: int | None = Field(default=None, ge=0)
    """Limit of prompt and answer tokens together, including earlier runs with the same file of answers."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if is_masked(value):
            raise ValueError("is masked, as in the recipe.yaml of a run folder: restore its user, password and query")
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
            raise ValueError("spend_limit needs price_in and price_out; without them every request counts as free")
        return self

    def usage(self, tokens_in: int, tokens_out: int) -> Usage:
        """These tokens with their cost."""
        return Usage(tokens_in, tokens_out, (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6)
