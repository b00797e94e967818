"""The toy models that the tests of this room share."""

from toy_models import device, make_policy  # noqa: F401
