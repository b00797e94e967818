"""Settings that could not be kept are refused."""

import math

import pytest
from pydantic import ValidationError

from taosr_she.endpoint.settings import EndpointConfig


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("price_in", math.inf), ("price_out", math.nan), ("spend_limit", math.nan), ("max_tokens", 10**400),
        ("timeout_seconds", math.inf), ("deadline_seconds", 1e300), ("max_wait_seconds", 1e300), ("attempts", 0),
        ("max_tokens_name", "tokens"), ("temperature", -1), ("api_key", "sk-1"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    EndpointConfig(base_url="http://h/v1", model="m")
    with pytest.raises(ValidationError, match=setting):
        EndpointConfig(base_url="http://h/v1", model="m", **{setting: value})
