"""How long to wait before a request is tried again."""

import random
import time
from email.utils import parsedate_to_datetime

from taosr_she.endpoint.settings import EndpointConfig


def pause_seconds(config: EndpointConfig, retry: int, asked_for: float | None) -> float:
    """Seconds until the next try; `asked_for` is the wait from Retry-After. Jitter spreads the workers' next requests.

    `retry` counts from 0.
    """
    first = config.backoff_seconds
    if asked_for is not None:
        return asked_for + random.uniform(0, first)
    try:
        grown = first * 2.0**retry
    except OverflowError:
        return config.max_wait_seconds
    return min(grown * random.uniform(0.5, 1.5), config.max_wait_seconds)


def retry_after_seconds(header: str | None) -> float | None:
    """The wait that the header Retry-After asks for, in seconds or as a date. None if the header is not usable."""
    if not header:
        return None
    if header.strip().replace(".", "", 1).isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
