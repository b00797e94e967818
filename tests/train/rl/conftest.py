"""The tiny model that the tests of this room share."""

from toy_models import domain, pair, small, texts, tiny  # noqa: F401
