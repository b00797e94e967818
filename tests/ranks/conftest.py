"""The tiny model that the tests of this room share."""

from toy_models import domain, saved, small, texts, tiny  # noqa: F401
