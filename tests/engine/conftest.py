"""The toy models that the tests of this room share."""

from toy_models import (  # noqa: F401
    any_policy,
    device,
    domain,
    make_policy,
    pair,
    saved,
    small,
    texts,
    tiny,
)
